"""Set-up of a training run: devices, lock, signals, model, data, resume checkpoint, record and results."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from mssts.backbones import BACKBONES
from mssts.config import IMAGENET, NO_START, PRETRAIN, RECORDED, canonical
from mssts.core.checkpoint import load_checkpoint, misfits, save_checkpoint
from mssts.core.distributed import on_first_device, start_fabric
from mssts.core.environment import environment, peak_memory
from mssts.core.errors import InputError
from mssts.core.files import check_outputs, sha256_file, write_record
from mssts.data.clips import ClipLoader
from mssts.data.training import pretraining_clips, training_clips
from mssts.models import MsStsVis, build_model, count_parameters
from mssts.ops.attention import sampling_path
from mssts.training.callbacks import Callback, StartedRun, observed
from mssts.training.failures import TrainingProgress, reraise_with_advice
from mssts.training.finished import (
    CHECKPOINT,
    COST,
    FILES,
    LOG,
    RECORD,
    is_finished,
    remove_finished,
    require_no_checkpoint,
)
from mssts.training.log import TrainingLog
from mssts.training.record import TrainingRun, identity, resumed_commit, resumed_environments, run_record
from mssts.training.resume import ResumeFiles, stop_requests
from mssts.training.run_lock import run_lock
from mssts.training.start import advice, initial_checkpoint, require_same_architecture
from mssts.training.trainer import Generators, Trainer

Categories = Sequence[tuple[int, str]]


def train(
    run: TrainingRun,
    data: Path,
    output: Path,
    init: Path | None = None,
    callbacks: Sequence[Callback] = (),
    again: bool = False,
) -> None:
    """Run one training stage, or continue it from its resume checkpoint.

    Where the public code starts from COCO-trained weights [code], the stage "pretrain" trains on still images.

    Args:
        run: What to train.
        data: Directory of the dataset.
        output: Directory that receives checkpoint.pt, run.json, log.jsonl and cost.json. A finished run in it is left
            as it is.
        init: Checkpoint to start from, where `train.init` asks for one. Otherwise the weights are drawn from the seed;
            a pre-training and a training from ImageNet take those of the backbone that `pretrain.backbone_weights`
            names.
        callbacks: Called in every process at the start, after each step, and at the end.
        again: Remove the files of a finished run first.

    Raises:
        InputError: For data or weights that do not fit, if another process owns `output`, or if it holds the finished
            run of another configuration, dataset or start.
        RunFailure: If the training ends early.
        DeviceError: If it ends early on another device.
    """
    init = initial_checkpoint(run, init)
    check_outputs((output / name for name in FILES), [init])
    record = run_record(run, data, init)
    if not again and is_finished(output, record):
        print(f"{output}: this run is finished, nothing to do. The option --again trains it once more.")
        return
    runtime, execution = run.config.runtime, run.config.execution
    with start_fabric(runtime.device, runtime.precision, execution.devices, execution.nodes, runtime.tf32) as fabric:
        torch.set_num_threads(runtime.threads)
        _train(fabric, run, record, data, output, init, callbacks, again)


def _train(
    fabric: Fabric,
    run: TrainingRun,
    record: dict[str, Any],
    data: Path,
    output: Path,
    init: Path | None,
    callbacks: Sequence[Callback],
    again: bool,
) -> None:
    """As `train`, on devices that have been started, with the record of the run."""
    started = time.monotonic()
    config, optimisation, execution = run.config, run.optimisation, run.config.execution
    clips = (pretraining_clips if run.stage == PRETRAIN else training_clips)(run.dataset, data, config)
    run = replace(run, clips=len(clips))
    record |= run.length()
    writes = fabric.is_global_zero
    generators = Generators.from_seed(run.stage, run.seed)
    progress = TrainingProgress(str(run), output)

    with reraise_with_advice(progress), run_lock(output) if writes else nullcontext(), stop_requests() as stop:
        if run.start == IMAGENET and not BACKBONES[run.backbone].has_weights:
            reason = f"there are no ImageNet weights of backbone {run.backbone}"
            raise InputError(f"train.init: found {IMAGENET}, but {reason}; set it to {NO_START} or {PRETRAIN}.")
        backbone_weights = config.pretrain.backbone_weights if run.start in (None, IMAGENET) else None
        model = build_model(config.model, run.backbone, len(clips.categories), generators.model, backbone_weights)
        if init:
            load_start(model, init, run, clips.categories)
        trainer = Trainer(fabric, model, run, generators, progress)
        record["parameters"] = count_parameters(model)
        sampling = sampling_path(
            config.model.deformable_sampling, fabric.device, config.model.hidden_dim // config.model.heads
        )
        record["environments"] = [environment(fabric.device, sampling)]

        if again:
            on_first_device(fabric, lambda: remove_finished(output))
        resume_files = ResumeFiles(output, identity(record))
        state = resume_files.load()
        if state is None:
            require_no_checkpoint(output)
            state = {"step": 0, "seconds": 0.0, "log": None}
        start, seconds_before = state["step"], state["seconds"]
        if start:
            trainer.load_state_dict(state.pop("trainer"))
            record["commit"] = resumed_commit(state["commit"], record["commit"])
            record["environments"] = resumed_environments(state.get("environments", []), record["environments"])
            progress.saved = start
        log = TrainingLog(output / LOG if writes else None, optimisation.log_every, state["log"])
        batches = ClipLoader(
            clips,
            optimisation.batch_clips,
            run.steps,
            generators.clips,
            config.data.pad_multiple,
            start_step=start,
            workers=execution.workers,
            micro_batch_clips=trainer.micro_batches.clips,
            firsts=trainer.micro_batches.own,
            pinned=fabric.device.type == "cuda",
        )

        def seconds() -> float:
            return seconds_before + time.monotonic() - started

        def write_resume_checkpoint(step: int) -> None:
            provenance = {key: record[key] for key in ("commit", "environments")}
            so_far = {"step": step, "seconds": seconds()} | provenance
            resume_files.save(so_far | {"log": log.state_dict(), "trainer": trainer.state_dict()})

        def save(step: int) -> None:
            on_first_device(fabric, partial(write_resume_checkpoint, step))
            progress.saved = step

        with observed(callbacks, StartedRun(record, output, fabric, start)):
            trainer.fit(iter(batches), start, log, callbacks, save, stop)
            if writes:
                _write_results(run, model, clips.categories, record, output)
                write_record(output / COST, {"seconds": seconds()} | peak_memory(fabric.device))
                resume_files.clear()


def load_start(model: MsStsVis, init: Path, run: TrainingRun, categories: Categories) -> None:
    """Load the checkpoint that a run starts from.

    Every weight of the checkpoint must be used, and every weight of the model set by it. There are two exceptions:
    modules that the variant adds (`MsStsVis.additions`), and class heads of other categories, keep their initial
    values [code].

    Args:
        model: The model, whose weights are replaced.
        init: The checkpoint.
        run: The run.
        categories: (id, name) of the model's class logits.

    Raises:
        InputError: If the checkpoint is of another backbone or architecture, or weights do not fit; the message names
            them.
    """
    content = load_checkpoint(init)
    require_same_architecture(content, init, run.backbone, run.config)
    weights, theirs = content["model"], [tuple(category) for category in content["categories"]]
    own = model.state_dict(keep_vars=True)
    names = {id(weight): name for name, weight in own.items()}

    def names_of(modules: Iterable[nn.Module]) -> set[str]:
        return {names[id(weight)] for module in modules for weight in module.state_dict(keep_vars=True).values()}

    heads = names_of(model.class_heads)
    # Differs: the public SeqFormer code always starts with a new class head, in joint training never; here it
    # depends on whether the categories are the same.
    if theirs != list(categories):
        weights = {name: weight for name, weight in weights.items() if name not in heads}
    initial = names_of(model.additions()) | (heads if heads.isdisjoint(weights) else set())
    if problems := misfits(weights, own, initial):
        raise InputError(f"{init}: weights do not fit: {problems}. {advice(run.config, run.backbone)}")
    model.load_state_dict(weights, strict=False)


def _write_results(
    run: TrainingRun, model: MsStsVis, categories: Categories, record: dict[str, Any], output: Path
) -> None:
    """Write checkpoint.pt and run.json."""
    content = {
        "model": {key: value.cpu().clone() for key, value in model.state_dict().items()},
        "backbone": run.backbone,
        "categories": list(categories),
        "config": canonical(run.config, RECORDED),
    }
    save_checkpoint(output / CHECKPOINT, content)
    digests = {"checkpoint_sha256": sha256_file(output / CHECKPOINT), "log_sha256": sha256_file(output / LOG)}
    write_record(output / RECORD, record | digests)
