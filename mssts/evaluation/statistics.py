"""What a difference between two models is worth: over videos (bootstrap) and over seeds (sign-flip test), kept apart.

The bootstrap says how far the difference of *these trained runs* would move on other videos of the same kind. The
sign-flip test says whether the difference goes one way over *training seeds* on these videos. Neither says the other;
seeds that start from one pre-trained checkpoint share its luck, so the second speaks for the checkpoints at hand.

Calibration of the 95 % interval, simulated by `benchmarks/statistics_coverage.py` with 300 videos (+- is the standard
error of the simulation): it covers the true difference in AP in 94.1 +- 0.7 % of 1,000 data sets of 5 categories, and
excludes 0 in 4.8 +- 0.7 % of comparisons of two equal methods (1,000 replicates). With 40 categories these are 95.2 +-
0.6 % and 4.4 +- 0.5 % of 1,400 (199 replicates); there the differences themselves come out 2 to 3 % too small, since AP
has a bias where a category has few instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import THRESHOLD_SLICES, average_precision, mean_over_categories
from mssts.evaluation.matching import MatchRecords

RESAMPLED_METRICS = ("AP", "AP75", "AP_agnostic")
LEAST_SEEDS = 6  # 2 / 2**5 > 0.05 >= 2 / 2**6
_MAX_SEEDS = 20
_WEIGHTINGS_AT_ONCE = 256


@dataclass(frozen=True)
class VideoInterval:
    """Difference second - first in 0..1 on all videos, with a percentile interval over resampled videos.

    None where undefined. replicates: those in which the metric was defined for both.
    """

    difference: float | None
    low: float | None
    high: float | None
    replicates: int


@dataclass(frozen=True)
class SeedComparison:
    """Mean difference second - first over paired seeds, and its exact two-sided sign-flip p-value.

    least_p_value: the smallest p-value that so many seeds can give. note: what to say beside it, "" if nothing.
    """

    mean_difference: float
    p_value: float
    seeds: int
    least_p_value: float
    note: str


def _values(records: MatchRecords, weights_RV: np.ndarray, metrics: Sequence[str]) -> np.ndarray:
    """(metrics, R) of the named ones of `RESAMPLED_METRICS`."""
    view = records.views.index("all")
    if "AP" in metrics or "AP75" in metrics:
        precision_RT = mean_over_categories([average_precision(one, view, weights_RV) for one in records.categories])
    return np.stack(
        [
            average_precision(records.pooled, view, weights_RV).mean(axis=1)
            if name == "AP_agnostic"
            else precision_RT[:, THRESHOLD_SLICES[name]].mean(axis=1)
            for name in metrics
        ]
    )


def _difference(
    first: Sequence[MatchRecords], second: Sequence[MatchRecords], weights_RV: np.ndarray, metrics: Sequence[str]
) -> np.ndarray:
    means = [np.mean([_values(run, weights_RV, metrics) for run in runs], axis=0) for runs in (first, second)]
    return means[1] - means[0]


def bootstrap_over_videos(
    first: Sequence[MatchRecords],
    second: Sequence[MatchRecords],
    replicates: int,
    generator: np.random.Generator,
    confidence: float = 0.95,
    metrics: Sequence[str] = RESAMPLED_METRICS,
) -> dict[str, VideoInterval]:
    """Paired bootstrap over videos of the difference second - first; nothing is matched again.

    Args:
        first, second: match records of the runs of two models (one each, or the seeds of each, whose metrics are
            averaged); all on the same videos.
        replicates: number of resamples; every run is counted on the same drawn videos.
        generator: where the resamples are drawn from.
        confidence: mass between the two percentiles. metrics: which of `RESAMPLED_METRICS`.

    Returns:
        For each metric the difference and its percentile interval.

    Raises:
        InputError: runs on different videos, or no run.
    """
    runs = [*first, *second]
    if not first or not second:
        raise InputError(f"bootstrap: found {len(first)} and {len(second)} runs, expected at least one of each model")
    if any((run.video_ids, run.category_ids) != (runs[0].video_ids, runs[0].category_ids) for run in runs):
        raise InputError(
            "bootstrap: the runs were evaluated on different videos or categories; evaluate them on the same"
        )
    videos = len(runs[0].video_ids)
    weights = generator.multinomial(videos, np.full(videos, 1 / videos), size=replicates).astype(np.float64)
    parts = [weights[start : start + _WEIGHTINGS_AT_ONCE] for start in range(0, replicates, _WEIGHTINGS_AT_ONCE)]
    resampled = np.concatenate([_difference(first, second, part, metrics) for part in parts], axis=1)
    observed = _difference(first, second, np.ones((1, videos)), metrics)[:, 0]
    tail = 100 * (1 - confidence) / 2
    result = {}
    for name, difference, draws in zip(metrics, observed, resampled, strict=True):
        defined = draws[~np.isnan(draws)]
        if np.isnan(difference) or not defined.size:
            result[name] = VideoInterval(None, None, None, int(defined.size))
        else:
            # weibull: the (R + 1) p-th smallest of R, below which one more resample lies with probability p;
            # numpy's default would leave 5.8 % outside a 95 % interval of 250 resamples, 5.2 % outside one of 1000
            low, high = np.percentile(defined, [tail, 100 - tail], method="weibull")
            result[name] = VideoInterval(float(difference), float(low), float(high), int(defined.size))
    return result


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Exact two-sided p-value of the hypothesis that each difference is as likely to have the other sign.

    The share of all 2^n choices of signs whose sum is at least as far from 0 as the observed one; 1 at the most.
    Raises InputError for no difference, a difference that is not finite, or more than 20 differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not 1 <= values.size <= _MAX_SEEDS or not np.isfinite(values).all():
        raise InputError(f"sign-flip test: found {list(differences)}, expected 1 to {_MAX_SEEDS} finite differences")
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    rounding = 1e-12 * np.abs(values).sum()
    return float(np.mean(np.abs(sums) >= abs(values.sum()) - rounding))


def compare_seeds(first: Mapping[int, float], second: Mapping[int, float]) -> SeedComparison:
    """Paired comparison of two models over training seeds, on all videos.

    Args:
        first, second: {seed: metric}; the pairs are the seeds that both have, and both must have the same.

    Raises:
        InputError: no seed, or seeds that only one of them has.
    """
    if not first or set(first) != set(second):
        raise InputError(
            f"seeds: found {sorted(first)} and {sorted(second)}, expected the same seeds of both models; run the rest"
        )
    differences = [second[seed] - first[seed] for seed in sorted(first)]
    count = len(differences)
    least = 2.0 / 2**count
    note = ""
    if count < LEAST_SEEDS:
        note = (
            f"{count} seed{'s' if count > 1 else ''}: the smallest possible p-value is {least:.3g}; "
            f"fewer than six seeds cannot reach 5 %"
        )
    return SeedComparison(float(np.mean(differences)), sign_flip_p_value(differences), count, least, note)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p-values, in the order given; each at most 1."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted.tolist()
