"""Differences of each variant to the baseline over all instances and over those with a challenge attribute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals, read_csv
from mssts.core.errors import InputError
from mssts.evaluation.average_precision import AP_METRICS
from mssts.evaluation.matching import ATTRIBUTE_VIEW, GroupRecords, MatchRecords
from mssts.evaluation.statistics import (
    MIN_VIDEOS,
    Interval,
    Intervals,
    bootstrap_intervals,
    compare_seeds,
    least_p,
    resampled_metrics,
    resamples_of_videos,
)
from mssts.study.resolve import BASELINE
from mssts.study.runs import ALL_INSTANCES, BOX_AP, Benchmark, Result, StudyRuns

FILE = "ablation.csv"
_TOLERANCE = 1e-4  # percentage points between a metrics.json and its match records
_COLUMNS = [
    *("dataset", "split", "backbone", "subset", "metric", "announced", "videos", "instances", "variant", "seeds"),
    *("difference", "low", "high", "pointwise_low", "pointwise_high", "p", "least_p"),
]


class Measure(NamedTuple):
    """A metric over a subset of the instances: `ALL_INSTANCES`, or those with a challenge attribute."""

    subset: str
    metric: str

    @property
    def title(self) -> str:
        """The measure as figures and sentences name it."""
        metric = self.metric.replace("AP_agnostic", "class-agnostic AP").replace(BOX_AP, "box AP")
        return metric if self.subset == ALL_INSTANCES else f"{metric} on {self.subset.replace('_', ' ')}"


class Size(NamedTuple):
    """Number of instances that count for a measure, and of the videos that show one."""

    videos: int
    instances: int

    @property
    def is_enough(self) -> bool:
        """Whether there are enough videos for intervals and tests."""
        return self.videos >= MIN_VIDEOS


OVERALL = tuple(Measure(ALL_INSTANCES, metric) for metric in (*AP_METRICS, BOX_AP))


@dataclass(frozen=True)
class Difference:
    """Difference of a variant to the baseline, in percentage points.

    Attributes:
        benchmark: Where both were measured.
        measure: What was measured.
        size: On how much.
        variant: Name of the variant.
        seeds: Training seeds that both have; 0 if they have not been run.
        mean: Mean paired difference over the seeds; None if not run, and where no instance counts.
        intervals: 95 % bootstrap intervals over videos; None if not run, and where there are too few videos.
        p: Two-sided exact sign-flip test over seeds, not corrected; None for one seed, and without intervals.
        announced: Whether the measure was announced before the runs: over all instances, or a challenge of
            `Study.announced`.
    """

    benchmark: Benchmark
    measure: Measure
    size: Size
    variant: str
    seeds: int
    mean: float | None = None
    intervals: Intervals | None = None
    p: float | None = None
    announced: bool = True

    @property
    def excludes_zero(self) -> bool:
        """Whether the simultaneous interval, the one that decides, excludes zero."""
        return self.intervals is not None and self.intervals.simultaneous.excludes_zero


def differences(runs: StudyRuns) -> list[Difference]:
    """Differences of every variant but the baseline, for each benchmark and measure.

    The measures are AP, AP75, class-agnostic AP and box AP, and AP on each challenge that an instance of the benchmark
    shows, those announced first. The family of the simultaneous intervals is all variants and measures of a benchmark.

    Returns:
        Grouped by benchmark, then by measure; empty if the study has no baseline.

    Raises:
        InputError: Match records that do not give their metrics, or of runs evaluated on different instances.
    """
    if BASELINE not in runs.study.variants:
        return []
    return [one for benchmark in runs.benchmarks() for one in _of_benchmark(runs, benchmark)]


def _of_benchmark(runs: StudyRuns, benchmark: Benchmark) -> Iterator[Difference]:
    pairs: dict[str, list[tuple[Result, Result]]] = {}
    for variant in (variant for variant in runs.study.variants if variant != BASELINE):
        both = zip(runs.select(*benchmark, BASELINE), runs.select(*benchmark, variant), strict=True)
        pairs[variant] = [pair for pair in both if all(result.metrics is not None for result in pair)]
    results = {result.directory: result for result in chain(*chain(*pairs.values()))}
    sizes, values = _resampled(runs, results)
    resampled = {
        (measure, variant): np.mean(
            [values[b.directory, measure] - values[a.directory, measure] for a, b in own], axis=0
        )
        for measure in sizes
        for variant, own in pairs.items()
        if own
    }
    family = [key for key in resampled if sizes[key[0]].is_enough]
    intervals: dict[tuple[Measure, str], Intervals] = {}
    if family:
        videos = [sizes[measure].videos for measure, _ in family]
        found = bootstrap_intervals(np.array([resampled[key] for key in family]), videos)
        intervals = dict(zip(family, found, strict=True))
    for measure, size in sizes.items():
        announced = measure.subset in (ALL_INSTANCES, *runs.study.spec.announced)
        for variant, own in pairs.items():
            mean = float(resampled[measure, variant][0]) if own and size.instances else None
            p = None if mean is None else _sign_flip(own, measure, mean)
            known = intervals.get((measure, variant))
            shown_p = p if known and len(own) > 1 else None
            yield Difference(benchmark, measure, size, variant, len(own), mean, known, shown_p, announced)


def _resampled(
    runs: StudyRuns, results: dict[Path, Result]
) -> tuple[dict[Measure, Size], dict[tuple[Path, Measure], np.ndarray]]:
    """Sizes of the measures of a benchmark, and (1 + R,) values of each run in percent.

    All runs and measures are evaluated on the same resamples; the first value is that on all videos.
    """
    sizes, values = dict.fromkeys(OVERALL, Size(0, 0)), {}
    config, first = runs.study.baseline.evaluation, None
    for path, result in results.items():
        records = result.read_matches()
        if first is None:
            first, sizes = records, _sizes(records, runs.study.spec.announced)
            generator = np.random.default_rng(config.bootstrap_seed)
            weights_RV = resamples_of_videos(len(records.video_ids), config.bootstrap_replicates, generator)
        elif _ground_truth(records) != _ground_truth(first):
            raise InputError(
                f"{path}: evaluated on other videos, categories or instances than {next(iter(results))}. "
                "Evaluate these runs again."
            )
        for subset, metrics in _metrics_by_subset(sizes).items():
            kept_V, part = restrict_to_subset(records, subset)
            for metric, value_R in resampled_metrics(part, weights_RV[:, kept_V], metrics).items():
                values[path, Measure(subset, metric)] = 100 * value_R
        box_ap = resampled_metrics(result.read_box_matches(), weights_RV, ("AP",))["AP"]
        values[path, Measure(ALL_INSTANCES, BOX_AP)] = 100 * box_ap
    return sizes, values


def _metrics_by_subset(measures: Iterable[Measure]) -> dict[str, list[str]]:
    """The metrics of masks for each subset."""
    metrics: dict[str, list[str]] = {}
    for measure in measures:
        if measure.metric != BOX_AP:
            metrics.setdefault(measure.subset, []).append(measure.metric)
    return metrics


def _ground_truth(records: MatchRecords) -> tuple[object, ...]:
    """What equals for runs that were evaluated on the same annotations."""
    counted = [(group.positives_AV.shape, group.positives_AV.tobytes()) for group in records.categories]
    return records.video_ids, records.category_ids, records.views, counted


def _sizes(records: MatchRecords, announced: list[str]) -> dict[Measure, Size]:
    """The measures over all instances, and over each challenge that one shows, those announced first; their sizes."""
    names = [view.removeprefix(ATTRIBUTE_VIEW) for view in records.views if view.startswith(ATTRIBUTE_VIEW)]
    challenges = sorted(names, key=lambda name: (announced.index(name) if name in announced else len(announced), name))
    sizes = {}
    for measure in (*OVERALL, *(Measure(name, "AP") for name in challenges)):
        instances_V = records.pooled.positives_AV[_view(records, measure.subset)]
        if measure in OVERALL or instances_V.any():
            sizes[measure] = Size(int((instances_V > 0).sum()), int(instances_V.sum()))
    return sizes


def _view(records: MatchRecords, subset: str) -> int:
    return records.views.index(subset if subset == ALL_INSTANCES else f"{ATTRIBUTE_VIEW}{subset}")


def restrict_to_subset(records: MatchRecords, subset: str) -> tuple[np.ndarray, MatchRecords]:
    """Restrict match records to the videos that show an attribute, and to its instances in them.

    AP over the result is that of `attribute_metrics` in the evaluation. The subset `ALL_INSTANCES` keeps every video.

    Returns:
        (V,) bool, which videos are kept, and the match records with the one view "all".
    """
    view = [_view(records, subset)]
    kept_V = (records.pooled.positives_AV[view[0]] > 0) | (subset == ALL_INSTANCES)
    position_V = np.cumsum(kept_V) - 1

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
    pooled = restrict_group(records.pooled)
    return kept_V, MatchRecords(video_ids, records.category_ids, (ALL_INSTANCES,), categories, pooled)


def _sign_flip(pairs: list[tuple[Result, Result]], measure: Measure, mean: float) -> float:
    """P-value over seeds, after a check that the metrics give the mean of the match records."""
    first, second = (
        {pair[side].run.seed: value for pair in pairs if (value := pair[side].value(*measure)) is not None}
        for side in (0, 1)
    )
    compared = compare_seeds(first, second) if len(first) == len(second) == len(pairs) else None
    if compared is None or abs(compared.mean_difference - mean) > _TOLERANCE:
        files = ", ".join(str(result.directory) for pair in pairs for result in pair)
        raise InputError(
            f"{' '.join(measure)}: match records and metrics.json give different values in one of {files}. "
            "Evaluate these runs again."
        )
    return compared.p_value


def to_frame(found: list[Difference]) -> pd.DataFrame:
    """Differences as a table of text cells, one row each."""
    rows = []
    for one in found:
        ends = chain(*reversed(one.intervals)) if one.intervals else [None] * 4
        numbers = [one.mean, *ends, one.p, None if one.p is None else least_p(one.seeds)]
        cells = [decimals(number, 6) if one.seeds else NOT_RUN for number in numbers]
        announced = "yes" if one.announced else "no"
        size = map(str, one.size)
        rows.append([*one.benchmark, *one.measure, announced, *size, one.variant, str(one.seeds), *cells])
    return pd.DataFrame(rows, columns=_COLUMNS)


def read_differences(runs: StudyRuns) -> list[Difference]:
    """Read the differences that the tables were written from. Raises InputError if they are missing."""
    frame = read_csv(runs.folder / FILE, _COLUMNS, f"Run mssts tables --study {runs.study.name}.")
    found = []
    for row in frame.itertuples(index=False):
        keys, cells = row[:5], row[10:]
        mean, *ends, p, _ = (None if cell in (NOT_RUN, NO_VALUE) else float(cell) for cell in cells)
        known = [end for end in ends if end is not None]
        intervals = Intervals(Interval(*known[2:]), Interval(*known[:2])) if known else None
        benchmark, measure, size = Benchmark(*keys[:3]), Measure(*keys[3:]), Size(int(row.videos), int(row.instances))
        what = (benchmark, measure, size, row.variant, int(row.seeds))
        found.append(Difference(*what, mean, intervals, p, row.announced == "yes"))
    return found
