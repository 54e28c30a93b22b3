"""Statistics of the difference between two models: over videos (bootstrap) and over seeds (sign-flip test).

The two answer different questions. The bootstrap estimates how much the difference of *these trained runs* would vary
on other videos of the same kind; its simultaneous intervals decide. The sign-flip test asks whether the difference has
the same sign over *training seeds* on these videos. Seeds that start from one pre-trained checkpoint share its random
variation, and the p-value is not corrected for the number of comparisons: it describes the checkpoints at hand.

Calibration, simulated by `benchmarks/statistics_coverage.py` with 399 resamples (+- is the standard error of the
simulation). Share of data sets in which the 95 % interval holds the true difference in AP, and the difference 0 of two
equal methods, in %:

    videos                                    10           20           30           50
    5 categories, 1 to 4 objects      96.2, 94.6   95.4, 95.9   93.6, 95.3   93.7, 93.7   +- 0.7
    5 categories, 1 object            96.5, 95.4   94.3, 95.6   95.8, 94.6                +- 0.7
    40 categories, 1 to 4 objects                  92.5, 92.8   95.7, 91.7   91.3, 93.8   +- 1.4

Share of data sets without any effect in which one or more simultaneous intervals exclude 0 (four variants; AP, AP75,
class-agnostic AP, and AP on those of six challenges that reach the floor): 4.2, 2.8 and 4.0 +- 1 % with 20, 40 and 120
videos, that is with families of 12, 26 and 36. Pointwise intervals do so in 28, 54 and 66 %. Without the widening for
few videos the intervals cover in 88, 92 and 93 % with 5, 10 and 15 videos, and the family of 12 has 8.4 % of false
alarms at 30 videos.

`MIN_VIDEOS` is the floor below which there is no interval: the intervals hold there, and 40 categories, which leave one
or two instances to a category, cost 2 %. Measures of 10 videos would do no harm alone, but widen a whole family: with
them it excluded 0 in 0.6 % of the data sets of 20 videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import AP_METRICS, ap_metrics
from mssts.evaluation.matching import MatchRecords

MIN_VIDEOS = 20
MIN_SEEDS = 6  # the fewest with which the sign-flip test can reach 5 %: 2 / 2**5 > 0.05 >= 2 / 2**6
_MAX_SEEDS = 20  # 2**20 sign patterns are enumerated
_REPLICATES_AT_ONCE = 256
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """An interval of a difference, in the unit of the difference."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


class Intervals(NamedTuple):
    """The two 95 % intervals of one difference.

    Attributes:
        pointwise: For this difference alone.
        simultaneous: All intervals of the family hold at once; contains the pointwise one.
    """

    pointwise: Interval
    simultaneous: Interval


def resamples_of_videos(videos: int, replicates: int, generator: np.random.Generator) -> np.ndarray:
    """Draw with replacement how often each video counts.

    Returns:
        (1 + replicates, videos) float64. The first row counts every video once, the others are resamples.
    """
    drawn = generator.multinomial(videos, np.full(videos, 1 / videos), size=replicates)
    return np.concatenate([np.ones((1, videos)), drawn])


def resampled_metrics(
    records: MatchRecords, weights_RV: np.ndarray, metrics: Sequence[str] = AP_METRICS
) -> dict[str, np.ndarray]:
    """Compute metrics of the view "all" for many weightings of the videos, without matching again.

    Args:
        records: Match records of a run.
        weights_RV: As from `resamples_of_videos`.
        metrics: Names as for `ap_metrics`.

    Returns:
        {metric: (R,) float64 in 0..1, NaN where no instance counts}.
    """
    view = records.views.index("all")
    starts = range(0, len(weights_RV), _REPLICATES_AT_ONCE)
    chunks = [ap_metrics(records, view, weights_RV[start : start + _REPLICATES_AT_ONCE], metrics) for start in starts]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in metrics}


def bootstrap_intervals(resampled_FR: np.ndarray, videos_F: Sequence[int], confidence: float = 0.95) -> list[Intervals]:
    """Compute the intervals of a family of differences from the same resamples (max-t bootstrap).

    Every interval reaches equally far to both sides: a number of standard deviations of the difference over the
    resamples. For the pointwise interval this number is the `confidence` quantile of the distance between the resampled
    difference and the observed one, for the simultaneous interval that of the largest distance in the family. Both are
    widened as those of a mean over so few videos: from the normal to Student's t distribution, and from the deviation
    with n to that with n - 1.

    Args:
        resampled_FR: (F, 1 + R) differences of F comparisons: on all videos, then on each resample. A resample in which
            one of them is NaN (undefined) does not count.
        videos_F: Number of videos with an instance that counts, at least 2 for each comparison.
        confidence: Probability mass of the intervals.

    Returns:
        For each comparison its intervals. A difference that is the same in every resample gets an interval of width 0.
    """
    observed_F, drawn_FR = resampled_FR[:, 0], resampled_FR[:, 1:]
    drawn_FR = drawn_FR[:, ~np.isnan(drawn_FR).any(axis=0)]
    deviation_F = drawn_FR.std(axis=1, ddof=1)
    deviation_F[deviation_F <= _ROUNDING * np.abs(observed_F)] = 0.0
    distance_FR = np.abs(drawn_FR - observed_F[:, None]) / np.where(deviation_F > 0, deviation_F, np.inf)[:, None]

    def intervals(distances: np.ndarray) -> list[Interval]:
        # weibull: the (R + 1) p-th smallest of R, below which one more resample lies with probability p;
        # numpy's default would leave 5.8 % outside a 95 % interval of 250 resamples, 5.2 % outside one of 1000
        reach = np.quantile(distances, confidence, axis=-1, method="weibull")
        videos = np.asarray(videos_F, dtype=np.float64)
        reach_F = -stdtrit(videos - 1, ndtr(-reach)) * np.sqrt(videos / (videos - 1)) * deviation_F
        return list(map(Interval, (observed_F - reach_F).tolist(), (observed_F + reach_F).tolist()))

    return list(map(Intervals, intervals(distance_FR), intervals(distance_FR.max(axis=0))))


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


def least_p(seeds: int) -> float:
    """The smallest p-value that the sign-flip test can give over that many seeds."""
    return min(1.0, 2 / 2**seeds)
