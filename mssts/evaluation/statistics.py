"""Statistics of the difference between two models: over videos (bootstrap) and over seeds (sign-flip test).

The two answer different questions. The bootstrap estimates how much the difference of *these trained runs* would vary
on other videos of the same kind. The sign-flip test asks whether the difference has the same sign over *training seeds*
on these videos. Seeds that start from one pre-trained checkpoint share its random variation, so the test holds for the
checkpoints at hand.

Calibration of the 95 % interval, simulated by `benchmarks/statistics_coverage.py` with 300 videos (+- is the standard
error of the simulation): it covers the true difference in AP in 94.1 +- 0.7 % of 1,000 data sets of 5 categories, and
excludes 0 in 4.8 +- 0.7 % of comparisons of two equal methods (1,000 replicates). With 40 categories these are 95.2 +-
0.6 % and 4.4 +- 0.5 % of 1,400 (199 replicates); the differences themselves are then 2 to 3 % too small, because AP is
biased where a category has few instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import AP_METRICS, ap_metrics
from mssts.evaluation.matching import MatchRecords

MIN_SEEDS = 6  # the fewest with which the sign-flip test can reach 5 %: 2 / 2**5 > 0.05 >= 2 / 2**6
_MAX_SEEDS = 20  # 2**20 sign patterns are enumerated
_REPLICATES_AT_ONCE = 256


@dataclass(frozen=True)
class BootstrapInterval:
    """Difference second - first of a metric on all videos, with a percentile interval over resampled videos.

    Attributes:
        difference, low, high: In units of the metric (0..1); None where undefined.
        replicates: Number of resamples in which the metric is defined for both models.
    """

    difference: float | None
    low: float | None
    high: float | None
    replicates: int


@dataclass(frozen=True)
class SeedComparison:
    """Paired comparison of two models over training seeds.

    Attributes:
        mean_difference: Mean of second - first over the seeds.
        p_value: Two-sided p-value of the exact sign-flip test.
    """

    mean_difference: float
    p_value: float


def bootstrap_over_videos(
    first: Sequence[MatchRecords],
    second: Sequence[MatchRecords],
    replicates: int,
    generator: np.random.Generator,
    confidence: float = 0.95,
    metrics: Sequence[str] = AP_METRICS,
) -> dict[str, BootstrapInterval]:
    """Paired bootstrap over videos of the difference second - first, without matching again.

    Args:
        first, second: Match records of the runs of two models on the same videos: one run each, or one run per seed,
            whose metrics are averaged.
        replicates: Number of resamples. Every run is evaluated on the same resampled videos.
        generator: Random generator that draws the resamples.
        confidence: Probability mass of the interval.
        metrics: Names as for `ap_metrics`.

    Returns:
        For each metric the difference and its percentile interval.

    Raises:
        InputError: If a model has no run, or the runs were evaluated on different videos or categories.
    """
    runs = [*first, *second]
    if not first or not second:
        raise InputError(f"bootstrap: found {len(first)} and {len(second)} runs, expected at least one of each model")
    if any((run.video_ids, run.category_ids) != (runs[0].video_ids, runs[0].category_ids) for run in runs):
        raise InputError(
            "bootstrap: the runs were evaluated on different videos or categories; evaluate them on the same"
        )
    videos = len(runs[0].video_ids)
    weights_RV = generator.multinomial(videos, np.full(videos, 1 / videos), size=replicates).astype(np.float64)
    chunks = [weights_RV[start : start + _REPLICATES_AT_ONCE] for start in range(0, replicates, _REPLICATES_AT_ONCE)]
    resampled = np.concatenate([_differences(first, second, chunk, metrics) for chunk in chunks], axis=1)
    observed = _differences(first, second, np.ones((1, videos)), metrics)[:, 0]
    tail = 100 * (1 - confidence) / 2
    result = {}
    for name, difference, draws in zip(metrics, observed, resampled, strict=True):
        defined = draws[~np.isnan(draws)]
        if np.isnan(difference) or not defined.size:
            result[name] = BootstrapInterval(None, None, None, int(defined.size))
        else:
            # weibull: the (R + 1) p-th smallest of R, below which one more resample lies with probability p;
            # numpy's default would leave 5.8 % outside a 95 % interval of 250 resamples, 5.2 % outside one of 1000
            low, high = np.percentile(defined, [tail, 100 - tail], method="weibull")
            result[name] = BootstrapInterval(float(difference), float(low), float(high), int(defined.size))
    return result


def _differences(
    first: Sequence[MatchRecords], second: Sequence[MatchRecords], weights_RV: np.ndarray, metrics: Sequence[str]
) -> np.ndarray:
    """(metrics, R) differences second - first of the means over runs."""
    means = []
    for runs in (first, second):
        values = [ap_metrics(run, run.views.index("all"), weights_RV, metrics) for run in runs]
        means.append(np.mean([list(of_run.values()) for of_run in values], axis=0))
    return means[1] - means[0]


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Compute the exact two-sided p-value of the hypothesis that each difference has either sign equally likely.

    It is the share of all 2^n choices of signs whose sum is at least as far from 0 as the observed sum.

    Raises:
        InputError: If there are no differences or more than 20, or one is not finite.
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
    """Compare two models over training seeds, paired by seed.

    Args:
        first, second: {seed: metric on all videos}, with the same seeds.

    Raises:
        InputError: If there is no seed, or a seed that only one of them has.
    """
    if not first or set(first) != set(second):
        raise InputError(
            f"seeds: found {sorted(first)} and {sorted(second)}, expected the same seeds of both models; run the rest"
        )
    differences = [second[seed] - first[seed] for seed in sorted(first)]
    return SeedComparison(float(np.mean(differences)), sign_flip_p_value(differences))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust a family of p-values with Holm's step-down method; returns them in the same order, each at most 1."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted.tolist()
