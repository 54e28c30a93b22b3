"""Average precision (AP) and average recall (AR) from match records, for one or for many weightings of the videos.

Shape suffixes: R weightings, V videos, K categories, T IoU thresholds, N detections, M matched detections.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mssts.evaluation.matching import AREA_RANGES, IOU_THRESHOLDS, GroupRecords, MatchRecords

RECALL_POINTS = np.linspace(0.0, 1.0, 101)
_NEXT_POINT = np.append(RECALL_POINTS[1:], np.inf)
METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"),
)
AP_METRICS = ("AP", "AP75", "AP_agnostic")
THRESHOLD_SLICES = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}


def _instances(group: GroupRecords, view: int, weights_RV: np.ndarray) -> np.ndarray:
    """(R, 1) weighted number of instances that count; NaN where there is none."""
    total_R1 = weights_RV @ group.positives_AV[view].astype(np.float64)[:, None]
    return np.where(total_R1 > 0, total_R1, np.nan)


def average_precision(group: GroupRecords, view: int, weights_RV: np.ndarray) -> np.ndarray:
    """Compute AP at each IoU threshold: the mean of the interpolated precision over 101 recall points.

    A video with weight 2 counts like two copies of it that follow each other in the order of the detections.
    Precision is only needed at true positives: the interpolated precision at a recall point is that of the first true
    positive that reaches it. Source: [code] COCO accumulation.

    Args:
        group: Records of one category, or of all categories pooled.
        view: Index into `MatchRecords.views`.
        weights_RV: (R, V) float64, how often each video counts: 1 for once, whole numbers >= 0 for a resample.

    Returns:
        (R, T) float64 in 0..1, NaN where no instance counts.
    """
    total_R1 = _instances(group, view, weights_RV)
    result_RT = np.where(np.isnan(total_R1), np.nan, np.zeros(len(IOU_THRESHOLDS)))
    if not group.positives_AV[view].any():
        return result_RT
    total_R = np.where(np.isnan(total_R1), 1.0, total_R1)[:, 0]
    weights_NR = np.ascontiguousarray(weights_RV.T)[group.video_N]
    # thresholds that ignore the same detections share the running number of detections
    seen_of: dict[bytes, np.ndarray] = {}
    for t in range(len(IOU_THRESHOLDS)):
        kept_N = ~group.ignored_ATN[view, t]
        matched_M = np.flatnonzero(group.matched_ATN[view, t])
        if not matched_M.size:
            continue
        key = np.packbits(kept_N).tobytes()
        if key not in seen_of:
            seen_of[key] = np.cumsum(weights_NR * kept_N[:, None], axis=0)
        true_MR = np.cumsum(weights_NR[matched_M], axis=0)
        points_MR, precision_MR = _interpolate(true_MR, seen_of[key][matched_M], total_R)
        result_RT[:, t] += np.einsum("mr,mr->r", points_MR, precision_MR) / len(RECALL_POINTS)
    return result_RT


def average_precision_of_ranking(right_N: np.ndarray, instances: int) -> float:
    """Compute AP at one IoU threshold from a ranking of detections.

    Args:
        right_N: (N,) bool, whether each detection is a true positive, by falling score.
        instances: Number of instances, at least 1.
    """
    right_M = np.flatnonzero(right_N)
    points_M, precision_M = _interpolate(np.arange(1.0, right_M.size + 1), right_M + 1, instances)
    return float(points_M @ precision_M) / len(RECALL_POINTS)


def _interpolate(true: np.ndarray, seen: np.ndarray, instances: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Number of recall points that each true positive is the first to reach, and the interpolated precision there.

    Args:
        true: (M, ...) number of true positives up to and including each true positive.
        seen: (M, ...) number of detections up to and including it.
        instances: Number of instances.
    """
    precision = true / (seen + np.spacing(1.0))
    points = _recall_points_reached(true / instances)
    points[1:] -= points[:-1]
    return points, np.maximum.accumulate(precision[::-1], axis=0)[::-1]


def _recall_points_reached(recall: np.ndarray) -> np.ndarray:
    """Number of `RECALL_POINTS` at or below each recall in 0..1."""
    near = (recall * (len(RECALL_POINTS) - 1)).astype(np.intp)  # right, or off by one for the rounding of the points
    near -= RECALL_POINTS[near] > recall
    return near + 1 + (_NEXT_POINT[near] <= recall)


def average_recall(group: GroupRecords, view: int, weights_RV: np.ndarray, detections_per_video: int) -> np.ndarray:
    """Compute AR: the share of instances that the best detections of each video find, averaged over IoU thresholds.

    Args:
        group, view, weights_RV: As for `average_precision`.
        detections_per_video: Number of detections of each video and group that are kept.

    Returns:
        (R,) float64 in 0..1, NaN where no instance counts. Source: [code] COCO accumulation.
    """
    total_R1 = _instances(group, view, weights_RV)
    found_N = group.matched_ATN[view].sum(axis=0) * (group.rank_N < detections_per_video)
    found_V = np.bincount(group.video_N, weights=found_N, minlength=weights_RV.shape[1])
    return (weights_RV @ found_V) / (total_R1[:, 0] * len(IOU_THRESHOLDS))  # whole numbers: exact in any order


def mean_over_categories(values: ArrayLike) -> np.ndarray:
    """Average (K, ...) values over the categories in which an instance counts (not NaN); NaN if there is none."""
    values_K = np.asarray(values)
    count = (~np.isnan(values_K)).sum(axis=0)
    return np.divide(np.nansum(values_K, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def none_if_nan(value: float) -> float | None:
    """The value, or None where it is undefined."""
    return None if np.isnan(value) else float(value)


def ap_metrics(
    records: MatchRecords, view: int, weights_RV: np.ndarray, names: Sequence[str] = AP_METRICS
) -> dict[str, np.ndarray]:
    """Compute AP metrics for each weighting of the videos.

    Args:
        records: Match records of a run.
        view, weights_RV: As for `average_precision`.
        names: Of AP, AP50 and AP75 (averaged over categories), AP_agnostic, AP50_agnostic and AP75_agnostic (pooled).

    Returns:
        {name: (R,) float64 in 0..1, NaN where no instance counts}.
    """
    precision_RT: dict[str, np.ndarray] = {}
    values = {}
    for name in names:
        kind, _, agnostic = name.partition("_")
        if agnostic not in precision_RT:
            groups = [records.pooled] if agnostic else records.categories
            precision_RT[agnostic] = mean_over_categories([average_precision(g, view, weights_RV) for g in groups])
        values[name] = precision_RT[agnostic][:, THRESHOLD_SLICES[kind]].mean(axis=1)
    return values


def coco_values(records: MatchRecords, group: GroupRecords) -> dict[str, np.ndarray]:
    """The values of one group that the COCO metrics average: AP at each of their thresholds, (n,), or AR, (1,)."""
    weights = np.ones((1, len(records.video_ids)))
    views = {area: records.views.index(area) for area in AREA_RANGES}
    precision_T = {area: average_precision(group, view, weights)[0] for area, view in views.items()}
    values = {}
    for name in METRICS:
        kind, _, area = name.partition("_")
        if kind in THRESHOLD_SLICES:
            values[name] = precision_T[area or "all"][THRESHOLD_SLICES[kind]]
        else:
            values[name] = average_recall(group, views[area or "all"], weights, int(kind[2:] or 100))
    return values


def mean_coco_metrics(values: Sequence[dict[str, np.ndarray]]) -> dict[str, float | None]:
    """Average `coco_values` over groups; None where no instance counts (the reference evaluator prints -1)."""
    return {name: none_if_nan(mean_over_categories([group[name] for group in values]).mean()) for name in METRICS}


def coco_metrics(records: MatchRecords, groups: Sequence[GroupRecords]) -> dict[str, float | None]:
    """Compute the twelve COCO metrics of the reference evaluator, averaged over groups.

    Args:
        records: Match records of a run.
        groups: `records.categories`, or `[records.pooled]` for the class-agnostic metrics.

    Returns:
        {name of `METRICS`: value in 0..1, or None where no instance counts}.
    """
    return mean_coco_metrics([coco_values(records, group) for group in groups])
