"""Differences of each variant to the baseline over all instances and over those with a challenge attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mssts.config import EvaluationSection
from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals, read_csv
from mssts.core.errors import InputError
from mssts.evaluation.matching import ATTRIBUTE_VIEW, GroupRecords, MatchRecords
from mssts.evaluation.records_file import read_records
from mssts.evaluation.statistics import LEAST_SEEDS, bootstrap_over_videos, compare_seeds, holm
from mssts.study.resolve import BASELINE
from mssts.study.runs import Benchmark, Result, StudyRuns


class Measure(NamedTuple):
    """A metric over a subset of the instances: `WHOLE`, or those with a challenge attribute."""

    subset: str
    metric: str


FILE = "ablation.csv"
WHOLE = "all"
ATTRIBUTES = ("occlusion", "fog")
MEASURES = (
    *(Measure(WHOLE, metric) for metric in ("AP", "AP75", "AP_agnostic")),
    *(Measure(attribute, "AP") for attribute in ATTRIBUTES),
)
_TOLERANCE = 1e-4  # percent points between a metrics.json and its match records
_KEYS = ("dataset", "split", "backbone", "subset", "metric", "variant", "seeds")
_NUMBERS = ("difference", "low", "high", "p", "p_holm")


class Interval(NamedTuple):
    """A mean paired difference and its 95 % bootstrap interval over videos, in percent points."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """Difference of a variant to the baseline.

    Attributes:
        dataset, split, backbone: Where both were measured.
        subset, metric: What was measured.
        seeds: Training seeds that both have; 0 if they have not been run.
        interval: None if not run, and where no instance counts.
        p: Two-sided exact sign-flip test over seeds; None below six seeds.
        p_holm: The same after Holm's correction over the variants of one measure.
    """

    dataset: str
    split: str
    backbone: str
    subset: str
    metric: str
    variant: str
    seeds: int
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def benchmark(self) -> Benchmark:
        """Dataset, split and backbone."""
        return Benchmark(self.dataset, self.split, self.backbone)

    @property
    def measure(self) -> Measure:
        """Subset and metric."""
        return Measure(self.subset, self.metric)


def differences(runs: StudyRuns, measures: Sequence[Measure] = MEASURES) -> list[Difference]:
    """Differences of every variant but the baseline, for each benchmark and measure.

    Returns:
        Grouped by benchmark, then by measure; empty if the study has no baseline.

    Raises:
        InputError: Match records that do not give their metrics.
    """
    if BASELINE not in runs.study.variants:
        return []
    found = []
    for benchmark in runs.benchmarks():
        of_variants = {
            variant: _of_variant(runs, benchmark, variant, measures)
            for variant in runs.study.variants
            if variant != BASELINE
        }
        for measure in measures:
            found += _with_holm([of_variant[measure] for of_variant in of_variants.values()])
    return found


def _with_holm(family: list[Difference]) -> list[Difference]:
    corrected = iter(holm([difference.p for difference in family if difference.p is not None]))
    return [d if d.p is None else replace(d, p_holm=next(corrected)) for d in family]


def _of_variant(
    runs: StudyRuns, benchmark: Benchmark, variant: str, measures: Sequence[Measure]
) -> dict[Measure, Difference]:
    """Differences of a variant by measure, not corrected yet."""
    pairs = _pairs(runs, benchmark, variant)
    found = {measure: Difference(*benchmark, *measure, variant, len(pairs)) for measure in measures}
    baseline = [read_records(first.matches) for first, _ in pairs]
    other = [read_records(second.matches) for _, second in pairs]
    for subset in dict.fromkeys(measure.subset for measure in measures) if pairs else []:
        intervals = _intervals(baseline, other, subset, runs.study.baseline.evaluation)
        for measure in measures:
            if measure.subset == subset and (interval := intervals.get(measure.metric)) is not None:
                p = _sign_flip(pairs, measure, interval.mean)
                found[measure] = replace(found[measure], interval=interval, p=p)
    return found


def _pairs(runs: StudyRuns, benchmark: Benchmark, variant: str) -> list[tuple[Result, Result]]:
    """(baseline, variant) results of the seeds that both have."""
    baseline = {result.run.seed: result for result in runs.select(*benchmark, BASELINE) if result.metrics is not None}
    return [
        (baseline[result.run.seed], result)
        for result in runs.select(*benchmark, variant)
        if result.metrics is not None and result.run.seed in baseline
    ]


def _intervals(
    baseline: list[MatchRecords], other: list[MatchRecords], subset: str, config: EvaluationSection
) -> dict[str, Interval]:
    """Interval of each metric that is defined over a subset."""
    first, second = (
        [part for records in runs if (part := restricted(records, subset)) is not None] for runs in (baseline, other)
    )
    if len(first) < len(baseline) or len(second) < len(other):
        return {}
    # the same seed for every variant: all of them are resampled on the same videos
    generator = np.random.default_rng(config.bootstrap_seed)
    found = bootstrap_over_videos(first, second, config.bootstrap_replicates, generator)
    return {
        metric: Interval(100 * one.difference, 100 * one.low, 100 * one.high)
        for metric, one in found.items()
        if one.difference is not None and one.low is not None and one.high is not None
    }


def restricted(records: MatchRecords, subset: str) -> MatchRecords | None:
    """Restrict match records to the videos that show an attribute, and to its instances in them.

    AP over the result is that of `attribute_metrics` in the evaluation. The subset `WHOLE` keeps every video.

    Returns:
        None if no video shows the attribute.
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


def _value(result: Result, measure: Measure) -> float | None:
    if measure.subset == WHOLE:
        return result.value(measure.metric)
    return result.attribute(measure.subset, measure.metric)


def _sign_flip(pairs: list[tuple[Result, Result]], measure: Measure, mean: float) -> float | None:
    """P-value over seeds (None below six), after a check that the metrics give the mean of the match records."""
    first, second = (
        {pair[side].run.seed: value for pair in pairs if (value := _value(pair[side], measure)) is not None}
        for side in (0, 1)
    )
    complete = len(first) == len(second) == len(pairs)
    compared = compare_seeds(first, second) if complete else None
    if compared is None or abs(compared.mean_difference - mean) > _TOLERANCE:
        files = ", ".join(str(result.matches.parent) for pair in pairs for result in pair)
        raise InputError(
            f"{' '.join(measure)}: matches.npz and metrics.json do not belong together in one of {files}. "
            "Evaluate these runs again."
        )
    return compared.p_value if len(pairs) >= LEAST_SEEDS else None


def measured(found: list[Difference]) -> list[Measure]:
    """The measures that are defined somewhere."""
    return [measure for measure in MEASURES if any(one.measure == measure and one.interval for one in found)]


def to_frame(found: list[Difference]) -> pd.DataFrame:
    """Differences as a table of text cells, one row each."""

    def cells(difference: Difference) -> list[str]:
        numbers = (*(difference.interval or [None] * 3), difference.p, difference.p_holm)
        return [decimals(number, 6) if difference.seeds else NOT_RUN for number in numbers]

    rows = [[*(str(getattr(one, key)) for key in _KEYS), *cells(one)] for one in found]
    return pd.DataFrame(rows, columns=[*_KEYS, *_NUMBERS])


def read_differences(path: Path) -> list[Difference]:
    """Read a file written from `to_frame`. Raises InputError if it is missing or has other columns."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Write the tables first (mssts tables).")
    frame = read_csv(path)
    if list(frame.columns) != [*_KEYS, *_NUMBERS]:
        raise InputError(f"{path}: found columns {list(frame.columns)}. Write the tables again (mssts tables).")
    return [_parsed(*row) for row in frame.itertuples(index=False)]


def _parsed(*cells: str) -> Difference:
    dataset, split, backbone, subset, metric, variant, seeds, mean, low, high, *p_values = cells
    missing = (NOT_RUN, NO_VALUE)
    interval = None if mean in missing else Interval(float(mean), float(low), float(high))
    p, p_holm = (None if value in missing else float(value) for value in p_values)
    return Difference(dataset, split, backbone, subset, metric, variant, int(seeds), interval, p, p_holm)
