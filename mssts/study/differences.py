"""Differences of each variant to the baseline over all instances and over those with a challenge attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mssts import config as configuration
from mssts.config import EvaluationSection
from mssts.core.errors import InputError
from mssts.evaluation.matching import ATTRIBUTE_VIEW, GroupRecords, MatchRecords
from mssts.evaluation.records_file import read_records
from mssts.evaluation.statistics import MIN_SEEDS, bootstrap_over_videos, compare_seeds, holm
from mssts.study.runs import BASELINE, Result, StudyRuns

WHOLE = "all"
ATTRIBUTES = ("occlusion", "fog")
MEASURES = ((WHOLE, "AP"), (WHOLE, "AP75"), (WHOLE, "AP_agnostic"), *((attribute, "AP") for attribute in ATTRIBUTES))
"""(subset of the instances, metric) of every difference in the ablation table."""
_TOLERANCE = 1e-4  # percent points between a metrics.json and its match records


@dataclass(frozen=True)
class Difference:
    """Mean paired difference of a variant to the baseline, in percent points.

    seeds: training seeds that both have; 0: not run, and then every number is None. mean, low, high: None also where
    no instance counts. low, high: 95 % paired bootstrap interval over videos. p, p_holm: two-sided exact sign-flip
    test over seeds, without and with Holm's correction over the variants of one measure; None below six seeds.
    """

    dataset: str
    split: str
    backbone: str
    subset: str
    metric: str
    variant: str
    seeds: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None


def differences(runs: StudyRuns, measures: tuple[tuple[str, str], ...] = MEASURES) -> list[Difference]:
    """Differences of every variant but the baseline, for each dataset, split, backbone and measure.

    Empty if the study has no baseline. Raises InputError for match records that do not give their metrics.
    """
    if BASELINE not in runs.study.variants:
        return []
    settings = configuration.resolve(runs.study.scale).evaluation
    found = []
    for place in runs.settings():
        intervals = {variant: _intervals(runs, place, variant, measures, settings) for variant in _compared(runs)}
        for measure in measures:
            family = [
                Difference(*place, *measure, variant, seeds, **intervals[variant][1].get(measure, {}))
                for variant, (seeds, _) in intervals.items()
            ]
            found += _with_holm(family)
    return found


def _compared(runs: StudyRuns) -> list[str]:
    return [variant for variant in runs.study.variants if variant != BASELINE]


def _with_holm(family: list[Difference]) -> list[Difference]:
    tested = [difference.p for difference in family if difference.p is not None]
    corrected = iter(holm(tested))
    return [d if d.p is None else replace(d, p_holm=next(corrected)) for d in family]


def _pairs(runs: StudyRuns, place: tuple[str, str, str], variant: str) -> list[tuple[Result, Result]]:
    """(baseline, variant) results of the seeds that both have."""
    baseline = {result.run.seed: result for result in runs.select(*place, BASELINE) if result.metrics is not None}
    return [
        (baseline[result.run.seed], result)
        for result in runs.select(*place, variant)
        if result.metrics is not None and result.run.seed in baseline
    ]


def _value(result: Result, measure: tuple[str, str]) -> float | None:
    subset, metric = measure
    return result.value(metric) if subset == WHOLE else result.attribute(subset, metric)


def restricted(records: MatchRecords, subset: str) -> MatchRecords | None:
    """Records of the videos that show an attribute, in which its instances are all that counts; None without any.

    So that AP over them is `attribute_metrics` of the evaluation. The subset `WHOLE` keeps every video.
    """
    name = subset if subset == WHOLE else f"{ATTRIBUTE_VIEW}{subset}"
    if name not in records.views:
        return None
    view = [records.views.index(name)]
    kept_V = (records.pooled.positives_AV[view[0]] > 0) | (subset == WHOLE)
    position_V = np.cumsum(kept_V) - 1
    if not kept_V.any():
        return None

    def cut(group: GroupRecords) -> GroupRecords:
        kept_N = kept_V[group.video_N]
        return GroupRecords(
            video_N=position_V[group.video_N[kept_N]],
            rank_N=group.rank_N[kept_N],
            score_N=group.score_N[kept_N],
            prediction_N=group.prediction_N[kept_N],
            matched_ATN=group.matched_ATN[view][..., kept_N],
            ignored_ATN=group.ignored_ATN[view][..., kept_N],
            annotation_TN=group.annotation_TN[:, kept_N],
            positives_AV=group.positives_AV[view][:, kept_V],
        )

    video_ids = tuple(video for video, kept in zip(records.video_ids, kept_V, strict=True) if kept)
    return MatchRecords(
        video_ids, records.category_ids, (WHOLE,), tuple(map(cut, records.categories)), cut(records.pooled)
    )


def _intervals(
    runs: StudyRuns,
    place: tuple[str, str, str],
    variant: str,
    measures: tuple[tuple[str, str], ...],
    settings: EvaluationSection,
) -> tuple[int, dict[tuple[str, str], dict[str, float | None]]]:
    """Number of paired seeds, and the numbers of `Difference` for each measure that is defined."""
    pairs = _pairs(runs, place, variant)
    if not pairs:
        return 0, {}
    baseline = [read_records(first.matches) for first, _ in pairs]
    other = [read_records(second.matches) for _, second in pairs]
    numbers = {}
    for subset in dict.fromkeys(subset for subset, _ in measures):
        first = [restricted(records, subset) for records in baseline]
        second = [restricted(records, subset) for records in other]
        if None in first or None in second:
            continue
        # the same seed for every variant: all of them are resampled on the same videos
        generator = np.random.default_rng(settings.bootstrap_seed)
        intervals = bootstrap_over_videos(first, second, settings.bootstrap_replicates, generator)
        for measure in measures:
            interval = intervals[measure[1]]
            if measure[0] != subset or interval.difference is None:
                continue
            mean = 100 * interval.difference
            p = _sign_flip(pairs, measure, mean)
            numbers[measure] = {"mean": mean, "low": 100 * interval.low, "high": 100 * interval.high, "p": p}
    return len(pairs), numbers


def _sign_flip(pairs: list[tuple[Result, Result]], measure: tuple[str, str], mean: float) -> float | None:
    """P-value over seeds (None below six), after a check that the metrics give the mean of the match records."""
    first = {result.run.seed: _value(result, measure) for result, _ in pairs}
    second = {result.run.seed: _value(result, measure) for _, result in pairs}
    undefined = None in first.values() or None in second.values()
    compared = None if undefined else compare_seeds(first, second)
    if compared is None or abs(compared.mean_difference - mean) > _TOLERANCE:
        files = ", ".join(str(result.matches.parent) for pair in pairs for result in pair)
        raise InputError(
            f"{' '.join(measure)}: matches.npz and metrics.json do not belong together in one of {files}. "
            "Evaluate these runs again."
        )
    return compared.p_value if len(pairs) >= MIN_SEEDS else None
