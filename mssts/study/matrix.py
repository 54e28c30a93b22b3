"""Which runs a study asks for, and which of them can be measured. Imports no torch."""

from __future__ import annotations

from mssts import config as configuration
from mssts.config import PRETRAIN, Config, Study
from mssts.data.datasets import is_generated

RunKey = tuple[str, str, str, int]  # dataset, backbone, variant, seed


def run_keys(study: Study, config: Config) -> list[RunKey]:
    """Every run of the study in its file's order, of each dataset and backbone the pre-trainings first.

    config: the baseline at the study's scale. There is no pre-training where `train.init` names a checkpoint.
    """
    starts = [(PRETRAIN, seed) for seed in pretrain_seeds(study, config)]
    trained = [(variant, seed) for variant in study.variants for seed in study.seeds]
    return [
        (dataset, backbone, variant, seed)
        for dataset in study.datasets
        for backbone in study.backbones
        for variant, seed in starts + trained
    ]


def pretrain_seeds(study: Study, config: Config) -> list[int]:
    """Seeds of the pre-trainings that the study's trainings start from; none where `train.init` names a checkpoint."""
    if config.train.init != PRETRAIN:
        return []
    return sorted({configuration.pretrain_seed(config, seed) for seed in study.seeds})


def is_measured(dataset: str, variant: str) -> bool:
    """Whether a run can be measured: pre-training on COCO's own categories cannot, on a user's videos."""
    return variant != PRETRAIN or is_generated(dataset)
