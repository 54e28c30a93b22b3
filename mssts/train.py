"""Pre-training of the baseline on still images, and training of a variant from that checkpoint."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from mssts import config as configuration
from mssts import tracking
from mssts.checkpoint import load_checkpoint, read_json, save_checkpoint, sha256_file, write_json
from mssts.config import PRETRAIN, TRAIN, Config, OptimisationSection
from mssts.data.clips import ClipDataset, ClipLoader
from mssts.data.stills import StillClipDataset
from mssts.data.training import pretraining_clips, training_clips
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model, count_parameters
from mssts.optimisation import build_optimizer, rate_factor
from mssts.provenance import commit
from mssts.structures import InputError


@dataclass(frozen=True)
class RunName:
    """What tells one run from all others."""

    study: str
    scale: str
    dataset: str
    backbone: str
    variant: str
    seed: int
    pretrain_seed: int

    def __str__(self) -> str:
        return f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}"


@dataclass(frozen=True)
class Generators:
    """Independent seeds for everything that draws, from the stage and the run's seed."""

    model: torch.Generator
    adversary: torch.Generator
    clips: int
    dropout: int

    @classmethod
    def of(cls, stage: str, seed: int) -> Generators:
        words = np.random.SeedSequence([int.from_bytes(stage.encode(), "big"), seed]).generate_state(4, np.uint64)
        model, adversary, clips, dropout = (int(word) >> 1 for word in words)
        return cls(torch.Generator().manual_seed(model), torch.Generator().manual_seed(adversary), clips, dropout)


def pretrain(study: str, dataset: str, backbone: str, seed: int, data: Path, output: Path) -> None:
    """Train the baseline on pseudo-clips of still images; writes checkpoint, record, log and cost to `output`.

    The published recipe starts from COCO-trained weights [code]; here the still images of the data set stand for COCO.
    """
    scale = configuration.load_study(study).scale
    config = configuration.resolve(scale)
    clips = pretraining_clips(dataset, data, config)
    name = RunName(study, scale, dataset, backbone, PRETRAIN, seed, seed)
    _fit(name, config, config.pretrain, clips, data, output, init=None)


def train(
    study: str, dataset: str, backbone: str, variant: str, seed: int, data: Path, init: Path, output: Path
) -> None:
    """Train one variant on video clips from the pre-trained checkpoint `init`; writes what `pretrain` writes."""
    scale = configuration.load_study(study).scale
    config = configuration.resolve(scale, variant)
    clips = training_clips(dataset, data, config)
    name = RunName(study, scale, dataset, backbone, variant, seed, configuration.pretrain_seed(config, seed))
    _fit(name, config, config.train, clips, data, output, init)


def load_shared_weights(model: torch.nn.Module, init: Path, categories: tuple[tuple[int, str], ...]) -> None:
    """Load a checkpoint of the baseline into a variant: every weight of the checkpoint must be used.

    A class head of other categories is left out: that of the model starts anew [code].
    Raises InputError naming the weights that do not fit.
    """
    content = load_checkpoint(init)
    weights = content["model"]
    if [tuple(category) for category in content["categories"]] != list(categories):
        weights = {name: weight for name, weight in weights.items() if not name.startswith("class_heads.")}
    own = model.state_dict()
    wrong = sorted(key for key, value in weights.items() if key not in own or own[key].shape != value.shape)
    if wrong:
        raise InputError(f"{init}: {len(wrong)} weights do not fit this model, first {wrong[:3]}. Pre-train again.")
    model.load_state_dict(weights, strict=False)


def _fit(
    name: RunName,
    config: Config,
    settings: OptimisationSection,
    clips: ClipDataset | StillClipDataset,
    data: Path,
    output: Path,
    init: Path | None,
) -> None:
    started = time.monotonic()
    torch.set_num_threads(config.runtime.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    stage = TRAIN if init else PRETRAIN
    generators = Generators.of(stage, name.seed)
    fabric = Fabric(accelerator=config.runtime.device, devices=1, precision=config.runtime.precision)

    classes = len(clips.categories)
    model = build_model(config.model, name.backbone, classes, generators.model)
    if init:
        load_shared_weights(model, init, clips.categories)
    optimizer = build_optimizer(model, settings)
    rates = [group["lr"] for group in optimizer.param_groups]
    criterion = Criterion(config.loss, classes)
    adversary = None
    if config.loss.foreground_background.enabled:
        adversary = ForegroundBackgroundAdversary(
            config.loss.foreground_background, config.model.hidden_dim, generators.adversary
        ).to(fabric.device)
    network, optimizer = fabric.setup(model, optimizer)
    loader = ClipLoader(clips, settings.batch_clips, settings.steps, generators.clips, config.data.pad_multiple)

    record = asdict(name) | {
        "config": json.loads(configuration.canonical(config)),
        "config_digest": configuration.digest(config, stage),
        "commit": commit(),
        "data_fingerprint": read_json(data / "fingerprint.json")["fingerprint"],
        "initial_checkpoint_sha256": sha256_file(init) if init else None,
        "parameters": count_parameters(model),
        "steps": settings.steps,
    }
    del record["study"]

    network.train()
    output.mkdir(parents=True, exist_ok=True)
    parameters = _flat(record["config"])
    with (
        tracking.tracked_run(name.study, f"{stage} {name}", tracking.run_tags(record, stage), parameters) as tracked,
        (output / "log.jsonl").open("w", encoding="utf-8") as log,
        tqdm(total=settings.steps, desc=str(name), unit="step", mininterval=2, smoothing=0.05) as progress,
    ):
        sums: dict[str, float] = {}
        for step, batch in enumerate(loader):
            torch.manual_seed(generators.dropout + step)  # dropout draws from the global generator only
            factor = rate_factor(step, settings)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

            batch = batch.to(fabric.device)
            prediction = network(batch.frames_BT3HW, batch.padding_mask_BTHW)
            terms = criterion(prediction, batch)
            loss = criterion.total(terms)
            if adversary:
                terms["loss_adversary"] = adversary.generator_loss(batch, prediction, criterion.matches, step)
                loss = loss + terms["loss_adversary"]
            if not torch.isfinite(loss):
                bad = [key for key, value in terms.items() if not torch.isfinite(value)]
                raise InputError(
                    f"{name}: step {step}: the loss is {float(loss)} ({', '.join(bad)} not finite) on videos "
                    f"{list(batch.video_ids)}. Lower the learning rate or the loss weights."
                )
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            fabric.clip_gradients(network, optimizer, max_norm=settings.gradient_clip_norm)
            optimizer.step()
            if adversary:
                terms["loss_discriminator"] = adversary.discriminator_step(batch, prediction, criterion.matches)

            for key, value in _logged(loss, terms).items():
                sums[key] = sums.get(key, 0.0) + value / settings.log_every
            progress.update()
            if (step + 1) % settings.log_every == 0:
                values = {key: round(value, 6) for key, value in sums.items()} | {"learning_rate": rates[-1] * factor}
                log.write(json.dumps({"step": step + 1} | values) + "\n")
                log.flush()
                tracked.log(step + 1, values)
                progress.set_postfix(loss=f"{values['loss']:.2f}", refresh=False)
                sums = {}

        weights = {key: value.cpu() for key, value in model.state_dict().items()}
        content = {"model": weights, "backbone": name.backbone, "categories": list(clips.categories)}
        save_checkpoint(output / "checkpoint.pt", content | {"config": configuration.canonical(config)})
        record["checkpoint_sha256"] = sha256_file(output / "checkpoint.pt")
        write_json(output / "run.json", record)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        write_json(output / "cost.json", {"seconds": time.monotonic() - started, "peak_memory_mb": peak_mb})
        tracked.artifact(output / "run.json")
        tracked.artifact(output / "log.jsonl")


def _logged(loss: torch.Tensor, terms: dict[str, torch.Tensor]) -> dict[str, float]:
    """The total and the last layer's terms, as numbers."""
    last = {key: value for key, value in terms.items() if not key.rpartition("_")[2].isdigit()}
    return {key: value.detach().item() for key, value in ({"loss": loss} | last).items()}


def _flat(tree: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
