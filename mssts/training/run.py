"""Pre-training of the baseline on still images, and training of a variant from that checkpoint."""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mssts import config as configuration
from mssts.config import PRETRAIN, TRAIN, Config, OptimisationSection
from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.distributed import agree, start_fabric
from mssts.core.errors import InputError
from mssts.core.files import sha256_file, write_json
from mssts.core.provenance import commit
from mssts.data.clips import ClipDataset, ClipLoader
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.coco import uses_coco
from mssts.data.prepare import read_fingerprint
from mssts.data.stills import StillClipDataset
from mssts.data.training import pretraining_clips, training_clips
from mssts.models import MsStsVis, build_model, count_parameters
from mssts.study import mlflow_mirror as tracking
from mssts.training.failures import Position, Preempted, explained
from mssts.training.log import TrainingLog
from mssts.training.micro_batches import Parts
from mssts.training.resume import ResumeFiles, stop_requests
from mssts.training.run_lock import run_lock
from mssts.training.trainer import Generators, Trainer

IDENTITY = (
    "dataset",
    "backbone",
    "variant",
    "seed",
    "config_digest",
    "data_fingerprint",
    "coco_fingerprint",
    "initial_checkpoint_sha256",
    "parameters",
)


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
    # Differs: the public code always starts the class head anew, or in joint training never; here the names decide.
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
    """Build, go on from a resume checkpoint if there is one, train, write; one process of several writes."""
    started = time.monotonic()
    stage = TRAIN if init else PRETRAIN
    torch.use_deterministic_algorithms(True, warn_only=True)
    fabric = start_fabric(
        config.runtime.device, config.runtime.precision, config.execution.devices, config.execution.nodes
    )
    torch.set_num_threads(config.runtime.threads)
    writes = fabric.is_global_zero
    parts = Parts.of(settings.batch_clips, config.execution, fabric.global_rank)
    generators = Generators.of(stage, name.seed)
    position = Position(str(name), output)

    with explained(position), run_lock(output) if writes else nullcontext(), stop_requests() as stop:
        weights = None if init else config.pretrain.backbone_weights
        model = build_model(config.model, name.backbone, len(clips.categories), generators.model, weights)
        if init:
            load_shared_weights(model, init, clips.categories)
        trainer = Trainer(fabric, model, config, settings, len(clips.categories), parts, generators)

        record = _record(name, config, stage, settings, data, init) | {"parameters": count_parameters(model)}
        files = ResumeFiles(output, identity={key: record[key] for key in IDENTITY if key in record})
        state = files.load() or {"step": 0, "seconds": 0.0, "commit": record["commit"], "log": None}
        start = position.saved = state["step"]
        if start:
            trainer.load_state_dict(state["trainer"])
            record["commit"] = _commits(state["commit"], record["commit"])
        batches = iter(
            ClipLoader(
                clips,
                settings.batch_clips,
                settings.steps,
                generators.clips,
                config.data.pad_multiple,
                start_step=start,
                workers=config.execution.workers,
                micro_batch_clips=parts.clips,
                firsts=parts.own,
            )
        )

        tags, parameters = tracking.run_tags(record, stage), tracking.flat(record["config"])
        with (
            tracking.tracked_run(name.study, f"{stage} {name}", tags, parameters, on=writes) as tracked,
            TrainingLog(output / "log.jsonl" if writes else None, settings.log_every, tracked, state["log"]) as log,
            tqdm(
                total=settings.steps,
                initial=start,
                desc=str(name),
                unit="step",
                mininterval=2,
                smoothing=0.05,
                disable=not writes,
            ) as progress,
        ):
            for step in range(start, settings.steps):
                position.step = step
                losses, learning_rate = trainer.step(step, [next(batches) for _ in parts.own], position)
                progress.update()
                if means := log.add(step + 1, losses, learning_rate):
                    progress.set_postfix(loss=f"{means['loss']:.2f}", refresh=False)

                stopping = any(agree(fabric, bool(stop)))
                due = (step + 1) % config.execution.checkpoint_every == 0
                if (stopping or due) and step + 1 < settings.steps:
                    if writes:
                        state = {"step": step + 1, "seconds": state["seconds"], "commit": record["commit"]}
                        state |= {"log": log.state_dict(), "trainer": trainer.state_dict()}
                        files.save(state | {"seconds": state["seconds"] + time.monotonic() - started})
                    position.saved = step + 1
                    if stopping:
                        raise Preempted(
                            f"{name}: asked to stop; everything up to step {step + 1} is saved in "
                            f"{output / 'resume.pt'}. The same command again goes on from there."
                        )

            if writes:
                _write_results(record, model, config, name, clips, output)
                peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                seconds = state["seconds"] + time.monotonic() - started
                write_json(output / "cost.json", {"seconds": seconds, "peak_memory_mb": peak_mb})
                tracked.artifact(output / "run.json")
                tracked.artifact(output / "log.jsonl")
                files.clear()


def _record(
    name: RunName, config: Config, stage: str, settings: OptimisationSection, data: Path, init: Path | None
) -> dict[str, Any]:
    """What is known of a run before its first step, for run.json."""
    record = asdict(name) | {
        "config": json.loads(configuration.canonical(config, configuration.RECORDED)),
        "config_digest": configuration.digest(config, stage),
        "commit": commit(),
        "data_fingerprint": read_fingerprint(data),
        "initial_checkpoint_sha256": sha256_file(init) if init else None,
        "steps": settings.steps,
    }
    if uses_coco(name.dataset, config, stage):
        record["coco_fingerprint"] = read_fingerprint(data.parent / COCO_DIRECTORY)
    del record["study"]
    return record


def _write_results(
    record: dict[str, Any],
    model: MsStsVis,
    config: Config,
    name: RunName,
    clips: ClipDataset | StillClipDataset,
    output: Path,
) -> None:
    """checkpoint.pt and run.json."""
    content = {
        "model": {key: value.cpu() for key, value in model.state_dict().items()},
        "backbone": name.backbone,
        "categories": list(clips.categories),
        "config": configuration.canonical(config, configuration.RECORDED),
    }
    save_checkpoint(output / "checkpoint.pt", content)
    write_json(output / "run.json", record | {"checkpoint_sha256": sha256_file(output / "checkpoint.pt")})


def _commits(before: str, now: str) -> str:
    """The commit of a resumed run; both ends where the code changed in between, which is also said aloud."""
    if before.split("..")[-1] == now:
        return before
    print(f"warning: resumed by commit {now} of the code what {before} began; run.json names both", file=sys.stderr)
    return f"{before}..{now}"
