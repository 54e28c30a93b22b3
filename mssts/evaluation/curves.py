"""What AP hides: precision over recall, calibration of the scores, and categories that are taken for each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from mssts.evaluation.average_precision import RECALL_POINTS, THRESHOLD_SLICES, mean_over_categories
from mssts.evaluation.matching import IOU_THRESHOLDS, GroupRecords, MatchRecords

SCORE_BINS = np.linspace(0.0, 1.0, 11)
_DECIMALS = 6


def precision_recall(records: MatchRecords) -> dict[str, list[float | None]]:
    """Interpolated precision at each of `RECALL_POINTS`, averaged over the categories with an instance.

    Returns:
        {"AP", "AP50", "AP75": 101 values in 0..1, whose mean is that metric; None where no instance counts}.
    """
    view = records.views.index("all")
    curves_KTP = [[_interpolated(group, view, t) for t in range(len(IOU_THRESHOLDS))] for group in records.categories]
    mean_TP = mean_over_categories(curves_KTP)
    return {name: _rounded(mean_TP[chosen].mean(axis=0)) for name, chosen in THRESHOLD_SLICES.items()}


def _interpolated(group: GroupRecords, view: int, t: int) -> np.ndarray:
    """(P,) precision of one group at one IoU threshold; NaN without an instance."""
    instances = group.positives_AV[view].sum()
    if not instances:
        return np.full(RECALL_POINTS.size, np.nan)
    right_N = group.matched_ATN[view, t][~group.ignored_ATN[view, t]]
    ranks_M = np.flatnonzero(right_N)
    found_M = np.arange(1, ranks_M.size + 1)
    precision_M = np.maximum.accumulate((found_M / (ranks_M + 1))[::-1])[::-1]
    first_P = np.searchsorted(found_M / instances, RECALL_POINTS)
    return np.append(precision_M, 0.0)[first_P]


def calibration(records: MatchRecords) -> list[dict[str, float | int | None]]:
    """Compare scores with how often they are right: a detection matched at an IoU of 0.5 in its category.

    Returns:
        For each tenth of the scores: "low" and "high", "detections" (that are not ignored), and their mean "score" and
        the share "right", None without a detection. Empty if a score is outside of 0..1: such scores are no
        probabilities.
    """
    view, groups = records.views.index("all"), records.categories
    kept_GN = [~group.ignored_ATN[view, 0] for group in groups]
    score_N = np.concatenate([group.score_N[kept_N] for group, kept_N in zip(groups, kept_GN, strict=True)])
    right_N = np.concatenate(
        [group.matched_ATN[view, 0][kept_N] for group, kept_N in zip(groups, kept_GN, strict=True)]
    )
    if not ((score_N >= 0) & (score_N <= 1)).all():
        return []
    bin_N = np.clip(np.digitize(score_N, SCORE_BINS) - 1, 0, SCORE_BINS.size - 2)
    bins: list[dict[str, float | int | None]] = []
    for b, (low, high) in enumerate(zip(SCORE_BINS[:-1].tolist(), SCORE_BINS[1:].tolist(), strict=True)):
        own_N = bin_N == b
        count = int(own_N.sum())
        score, right = (_rounded([values[own_N].mean()])[0] if count else None for values in (score_N, right_N))
        edges = {"low": round(low, 1), "high": round(high, 1)}
        bins.append({**edges, "detections": count, "score": score, "right": right})
    return bins


def calibration_error(bins: Sequence[Mapping[str, float | int | None]]) -> float | None:
    """Expected calibration error: mean distance of score and share of right detections, weighted by detections.

    Args:
        bins: What `calibration` returned; several runs may be joined.

    Returns:
        In 0..1; None without a detection.
    """
    total = sum(one["detections"] or 0 for one in bins)
    gaps = [(one["detections"] or 0) * abs((one["score"] or 0) - (one["right"] or 0)) for one in bins]
    return sum(gaps) / total if total else None


def confusion(
    records: MatchRecords, category_of: Mapping[int, int], names: Mapping[int, str]
) -> list[list[str | int | None]]:
    """Count, for the instances of each category, the category of the detection that finds them.

    That is the detection of highest score with an IoU of at least 0.5, whatever its category.

    Args:
        records: Match records of a run.
        category_of: {annotation id: category id} of the instances, without crowds.
        names: {category id: name}.

    Returns:
        [category of the instances, that of the detections or None for missed, count] of those that occur.
    """
    predicted = {
        prediction: category
        for category, group in zip(records.category_ids, records.categories, strict=True)
        for prediction in group.prediction_N.tolist()
    }
    pooled = records.pooled
    matched = dict(zip(pooled.annotation_TN[0].tolist(), pooled.prediction_N.tolist(), strict=True))
    found = {annotation: predicted[prediction] for annotation, prediction in matched.items() if annotation}
    counts = Counter((category, found.get(annotation)) for annotation, category in category_of.items())
    order = sorted(counts, key=lambda pair: (pair[0], pair[1] is None, pair[1]))
    return [[names[true], None if other is None else names[other], counts[true, other]] for true, other in order]


def _rounded(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), _DECIMALS) for value in values]
