"""What a study costs before anyone spends it: jobs, parameters, FLOPs, memory and GPU hours, assumptions beside them.

Nothing is computed: models and clips live on the meta device, where tensors have shapes and no values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from mssts import config as configuration
from mssts.config import PRETRAIN, Config, ModelSection, OptimisationSection, Study
from mssts.data.datasets import entry, is_generated
from mssts.models import MsStsVis, build_model, count_parameters

HEIGHT, WIDTH = 360, 640  # px, the frames at inference and about the mean of training
DEVICES = 8  # as in the public recipe
BYTES_PER_WEIGHT = 16  # float32 weight, gradient and AdamW's two moments
OVERHEAD = 1.2  # masks, losses, workspace and fragmentation
REFERENCE_SECONDS = 0.70  # V100 seconds a clip of 5 frames, ResNet-50: 8 GPUs x 1.5 h for about 61,800 clips [code]
REFERENCE = ("resnet50", 5)  # backbone of the baseline, frames

ASSUMPTIONS = f"""\
Assumptions:
  FLOPs: one forward pass of one clip of the training length at {HEIGHT} x {WIDTH} px; a multiply-add counts as two.
    Sampling of deformable attention and mask convolutions are not counted.
  Memory of a GPU: {BYTES_PER_WEIGHT} bytes a weight, and all that the backward pass keeps of its share of the batch
    ({DEVICES} GPUs) in float32 at that size, times {OVERHEAD}. Larger augmented frames need up to 1.7 times as much.
  GPU hours: on a V100, {REFERENCE_SECONDS} s a training clip of 5 frames with ResNet-50, which is what the maintainers
    of SeqFormer report (1.5 h an epoch on 8 GPUs; issues 13 and 16); other models and lengths in proportion of their
    FLOPs. Prediction and the adversary's discriminator are not counted."""


@dataclass(frozen=True)
class Cost:
    """One kind of training run. runs: how many. gflops: of one clip. memory_gb and hours: of one run."""

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
    costs = _costs(study)
    lines = [f"Study {name}: {study.question}", "", "Jobs:"]
    lines += [f"  {job:10} {count}" for job, count in jobs(study).items()]
    heads = ("backbone", "variant", "runs", "frames", "M parameters", "GFLOPs/clip", "GPU GB", "GPU h/run", "GPU h")
    table = [heads, *(_row(cost) for cost in costs)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    lines += ["", *("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in table)]
    lines += ["", f"Total: about {sum(cost.hours * cost.runs for cost in costs):,.0f} GPU hours of training.", ""]
    return "\n".join([*lines, ASSUMPTIONS])


def _row(cost: Cost) -> tuple[str, ...]:
    numbers = (f"{cost.parameters / 1e6:.2f}", f"{cost.gflops:,.1f}", f"{cost.memory_gb:.1f}", f"{cost.hours:,.1f}")
    return (cost.backbone, cost.variant, str(cost.runs), str(cost.frames), *numbers, f"{cost.hours * cost.runs:,.1f}")


def jobs(study: Study) -> dict[str, int]:
    """Number of jobs of each stage that computes."""
    config = configuration.resolve(study.scale)
    runs = len(study.backbones) * len(study.variants) * len(study.seeds)
    starts = len(study.backbones) * len(_starts(study, config))
    counts = dict.fromkeys(("pretrain", "train", "predict", "evaluate"), 0)
    for dataset in study.datasets:
        measured = runs + (starts if is_generated(dataset) else 0)
        counts["pretrain"] += starts
        counts["train"] += runs
        counts["predict"] += measured * (len(study.splits) + len(study.submissions))
        counts["evaluate"] += measured * len(study.splits)
    return counts


def _starts(study: Study, config: Config) -> set[int]:
    if config.train.init != PRETRAIN:
        return set()
    return {configuration.pretrain_seed(config, seed) for seed in study.seeds}


def _costs(study: Study) -> list[Cost]:
    baseline = configuration.resolve(study.scale)
    classes = max(len(entry(dataset).categories) for dataset in study.datasets)
    _, reference, _ = _measured(configuration.recipe().model, REFERENCE[0], classes, REFERENCE[1])
    costs = []
    for backbone in study.backbones:
        starts = len(_starts(study, baseline)) * len(study.datasets)
        if starts:
            costs.append(_cost(backbone, PRETRAIN, baseline, baseline.pretrain, classes, starts, reference))
        runs = len(study.seeds) * len(study.datasets)
        for variant in study.variants:
            config = configuration.resolve(study.scale, variant)
            costs.append(_cost(backbone, variant, config, config.train, classes, runs, reference))
    return costs


def _cost(
    backbone: str,
    variant: str,
    config: Config,
    stage: OptimisationSection,
    classes: int,
    runs: int,
    reference: float,
) -> Cost:
    weights, flops, kept = _measured(config.model, backbone, classes, stage.frames)
    clips = max(1, stage.batch_clips // DEVICES)
    memory = OVERHEAD * (BYTES_PER_WEIGHT * weights + clips * kept)
    hours = stage.steps * stage.batch_clips * REFERENCE_SECONDS * flops / reference / 3600
    return Cost(backbone, variant, runs, stage.frames, weights, flops / 1e9, memory / 1e9, hours)


@cache
def _measured(config: ModelSection, backbone: str, classes: int, frames: int) -> tuple[int, float, int]:
    """(parameters, FLOPs of a forward pass, bytes kept for the backward pass) of a model and one clip."""
    with torch.device("meta"):
        model = build_model(config, backbone, classes)
    return count_parameters(model), _forward_flops(model, frames), _kept_bytes(model, frames)


def _forward_flops(model: MsStsVis, frames: int) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        model.eval()(torch.empty(1, frames, 3, HEIGHT, WIDTH, device="meta"))
    return float(counter.get_total_flops())


def _kept_bytes(model: MsStsVis, frames: int) -> int:
    """Bytes that a training step keeps of one clip for its backward pass, weights left out."""
    weights = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no other storage gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(torch.empty(1, frames, 3, HEIGHT, WIDTH, device="meta"))
    return sum(storage.nbytes() for storage in kept.values())
