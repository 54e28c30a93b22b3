"""How long the trainings of a study are, before they run. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mssts.config import PRETRAIN, TRAIN
from mssts.data.counts import Clips, clips_of
from mssts.study.resolve import ResolvedStudy


@dataclass(frozen=True)
class Length:
    """Length of a training, as the configuration states it.

    Attributes:
        steps: Optimiser steps; None where epochs are stated.
        epochs: Passes over the clips; None where steps are stated.
        batch_clips: Clips of a step.
        clips: Clips of an epoch; None if unknown.
    """

    steps: int | None
    epochs: int | None
    batch_clips: int
    clips: Clips | None

    @property
    def drawn(self) -> float:
        """Clips that the whole training draws; NaN if unknown."""
        if self.steps is not None:
            return self.steps * self.batch_clips
        return self.epochs * self.clips.number if self.epochs and self.clips else math.nan

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps:,} steps of {self.batch_clips} clips"
        if self.clips is None:
            return f"{self.epochs} epochs; the hours are unknown until the data is there: prepare it first"
        known = "assumed: published, the data is not prepared" if self.clips.assumed else "counted in the data"
        steps = math.ceil(self.drawn / self.batch_clips)
        return f"{self.epochs} epochs of {self.clips.number:,} clips ({known}), {steps:,} steps"


def planned_length(study: ResolvedStudy, dataset: str, variant: str) -> Length:
    """Length of the trainings of a variant, or of the pre-trainings, on a dataset or COCO. Raises InputError."""
    config = study.config(variant)
    stage: Literal["pretrain", "train"] = PRETRAIN if variant == PRETRAIN else TRAIN
    section = config.optimisation(stage)
    clips = clips_of(stage, dataset, study.data_dir(dataset), config)
    return Length(section.steps, section.epochs, section.batch_clips, clips)
