"""What a training run is, and the description of it that run.json keeps. Imports no torch."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mssts.config import PRETRAIN, RECORDED, TRAIN, Config, OptimisationSection, canonical, digest
from mssts.core.files import sha256_file
from mssts.core.provenance import commit
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.fingerprints import read_fingerprint

NO_IDENTITY = ("scale", "pretrain_seed", "config", "commit", "environments", "start", "clips", "steps", "epochs")
"""Keys of a record that may differ at a resume."""


@dataclass(frozen=True)
class TrainingRun:
    """One training run.

    Attributes:
        stage: "pretrain" for the baseline on still images, "train" for a variant on videos.
        scale: Name of the scale; of a pre-training on COCO, which all scales share, its folder in `results`.
        dataset: Name of the dataset.
        backbone: Name of the backbone.
        variant: Name of the variant; "pretrain" for pre-training.
        seed: Seed of all random draws of the run, from 1.
        pretrain_seed: Seed of the pre-training that the run starts from, or is.
        config: Resolved configuration.
        clips: Number of clips that it draws from, once its data is read.
    """

    stage: Literal["pretrain", "train"]
    scale: str
    dataset: str
    backbone: str
    variant: str
    seed: int
    pretrain_seed: int
    config: Config
    clips: int = 0

    def __str__(self) -> str:
        return f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}"

    @property
    def start(self) -> str | None:
        """What a training starts from, see `TrainSection.start`; None for a pre-training."""
        return None if self.stage == PRETRAIN else self.config.train.start(self.backbone)

    @property
    def optimisation(self) -> OptimisationSection:
        """The section of the configuration that describes this stage."""
        return self.config.optimisation(self.stage)

    @property
    def steps(self) -> int:
        """Number of optimiser steps. Its data must have been read where the configuration states epochs."""
        return self.optimisation.steps_of(self.clips)

    def length(self) -> dict[str, float]:
        """The length of the run for run.json, with epochs as the number of times that it draws each clip."""
        epochs = round(self.steps * self.optimisation.batch_clips / self.clips, 4)
        return {"clips": self.clips, "steps": self.steps, "epochs": epochs}


def run_record(run: TrainingRun, data: Path, init: Path | None) -> dict[str, Any]:
    """Describe a run before its first step, for run.json. Its length, parameters and environment are missing.

    Args:
        run: The run.
        data: Directory of the dataset.
        init: Checkpoint that the run starts from.
    """
    record = {key: value for key, value in vars(run).items() if key not in ("stage", "config", "clips")} | {
        "config": json.loads(canonical(run.config, RECORDED)),
        "config_digest": digest(run.config, run.stage),
        "commit": commit(),
        "data_fingerprint": read_fingerprint(data),
        "start": run.start,
        "initial_checkpoint_sha256": sha256_file(init) if init else None,
    }
    if run.stage == TRAIN and run.config.data.joint:
        record["coco_fingerprint"] = read_fingerprint(data.parent / COCO_DIRECTORY)
    return record


def identity(record: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a record that must be equal for a resume checkpoint to be used."""
    return {key: value for key, value in record.items() if key not in NO_IDENTITY}


def resumed_commit(before: str, now: str) -> str:
    """Return the commit of a resumed run: "first..last", with a warning, if the code changed in between."""
    if before.split("..")[-1] == now:
        return before
    warning = f"this run was started at commit {before} and is resumed at commit {now}; run.json records both"
    print(f"warning: {warning}", file=sys.stderr)
    return f"{before}..{now}"


def resumed_environments(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the environments of a resumed run in their order, with a warning if the present one is not the last."""
    if before[-1:] == now:
        return before
    if before:
        last = before[-1]
        changed = [f"{key} {last.get(key)} -> {value}" for key, value in now[0].items() if last.get(key) != value]
        warning = f"this run is resumed in another environment: {', '.join(changed)}; run.json records both"
        print(f"warning: {warning}", file=sys.stderr)
    return before + now
