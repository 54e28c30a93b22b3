"""The runs that a study consists of. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

from mssts.config import PRETRAIN, pretrain_seed
from mssts.data.datasets import is_generated
from mssts.study.resolve import ResolvedStudy


class RunKey(NamedTuple):
    """What identifies a run at the scale of its study. variant: a variant's name, or "pretrain"."""

    dataset: str
    backbone: str
    variant: str
    seed: int

    @property
    def is_measured(self) -> bool:
        """Whether the run is evaluated: a pre-training on COCO's own categories is not, on a user's videos."""
        return self.variant != PRETRAIN or is_generated(self.dataset)


def run_keys(study: ResolvedStudy) -> list[RunKey]:
    """Every run of a study in the order of its file; the pre-trainings come first in each dataset and backbone."""
    starts = [(PRETRAIN, seed) for seed in pretrain_seeds(study)]
    trained = [(variant, seed) for variant in study.spec.variants for seed in study.spec.seeds]
    return [
        RunKey(dataset, backbone, variant, seed)
        for dataset in study.spec.datasets
        for backbone in study.spec.backbones
        for variant, seed in starts + trained
    ]


def pretrain_seeds(study: ResolvedStudy) -> list[int]:
    """Seeds of the pre-trainings that the trainings start from; none where `train.init` names a checkpoint."""
    if study.baseline.train.init != PRETRAIN:
        return []
    return sorted({pretrain_seed(study.baseline, seed) for seed in study.spec.seeds})
