"""Set-up of a training run: devices, lock, signals, model, data, resume checkpoint, record and results."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from mssts import config as configuration
from mssts.config import PRETRAIN
from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.distributed import start_fabric
from mssts.core.errors import InputError
from mssts.core.files import sha256_file, write_json, write_record
from mssts.data.clips import ClipLoader
from mssts.data.training import pretraining_clips, training_clips
from mssts.models import MsStsVis, build_model, count_parameters
from mssts.training.callbacks import Callback, StartedRun, observed
from mssts.training.failures import TrainingProgress, reraise_with_advice
from mssts.training.log import TrainingLog
from mssts.training.record import TrainingRun, identity, resumed_commit, run_record
from mssts.training.resume import ResumeFiles, stop_requests
from mssts.training.run_lock import run_lock
from mssts.training.trainer import Generators, Trainer

Categories = Sequence[tuple[int, str]]


def train(
    run: TrainingRun, data: Path, output: Path, init: Path | None = None, callbacks: Sequence[Callback] = ()
) -> None:
    """Run one training stage, or continue it from its resume checkpoint.

    Where the public code starts from COCO-trained weights [code], the stage "pretrain" trains on still images.

    Args:
        run: What to train.
        data: Directory of the dataset.
        output: Directory that receives checkpoint.pt, run.json, log.jsonl and cost.json.
        init: Checkpoint to start from; None draws the weights from the seed, except those that
            `pretrain.backbone_weights` names.
        callbacks: Called in every process at the start, after each step, and at the end.

    Raises:
        InputError: For data or weights that do not fit, or if another process owns `output`.
        RunFailure: If the training ends early.
    """
    started = time.monotonic()
    config, optimisation = run.config, run.optimisation
    clips = (pretraining_clips if run.stage == PRETRAIN else training_clips)(run.dataset, data, config)
    torch.use_deterministic_algorithms(True, warn_only=True)
    execution = config.execution
    fabric = start_fabric(config.runtime.device, config.runtime.precision, execution.devices, execution.nodes)
    torch.set_num_threads(config.runtime.threads)
    writes = fabric.is_global_zero
    generators = Generators.from_seed(run.stage, run.seed)
    progress = TrainingProgress(str(run), output)

    with reraise_with_advice(progress), run_lock(output) if writes else nullcontext(), stop_requests() as stop:
        backbone_weights = None if init else config.pretrain.backbone_weights
        model = build_model(config.model, run.backbone, len(clips.categories), generators.model, backbone_weights)
        if init:
            load_shared_weights(model, init, clips.categories)
        trainer = Trainer(fabric, model, run, generators, progress)
        record = run_record(run, data, init, count_parameters(model))

        resume_files = ResumeFiles(output, identity(record))
        state = resume_files.load() or {"step": 0, "seconds": 0.0, "log": None}
        start, seconds_before = state["step"], state["seconds"]
        if start:
            trainer.load_state_dict(state.pop("trainer"))
            record["commit"] = resumed_commit(state["commit"], record["commit"])
            progress.saved = start
        log = TrainingLog(output / "log.jsonl" if writes else None, optimisation.log_every, state["log"])
        batches = ClipLoader(
            clips,
            optimisation.batch_clips,
            optimisation.steps,
            generators.clips,
            config.data.pad_multiple,
            start_step=start,
            workers=execution.workers,
            micro_batch_clips=trainer.micro_batches.clips,
            firsts=trainer.micro_batches.own,
        )

        def seconds() -> float:
            return seconds_before + time.monotonic() - started

        def save(step: int) -> None:
            if writes:
                so_far = {"step": step, "seconds": seconds(), "commit": record["commit"]}
                resume_files.save(so_far | {"log": log.state_dict(), "trainer": trainer.state_dict()})
            progress.saved = step

        with observed(callbacks, StartedRun(record, output, fabric)):
            trainer.fit(iter(batches), start, log, callbacks, save, stop)
            if writes:
                _write_results(run, model, clips.categories, record, output)
                peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                write_json(output / "cost.json", {"seconds": seconds(), "peak_memory_mb": peak_mb})
                resume_files.clear()


def load_shared_weights(model: MsStsVis, init: Path, categories: Categories) -> None:
    """Load a checkpoint of the baseline into a variant; every weight of the checkpoint must be used.

    A class head of other categories is left out: the model keeps its initial one [code].

    Args:
        model: The model, whose weights are replaced.
        init: The checkpoint.
        categories: (id, name) of the model's class logits.

    Raises:
        InputError: If weights do not fit; the message names them.
    """
    content = load_checkpoint(init)
    weights = content["model"]
    own = model.state_dict(keep_vars=True)
    # Differs: the public SeqFormer code always starts with a new class head, in joint training never; here it
    # depends on whether the categories are the same.
    if [tuple(category) for category in content["categories"]] != list(categories):
        heads = {id(weight) for head in model.class_heads for weight in head.parameters()}
        weights = {name: weight for name, weight in weights.items() if id(own.get(name)) not in heads}
    wrong = sorted(name for name, weight in weights.items() if name not in own or own[name].shape != weight.shape)
    if wrong:
        found = f"{len(wrong)} weights have another shape than in this model or are missing"
        raise InputError(f"{init}: {found}, the first are {wrong[:3]}. Run the pre-training again.")
    model.load_state_dict(weights, strict=False)


def _write_results(
    run: TrainingRun, model: MsStsVis, categories: Categories, record: dict[str, Any], output: Path
) -> None:
    """Write checkpoint.pt and run.json."""
    content = {
        "model": {key: value.cpu() for key, value in model.state_dict().items()},
        "backbone": run.backbone,
        "categories": list(categories),
        "config": configuration.canonical(run.config, configuration.RECORDED),
    }
    save_checkpoint(output / "checkpoint.pt", content)
    digests = {
        f"{name}_sha256": sha256_file(output / file)
        for name, file in (("checkpoint", "checkpoint.pt"), ("log", "log.jsonl"))
    }
    write_record(output / "run.json", record | digests)
