"""Effects and differences with their intervals and p, computed once more as docs/statistics.md defines them."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from tests.report.traced.evaluation import Evaluation
from tests.report.traced.study import SEEDS

FEWEST_VIDEOS = 20
Ends = tuple[float, float]
ANNOUNCED = ("occlusion", "fog")
CONTRASTS: dict[str, dict[str, dict[str, float]]] = {
    "effect": {
        "MS-STS": {"ms_sts": 0.5, "baseline": -0.5, "ms_sts_temporal": 0.5, "temporal": -0.5},
        "temporal": {"temporal": 0.5, "baseline": -0.5, "ms_sts_temporal": 0.5, "ms_sts": -0.5},
        "MS-STS x temporal": {"ms_sts_temporal": 1, "temporal": -1, "ms_sts": -1, "baseline": 1},
    },
    "difference": {
        "MS-STS": {"ms_sts": 1, "baseline": -1},
        "temporal": {"temporal": 1, "baseline": -1},
        "MS-STS + temporal": {"ms_sts_temporal": 1, "baseline": -1},
    },
}
OVERALL: dict[str, dict[str, Any]] = {
    "AP": {},
    "AP75": {"thresholds": [5]},
    "class-agnostic AP": {"pooled": True},
    "box AP": {"boxes": True},
}


class Estimate(NamedTuple):
    """A contrast: its values of the seeds and their mean; intervals and p, None where there are too few videos."""

    by_seed: list[float]
    mean: float
    simultaneous: Ends | None
    pointwise: Ends | None
    p: float | None

    @property
    def verdict(self) -> str:
        """Side of zero on which the simultaneous interval lies."""
        low, high = self.simultaneous or (0, 0)
        return "above" if low > 0 else "below" if high < 0 else "undecided"


class Family(NamedTuple):
    """Size and estimates of each measure of one split; measures: title, such as "AP on fog"."""

    sizes: dict[str, tuple[int, int]]
    estimates: dict[tuple[str, str], Estimate]


def families(evaluations: dict[tuple[str, int], Evaluation], replicates: int, seed: int) -> dict[str, Family]:
    """Effects and differences of one split; evaluations: of each variant and seed."""
    first = next(iter(evaluations.values()))
    names = sorted(
        first.instances[0]["attributes"], key=lambda name: (ANNOUNCED.index(name) if name in ANNOUNCED else 2, name)
    )
    challenges = {f"AP on {name.replace('_', ' ')}": {"challenge": name} for name in names if first.size(name)[1]}
    measures = OVERALL | challenges
    sizes = {measure: first.size(how.get("challenge")) for measure, how in measures.items()}
    count = len(first.videos)
    drawn_RV = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates)
    values = {
        (measure, *run): np.array(
            [
                evaluation.ap(weights_V=weights_V, **how)
                for weights_V in (None, *(drawn_RV if sizes[measure][0] >= FEWEST_VIDEOS else ()))
            ]
        )
        for (measure, how), (run, evaluation) in product(measures.items(), evaluations.items())
    }
    return {kind: _family(contrasts, sizes, values) for kind, contrasts in CONTRASTS.items()}


def _family(
    contrasts: dict[str, dict[str, float]],
    sizes: dict[str, tuple[int, int]],
    values: dict[tuple[str, str, int], np.ndarray],
) -> Family:
    by_seed_SR = {
        (measure, title): np.array(
            [sum(weight * values[measure, name, seed] for name, weight in weights.items()) for seed in SEEDS]
        )
        for measure, (title, weights) in product(sizes, contrasts.items())
    }
    judged = {key: one_SR.mean(axis=0) for key, one_SR in by_seed_SR.items() if one_SR.shape[1] > 1}
    found = intervals(judged, {key: sizes[key[0]][0] for key in judged})
    estimates = {}
    for key, one_SR in by_seed_SR.items():
        observed_S = one_SR[:, 0]
        p = _sign_flip(observed_S) if key in found else None
        estimates[key] = Estimate(observed_S.tolist(), float(observed_S.mean()), *found.get(key, (None, None)), p)
    return Family(sizes, estimates)


def intervals(family: dict[Any, np.ndarray], videos: dict[Any, int]) -> dict[Any, tuple[Ends, Ends]]:
    """The simultaneous and the pointwise interval of each value of a family: what was observed, then each replicate."""
    observed_F, drawn_FR = np.array([one_R[0] for one_R in family.values()]), [one_R[1:] for one_R in family.values()]
    drawn_FR = np.array(drawn_FR)[:, ~np.isnan(drawn_FR).any(axis=0)]
    deviation_F = drawn_FR.std(axis=1, ddof=1)
    distance_FR = np.abs(drawn_FR - observed_F[:, None]) / deviation_F[:, None]
    return {
        key: tuple(
            _around(observed_F[f], _quantile(distances_R), deviation_F[f], videos[key])
            for distances_R in (distance_FR.max(axis=0), distance_FR[f])
        )
        for f, key in enumerate(family)
    }


def _quantile(values_R: np.ndarray) -> float:
    """The value that 5 % exceed: the (R + 1) 0.95-th smallest of R."""
    return float(np.quantile(values_R, 0.95, method="weibull"))


def _around(middle: float, deviations: float, deviation: float, videos: int) -> Ends:
    """An interval of so many deviations, widened from the normal to Student's t, and to a deviation with n - 1."""
    reach = stats.t.isf(stats.norm.sf(deviations), videos - 1) * np.sqrt(videos / (videos - 1)) * deviation
    return float(middle - reach), float(middle + reach)


def _sign_flip(observed_S: np.ndarray) -> float:
    sums = np.array([np.dot(signs, observed_S) for signs in product((1, -1), repeat=len(observed_S))])
    return float(np.mean(np.abs(sums) >= abs(observed_S.sum()) - 1e-9))
