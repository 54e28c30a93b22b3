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
    spec = study.spec
    return [
        Run(dataset, backbone, *run, run_dir(spec.scale, dataset, backbone, *run))
        for dataset, backbone in product(spec.datasets, spec.backbones)
        for run in [
            *((PRETRAIN, seed) for seed in pretrain_seeds(study, backbone)),
            *product(spec.variants, spec.seeds),
        ]
    ]


def pretrain_seeds(study: ResolvedStudy, backbone: str) -> list[int]:
    """Seeds of the pre-trainings that trainings of the backbone start from; none where `train.init` says otherwise."""
    configs = [study.configs[variant] for variant in study.spec.variants]
    starting = [config for config in configs if config.train.start(backbone) == PRETRAIN]
    return sorted({pretrain_seed(config, seed) for config in starting for seed in study.spec.seeds})
