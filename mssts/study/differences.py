"""Differences of each variant to the baseline over all instances and over those with a challenge attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import compress
from typing import NamedTuple

import numpy as np
import pandas as pd

from mssts.config import EvaluationSection
from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals, read_csv
from mssts.core.errors import InputError
from mssts.evaluation.matching import ATTRIBUTE_VIEW, GroupRecords, MatchRecords
from mssts.evaluation.statistics import MIN_SEEDS, bootstrap_over_videos, compare_seeds, holm
from mssts.study.resolve import BASELINE
from mssts.study.runs import ALL_INSTANCES, Benchmark, Result, StudyRuns

FILE = "ablation.csv"
ATTRIBUTES = ("occlusion", "fog")


class Measure(NamedTuple):
    """A metric over a subset of the instances: `ALL_INSTANCES`, or those with a challenge attribute."""

    subset: str
    metric: str

    @property
    def title(self) -> str:
        """The measure as figures and sentences name it."""
        metric = self.metric.replace("AP_agnostic", "class-agnostic AP")
        return metric if self.subset == ALL_INSTANCES else f"{metric} on {self.subset}"


MEASURES = (
    *(Measure(ALL_INSTANCES, metric) for metric in ("AP", "AP75", "AP_agnostic")),
    *(Measure(attribute, "AP") for attribute in ATTRIBUTES),
)
_TOLERANCE = 1e-4  # percentage points between a metrics.json and its match records
_COLUMNS = [
    *("dataset", "split", "backbone", "subset", "metric", "variant", "seeds"),
    *("difference", "low", "high", "p", "p_holm"),
]


class Interval(NamedTuple):
    """A mean paired difference and its 95 % bootstrap interval over videos, in percentage points."""

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
        benchmark: Where both were measured.
        measure: What was measured.
        variant: Name of the variant.
        seeds: Training seeds that both have; 0 if they have not been run.
        interval: None if not run, and where no instance counts.
        p: Two-sided exact sign-flip test over seeds; None below six seeds.
        p_holm: The same after Holm's correction over the variants of one measure.
    """

    benchmark: Benchmark
    measure: Measure
    variant: str
    seeds: int
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None


def differences(runs: StudyRuns) -> list[Difference]:
    """Differences of every variant but the baseline, for each benchmark and measure.

    Returns:
        Grouped by benchmark, then by measure; empty if the study has no baseline.

    Raises:
        InputError: Match records that do not give their metrics.
    """
    if BASELINE not in runs.study.variants:
        return []
    variants = [variant for variant in runs.study.variants if variant != BASELINE]
    found = []
    for benchmark in runs.benchmarks():
        for family in zip(*(_variant_differences(runs, benchmark, variant) for variant in variants), strict=True):
            found += _with_holm(family)
    return found


def _with_holm(family: tuple[Difference, ...]) -> list[Difference]:
    corrected = iter(holm([difference.p for difference in family if difference.p is not None]))
    return [d if d.p is None else replace(d, p_holm=next(corrected)) for d in family]


def _variant_differences(runs: StudyRuns, benchmark: Benchmark, variant: str) -> list[Difference]:
    """Differences of a variant, one per measure, over the seeds that it and the baseline have; not corrected yet."""
    both = zip(runs.select(*benchmark, BASELINE), runs.select(*benchmark, variant), strict=True)
    pairs = [pair for pair in both if all(result.metrics is not None for result in pair)]
    baseline, other = ([pair[side].read_matches() for pair in pairs] for side in (0, 1))
    intervals = {}
    for subset in (ALL_INSTANCES, *ATTRIBUTES) if pairs else ():
        intervals[subset] = _intervals(baseline, other, subset, runs.study.baseline.evaluation)
    found = []
    for measure in MEASURES:
        interval = intervals.get(measure.subset, {}).get(measure.metric)
        p = _sign_flip(pairs, measure, interval.mean) if interval else None
        found.append(Difference(benchmark, measure, variant, len(pairs), interval, p))
    return found


def _intervals(
    baseline: list[MatchRecords], other: list[MatchRecords], subset: str, config: EvaluationSection
) -> dict[str, Interval]:
    """Interval of each metric that is defined over a subset."""
    first, second = (
        [part for records in runs if (part := restrict_to_subset(records, subset)) is not None]
        for runs in (baseline, other)
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


def restrict_to_subset(records: MatchRecords, subset: str) -> MatchRecords | None:
    """Restrict match records to the videos that show an attribute, and to its instances in them.

    AP over the result is that of `attribute_metrics` in the evaluation. The subset `ALL_INSTANCES` keeps every video.

    Returns:
        None if no video shows the attribute.
    """
    name = subset if subset == ALL_INSTANCES else f"{ATTRIBUTE_VIEW}{subset}"
    if name not in records.views:
        return None
    view = [records.views.index(name)]
    kept_V = (records.pooled.positives_AV[view[0]] > 0) | (subset == ALL_INSTANCES)
    position_V = np.cumsum(kept_V) - 1
    if not kept_V.any():
        return None

    def restrict_group(group: GroupRecords) -> GroupRecords:
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

    video_ids = tuple(compress(records.video_ids, kept_V))
    categories = tuple(map(restrict_group, records.categories))
    return MatchRecords(video_ids, records.category_ids, (ALL_INSTANCES,), categories, restrict_group(records.pooled))


def _sign_flip(pairs: list[tuple[Result, Result]], measure: Measure, mean: float) -> float | None:
    """P-value over seeds (None below six), after a check that the metrics give the mean of the match records."""
    first, second = (
        {pair[side].run.seed: value for pair in pairs if (value := pair[side].value(*measure)) is not None}
        for side in (0, 1)
    )
    compared = compare_seeds(first, second) if len(first) == len(second) == len(pairs) else None
    if compared is None or abs(compared.mean_difference - mean) > _TOLERANCE:
        files = ", ".join(str(result.directory) for pair in pairs for result in pair)
        raise InputError(
            f"{' '.join(measure)}: matches.npz and metrics.json give different values in one of {files}. "
            "Evaluate these runs again."
        )
    return compared.p_value if len(pairs) >= MIN_SEEDS else None


def measured(found: list[Difference]) -> list[Measure]:
    """The measures that are defined somewhere."""
    return [measure for measure in MEASURES if any(one.measure == measure and one.interval for one in found)]


def to_frame(found: list[Difference]) -> pd.DataFrame:
    """Differences as a table of text cells, one row each."""
    rows = []
    for one in found:
        numbers = [*(one.interval or [None] * 3), one.p, one.p_holm]
        cells = [decimals(number, 6) if one.seeds else NOT_RUN for number in numbers]
        rows.append([*one.benchmark, *one.measure, one.variant, str(one.seeds), *cells])
    return pd.DataFrame(rows, columns=_COLUMNS)


def read_differences(runs: StudyRuns) -> list[Difference]:
    """Read the differences that the tables were written from. Raises InputError if they are missing."""
    frame = read_csv(runs.folder / FILE, _COLUMNS, f"Run mssts tables --study {runs.study.name}.")
    found = []
    for *keys, variant, seeds, mean, low, high, p, p_holm in frame.itertuples(index=False):
        missing = (NOT_RUN, NO_VALUE)
        interval = None if mean in missing else Interval(float(mean), float(low), float(high))
        p_values = (None if value in missing else float(value) for value in (p, p_holm))
        found.append(Difference(Benchmark(*keys[:3]), Measure(*keys[3:]), variant, int(seeds), interval, *p_values))
    return found
