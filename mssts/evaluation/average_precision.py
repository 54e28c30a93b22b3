"""Average precision and average recall from match records, for one or for many weightings of the videos.

Legend of shape suffixes: R weightings (replicates), V videos, T IoU thresholds, N detections, M matched detections.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mssts.evaluation.matching import IOU_THRESHOLDS, GroupRecords, MatchRecords

RECALL_POINTS = np.linspace(0.0, 1.0, 101)
_NEXT_POINT = np.append(RECALL_POINTS[1:], np.inf)
METRICS = (
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"),
)
THRESHOLDS_OF = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}


def _instances(group: GroupRecords, view: int, weights_RV: np.ndarray) -> np.ndarray:
    """(R, 1) weighted number of instances that count; NaN where there is none."""
    total_R1 = weights_RV @ group.positives_AV[view].astype(np.float64)[:, None]
    return np.where(total_R1 > 0, total_R1, np.nan)


def average_precision(group: GroupRecords, view: int, weights_RV: np.ndarray) -> np.ndarray:
    """Mean over 101 recall points of the interpolated precision, for each IoU threshold.

    Args:
        group: records of a category or of all pooled. view: position of the view in `MatchRecords.views`.
        weights_RV: (R, V) float64, how often each video counts (1: once; whole numbers from 0 on for a resample).

    Returns:
        (R, T) float64 in 0..1, NaN where no instance counts. Copies of a video stand beside each other in the order of
        detections. Source: [code] COCO accumulation. Precision only matters at true positives: the interpolated
        precision at a recall point is that of the first true positive that reaches it.
    """
    total_R1 = _instances(group, view, weights_RV)
    result_RT = np.where(np.isnan(total_R1), np.nan, np.zeros(len(IOU_THRESHOLDS)))
    if not group.positives_AV[view].any():
        return result_RT
    total_R = np.where(np.isnan(total_R1), 1.0, total_R1)[:, 0]
    weights_NR = np.ascontiguousarray(weights_RV.T)[group.video_N]
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
        precision_MR = true_MR / (seen_of[key][matched_M] + np.spacing(1.0))
        envelope_MR = np.maximum.accumulate(precision_MR[::-1], axis=0)[::-1]
        points_MR = _points_reached(true_MR / total_R)
        points_MR[1:] -= points_MR[:-1]
        result_RT[:, t] += np.einsum("mr,mr->r", points_MR, envelope_MR) / len(RECALL_POINTS)
    return result_RT


def average_precision_of(right_N: np.ndarray, instances: int) -> float:
    """AP at one threshold of detections by falling score, (N,) bool whether right; instances: at least 1."""
    right_M = np.flatnonzero(right_N)
    found_M = np.arange(1.0, right_M.size + 1)
    precision_M = found_M / (right_M + 1 + np.spacing(1.0))
    envelope_M = np.maximum.accumulate(precision_M[::-1])[::-1]
    points_M = _points_reached(found_M / instances)
    points_M[1:] -= points_M[:-1]
    return float(points_M @ envelope_M) / len(RECALL_POINTS)


def _points_reached(recall: np.ndarray) -> np.ndarray:
    """How many of `RECALL_POINTS` are at or below each recall in 0..1."""
    near = (recall * (len(RECALL_POINTS) - 1)).astype(np.intp)  # right, or off by one for the rounding of the points
    near -= RECALL_POINTS[near] > recall
    return near + 1 + (_NEXT_POINT[near] <= recall)


def average_recall(group: GroupRecords, view: int, weights_RV: np.ndarray, detections_per_video: int) -> np.ndarray:
    """Share of instances found by the best detections of each video, averaged over IoU thresholds.

    Args and source as `average_precision`; detections_per_video: how many of each video and group are kept.
    Returns (R,) float64 in 0..1, NaN where no instance counts.
    """
    total_R1 = _instances(group, view, weights_RV)
    found_N = group.matched_ATN[view].sum(axis=0) * (group.rank_N < detections_per_video)
    found_V = np.bincount(group.video_N, weights=found_N, minlength=weights_RV.shape[1])
    return (weights_RV @ found_V) / (total_R1[:, 0] * len(IOU_THRESHOLDS))  # whole numbers: exact in any order


def mean_over_categories(values_K: Sequence[np.ndarray]) -> np.ndarray:
    """Mean, element by element, over those of K categories in which an instance counts; NaN if there is none."""
    values = np.asarray(values_K)
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    return np.divide(np.nansum(values, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def metric(groups: Sequence[GroupRecords], view: int, weights_RV: np.ndarray, name: str) -> np.ndarray:
    """AP, AP50, AP75, AR1, AR10 or AR100, averaged over groups, for each weighting of the videos.

    `groups` are `MatchRecords.categories` for the metric of a run, `[MatchRecords.pooled]` for the class-agnostic one;
    the other arguments as for `average_precision`. Returns (R,) float64 in 0..1, NaN where no instance counts.
    """
    if name.startswith("AR"):
        return mean_over_categories([average_recall(group, view, weights_RV, int(name[2:])) for group in groups])
    precision_RT = mean_over_categories([average_precision(group, view, weights_RV) for group in groups])
    return precision_RT[:, THRESHOLDS_OF[name]].mean(axis=1)


def twelve_numbers(records: MatchRecords, groups: Sequence[GroupRecords]) -> dict[str, float | None]:
    """The twelve numbers of the reference evaluator, in 0..1, averaged over the given groups.

    None where no instance counts (the reference prints -1). `groups` is `records.categories` for AP, one of them for
    the AP of a category, `[records.pooled]` for class-agnostic AP.
    """
    return _numbers(_values_of_groups(records, groups))


def overall_and_by_category(records: MatchRecords) -> tuple[dict[str, float | None], list[dict[str, float | None]]]:
    """`twelve_numbers` of all categories, and those of each of them, counted once."""
    values = _values_of_groups(records, records.categories)
    single = [{name: parts[k : k + 1] for name, parts in values.items()} for k in range(len(records.categories))]
    return _numbers(values), [_numbers(one) for one in single]


def _values_of_groups(records: MatchRecords, groups: Sequence[GroupRecords]) -> dict[str, np.ndarray]:
    """For each of the twelve numbers the values of K groups, (K, IoU thresholds that it averages)."""
    weights = np.ones((1, len(records.video_ids)))
    precision_of: dict[str, np.ndarray] = {}
    values = {}
    for name in METRICS:
        kind, _, area = name.partition("_")
        view = records.views.index(area or "all")
        if kind.startswith("AR"):
            best = int(kind[2:] or 100)
            values[name] = np.stack([average_recall(one, view, weights, best) for one in groups])
        else:
            if area not in precision_of:
                precision_of[area] = np.stack([average_precision(one, view, weights)[0] for one in groups])
            values[name] = precision_of[area][:, THRESHOLDS_OF[kind]]
    return values


def _numbers(values: dict[str, np.ndarray]) -> dict[str, float | None]:
    means = {name: float(mean_over_categories(parts).mean()) for name, parts in values.items()}
    return {name: None if np.isnan(mean) else mean for name, mean in means.items()}
