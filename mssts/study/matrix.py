"""The runs that a study consists of. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from mssts.config import PRETRAIN, pretrain_seed
from mssts.data.datasets import is_generated
from mssts.study.paths import run_dir
from mssts.study.resolve import ResolvedStudy


@dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
        dataset, backbone: Their names.
        variant: Name of the variant, or "pretrain".
        seed: Training seed, or pre-training seed.
        directory: Where its files lie.
        record: Its run.json without the configuration; None if it has not been run or was not read.
    """

    dataset: str
    backbone: str
    variant: str
    seed: int
    directory: Path
    record: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The run as a report names it: no path, no time."""
        return f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}"

    @property
    def is_measured(self) -> bool:
        """Whether the run is evaluated: a pre-training on COCO's own categories is not, on a user's videos."""
        return self.variant != PRETRAIN or is_generated(self.dataset)


def planned_runs(study: ResolvedStudy) -> list[Run]:
    """Every run of a study in the order of its file; the pre-trainings come first in each dataset and backbone."""
    starts = [(PRETRAIN, seed) for seed in pretrain_seeds(study)]
    trained = product(study.spec.variants, study.spec.seeds)
    return [
        Run(*benchmark, *run, run_dir(study.spec.scale, *benchmark, *run))
        for benchmark, run in product(product(study.spec.datasets, study.spec.backbones), [*starts, *trained])
    ]


def pretrain_seeds(study: ResolvedStudy) -> list[int]:
    """Seeds of the pre-trainings that the trainings start from; none where `train.init` names a checkpoint."""
    if study.baseline.train.init != PRETRAIN:
        return []
    return sorted({pretrain_seed(study.baseline, seed) for seed in study.spec.seeds})
