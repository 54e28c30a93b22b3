"""What the study cannot tell, from its design."""

from __future__ import annotations

from mssts.data.datasets import LOCAL, is_generated
from mssts.evaluation.statistics import MIN_SEEDS
from mssts.report.formats import plural
from mssts.report.parts import Sentences
from mssts.study.matrix import pretrain_seeds
from mssts.study.resolve import BASELINE
from mssts.study.runs import StudyRuns


def parts(runs: StudyRuns) -> list[Sentences]:
    """The sentences that apply."""
    spec, baseline = runs.study.spec, runs.study.baseline
    seeds = len(spec.seeds)
    said = [
        "The intervals describe how these trained models would compare on other videos of the same kind. They do not "
        "cover the randomness of training."
    ]
    if seeds < MIN_SEEDS:
        said.append(
            f"{plural(seeds, 'seed')} of each variant: fewer than the {MIN_SEEDS} from which on a test over seeds can "
            "reach 5 %."
        )
    if starts := max(len(pretrain_seeds(runs.study, backbone)) for backbone in spec.backbones):
        said.append(
            f"All trainings start from {plural(starts, 'pre-training')} of each backbone, whose luck they share."
        )
    if any(map(is_generated, spec.datasets)):
        said.append("The videos are generated: simple shapes, known challenges. Nothing follows for real videos.")
    if any(split.startswith(LOCAL) for split in spec.splits):
        said.append("The local split is a part of the training videos, not an official validation set.")
    said.append(
        f"The scale {spec.scale} trains for {baseline.train.steps or f'{baseline.train.epochs} epochs'}"
        f"{' steps' if baseline.train.steps else ''} with {baseline.model.hidden_dim} channels and "
        f"{baseline.model.queries} queries; other sizes may rank the variants differently."
    )
    if BASELINE in spec.variants and len(spec.variants) > 2:
        said.append(
            "Differences are taken to the baseline only: two variants that are both above it are not compared with "
            "each other."
        )
    return [Sentences("", said)]
