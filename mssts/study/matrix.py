"""The runs that a study consists of. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from mssts.config import PRETRAIN, pretrain_seed
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.study.paths import run_dir
from mssts.study.resolve import ResolvedStudy, pretrain_dataset


@dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
        dataset, backbone: Their names; "coco" is the dataset of a pre-training on COCO.
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
        """Whether the run is evaluated: a pre-training on COCO, which has other categories than the videos, is not."""
        return self.dataset != COCO_DIRECTORY


def planned_runs(study: ResolvedStudy) -> list[Run]:
    """Every run of a study in the order of its file; the pre-trainings come first in each dataset and backbone.

    All published datasets share those on COCO.
    """
    spec = study.spec
    runs = [
        run
        for dataset, backbone in product(spec.datasets, spec.backbones)
        for run in [
            *(pretraining_run(study, dataset, backbone, seed) for seed in pretrain_seeds(study, backbone)),
            *(
                Run(dataset, backbone, variant, seed, run_dir(study.folder, dataset, backbone, variant, seed))
                for variant, seed in product(spec.variants, spec.seeds)
            ),
        ]
    ]
    return list(dict.fromkeys(runs))


def pretraining_run(study: ResolvedStudy, dataset: str, backbone: str, seed: int) -> Run:
    """The pre-training of that seed from which trainings on a dataset start."""
    own = pretrain_dataset(dataset)
    return Run(own, backbone, PRETRAIN, seed, run_dir(study.pretrain_folder(own), own, backbone, PRETRAIN, seed))


def pretrain_seeds(study: ResolvedStudy, backbone: str) -> list[int]:
    """Seeds of the pre-trainings that trainings of the backbone start from; none where `train.init` says otherwise."""
    configs = [study.configs[variant] for variant in study.spec.variants]
    starting = [config for config in configs if config.train.start(backbone) == PRETRAIN]
    return sorted({pretrain_seed(config, seed) for config in starting for seed in study.spec.seeds})
