"""What a study costs before anyone spends it: jobs, parameters, FLOPs, memory, GPU hours, and the assumptions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mssts import config as configuration
from mssts.config import PRETRAIN, Config, ModelSection, OptimisationSection, Study
from mssts.report.complexity import COUNTED
from mssts.study.complexity import forward_flops, frame_size, meta_model, parameters
from mssts.study.matrix import is_measured, pretrain_seeds, run_keys

DEVICES = 8  # as in the public recipe
BYTES_PER_WEIGHT = 16  # float32 weight, gradient and AdamW's two moments
OVERHEAD = 1.2  # masks, losses, workspace and fragmentation
REFERENCE_SECONDS = 0.70  # V100 seconds a clip of 5 frames, ResNet-50: 8 GPUs x 1.5 h for about 61,800 clips [code]
REFERENCE = ("resnet50", "ytvis2019", 5)  # backbone of the baseline, dataset, frames

ASSUMPTIONS = f"""\
Assumptions:
  FLOPs: a clip of the training length at the size of inference, which is about the mean of training.
    {COUNTED}
  Memory of a GPU: {BYTES_PER_WEIGHT} bytes a weight, and all that the backward pass keeps of its share of the batch
    ({DEVICES} GPUs) in float32 at that size, times {OVERHEAD}. Larger augmented frames need up to 1.7 times as much.
  GPU hours: on a V100, {REFERENCE_SECONDS} s a training clip of 5 frames with ResNet-50, which is what the maintainers
    of SeqFormer report (1.5 h an epoch on 8 GPUs; issues 13 and 16); other models and lengths in proportion of their
    FLOPs. Prediction and the adversary's discriminator are not counted."""


@dataclass(frozen=True)
class Cost:
    """One kind of training run. runs: how many. gflops: of one clip. memory_gb and hours: of one run."""

    dataset: str
    backbone: str
    variant: str
    runs: int
    frames: int
    parameters: int
    gflops: float
    memory_gb: float
    hours: float


def plan(name: str) -> str:
    """The plan of a study as text. Raises InputError for a study that cannot be resolved."""
    study = configuration.load_study(name)
    costs, baseline = _costs(study), configuration.resolve(study.scale)
    lines = [f"Study {name}: {study.question}", "", "Jobs:"]
    lines += [f"  {job:10} {count}" for job, count in jobs(study).items()]
    lines += ["", *("Frames of {}: {} x {} px".format(name, *frame_size(baseline, name)) for name in study.datasets)]
    heads = (
        "dataset",
        "backbone",
        "variant",
        "runs",
        "frames",
        "M parameters",
        "GFLOPs/clip",
        "GPU GB",
        "GPU h/run",
        "GPU h",
    )
    table = [heads, *(_row(cost) for cost in costs)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    lines += ["", *("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in table)]
    lines += ["", f"Total: about {sum(cost.hours * cost.runs for cost in costs):,.0f} GPU hours of training.", ""]
    return "\n".join([*lines, ASSUMPTIONS])


def _row(cost: Cost) -> tuple[str, ...]:
    numbers = (f"{cost.parameters / 1e6:.2f}", f"{cost.gflops:,.1f}", f"{cost.memory_gb:.1f}", f"{cost.hours:,.1f}")
    run = (cost.dataset, cost.backbone, cost.variant, str(cost.runs), str(cost.frames))
    return (*run, *numbers, f"{cost.hours * cost.runs:,.1f}")


def jobs(study: Study) -> dict[str, int]:
    """Number of jobs of each stage that computes."""
    config = configuration.resolve(study.scale)
    keys = run_keys(study, config)
    measured = sum(is_measured(dataset, variant) for dataset, _, variant, _ in keys)
    pretrained = sum(variant == PRETRAIN for _, _, variant, _ in keys)
    return {
        "pretrain": pretrained,
        "train": len(keys) - pretrained,
        "predict": measured * (len(study.splits) + len(study.submissions)),
        "evaluate": measured * len(study.splits),
    }


def _costs(study: Study) -> list[Cost]:
    baseline = configuration.resolve(study.scale)
    starts = len(pretrain_seeds(study, baseline))
    costs = []
    for dataset in study.datasets:
        for backbone in study.backbones:
            if starts:
                costs.append(_cost(dataset, backbone, PRETRAIN, baseline, baseline.pretrain, starts))
            for variant in study.variants:
                config = configuration.resolve(study.scale, variant)
                costs.append(_cost(dataset, backbone, variant, config, config.train, len(study.seeds)))
    return costs


def _cost(dataset: str, backbone: str, variant: str, config: Config, stage: OptimisationSection, runs: int) -> Cost:
    weights, size = parameters(config.model, backbone, dataset), frame_size(config, dataset)
    flops = forward_flops(config.model, backbone, dataset, stage.frames, size)
    clips = max(1, stage.batch_clips // DEVICES)
    kept = clips * kept_bytes(config.model, backbone, dataset, stage.frames, size)
    memory = OVERHEAD * (BYTES_PER_WEIGHT * weights + kept)
    hours = stage.steps * stage.batch_clips * REFERENCE_SECONDS * flops / _reference_flops() / 3600
    return Cost(dataset, backbone, variant, runs, stage.frames, weights, flops / 1e9, memory / 1e9, hours)


def _reference_flops() -> float:
    recipe = configuration.recipe()
    return forward_flops(recipe.model, *REFERENCE, frame_size(recipe, REFERENCE[1]))


def kept_bytes(config: ModelSection, backbone: str, dataset: str, frames: int, size: tuple[int, int]) -> int:
    """Bytes that a training step keeps of one clip for its backward pass, weights left out."""
    model = meta_model(config, backbone, dataset)
    weights = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no other storage gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(torch.empty(1, frames, 3, *size, device="meta"))
    return sum(storage.nbytes() for storage in kept.values())
