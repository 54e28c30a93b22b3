"""Estimated contrasts of variants, over all instances and over those with a challenge attribute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import compress, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mssts.core.csv_files import decimals
from mssts.core.errors import InputError
from mssts.evaluation.average_precision import AP_METRICS
from mssts.evaluation.matching import ATTRIBUTE_VIEW, GroupRecords, MatchRecords
from mssts.evaluation.statistics import (
    MIN_VIDEOS,
    Intervals,
    bootstrap_intervals,
    resampled_metrics,
    resamples_of_videos,
    sign_flip_p_value,
)
from mssts.study.contrasts import Contrast, contrasts
from mssts.study.runs import ALL_INSTANCES, BOX_AP, Benchmark, Result, StudyRuns

_TOLERANCE = 1e-4  # percentage points between a metrics.json and its match records


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
    """An estimated contrast of variants, in percentage points: an effect, or the difference of one to the baseline.

    Attributes:
        benchmark: Where its variants were measured.
        measure: What was measured.
        size: On how much.
        contrast: The contrast.
        seeds: Training seeds that all its variants have; 0 if one has not been run.
        mean: Mean over the seeds; None if not run, and where no instance counts.
        intervals: 95 % bootstrap intervals over videos; None if not run, and where there are too few videos.
        p: Two-sided exact sign-flip test over seeds, not corrected; None for one seed, and without intervals.
        by_seed: The value of each of these seeds; empty where `mean` is None.
        announced: Whether the measure was announced before the runs: over all instances, or a challenge of
            `Study.announced`.
    """

    benchmark: Benchmark
    measure: Measure
    size: Size
    contrast: Contrast
    seeds: int
    mean: float | None = None
    intervals: Intervals | None = None
    p: float | None = None
    by_seed: tuple[float, ...] = ()
    announced: bool = True

    @property
    def excludes_zero(self) -> bool:
        """Whether the simultaneous interval, the one that decides, excludes zero."""
        return self.intervals is not None and self.intervals.simultaneous.excludes_zero


class _Paired(NamedTuple):
    """A contrast, and the results of its variants for each seed that all of them have."""

    contrast: Contrast
    seeds: list[dict[str, Result]]


def differences(runs: StudyRuns) -> list[Difference]:
    """Effects of the study's factorial design, and differences of every variant but the baseline.

    The measures are AP, AP75, class-agnostic AP and box AP, and AP on each challenge that an instance of the benchmark
    shows, those announced first. The simultaneous intervals have two families for each benchmark: all effects and
    measures, and all single differences and measures. All are evaluated on the same resamples of videos.

    Returns:
        Grouped by benchmark, then by kind of contrast, effects first, then by measure; empty without the baseline.

    Raises:
        InputError: Match records that do not give their metrics, or of runs evaluated on different instances.
    """
    return [one for benchmark in runs.benchmarks() for one in _of_benchmark(runs, benchmark)]


def _of_benchmark(runs: StudyRuns, benchmark: Benchmark) -> Iterator[Difference]:
    evaluated = {
        variant: {one.run.seed: one for one in runs.select(*benchmark, variant) if one.metrics is not None}
        for variant in runs.study.variants
    }
    paired = []
    for contrast in contrasts(runs.study):
        seeds = [seed for seed in runs.study.spec.seeds if all(seed in evaluated[name] for name in contrast.weights)]
        paired.append(_Paired(contrast, [{name: evaluated[name][seed] for name in contrast.weights} for seed in seeds]))
    results = {one.directory: one for pair in paired for cells in pair.seeds for one in cells.values()}
    sizes, values = _resampled(runs, results)
    for _, family in groupby(paired, lambda pair: pair.contrast.kind):
        yield from _of_family(runs, benchmark, list(family), sizes, values)


def _of_family(
    runs: StudyRuns,
    benchmark: Benchmark,
    paired: list[_Paired],
    sizes: dict[Measure, Size],
    values: dict[tuple[Path, Measure], np.ndarray],
) -> Iterator[Difference]:
    """Estimates of contrasts whose intervals hold at once."""
    resampled_SR = {
        (measure, contrast.name): np.array(
            [contrast.of({name: values[one.directory, measure] for name, one in cells.items()}) for cells in seeds]
        )
        for measure, size in sizes.items()
        for contrast, seeds in paired
        if seeds and size.instances
    }
    family = [key for key in resampled_SR if sizes[key[0]].is_enough]
    intervals: dict[tuple[Measure, str], Intervals] = {}
    if family:
        means_FR = np.array([resampled_SR[key].mean(axis=0) for key in family])
        found = bootstrap_intervals(means_FR, [sizes[measure].videos for measure, _ in family])
        intervals = dict(zip(family, found, strict=True))
    for measure, size in sizes.items():
        announced = measure.subset in (ALL_INSTANCES, *runs.study.spec.announced)
        for contrast, seeds in paired:
            key = measure, contrast.name
            one = Difference(benchmark, measure, size, contrast, len(seeds), announced=announced)
            if key in resampled_SR:
                observed_S = resampled_SR[key][:, 0]
                p = sign_flip_p_value(observed_S.tolist()) if key in intervals and len(seeds) > 1 else None
                values_S = tuple(observed_S.tolist())
                one = replace(one, mean=float(observed_S.mean()), intervals=intervals.get(key), p=p, by_seed=values_S)
            yield one


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
        for measure in (measure for measure, size in sizes.items() if size.instances):
            _check_metric(result, measure, float(values[path, measure][0]))
    return sizes, values


def _check_metric(result: Result, measure: Measure, value: float) -> None:
    """Check that metrics.json has the value of the match records."""
    recorded = result.value(*measure)
    if recorded is None or not abs(recorded - value) <= _TOLERANCE:
        raise InputError(
            f"{result.directory}: {' '.join(measure)}: match records and metrics.json give different values, "
            f"{decimals(value)} and {decimals(recorded)}. Evaluate this run again."
        )


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
