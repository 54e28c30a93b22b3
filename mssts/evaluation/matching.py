"""Greedy matching of predictions to instances, done once and kept as compact records per video.

Legend of shape suffixes: V videos, K categories, A views, T IoU thresholds, N kept detections of a group,
D detections and G instances of one video and group. A *group* is a category, or all categories pooled
(class-agnostic). A *view* says which instances are ignored: by area range, or by a challenge attribute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mssts.evaluation.ground_truth import GroundTruth, Instance
from mssts.evaluation.submission import Prediction
from mssts.evaluation.video_iou import video_iou

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100
AREA_RANGES = {"all": (0, 1e10), "small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
ATTRIBUTE_VIEW = "attribute:"


@dataclass(frozen=True)
class GroupRecords:
    """Detections of one category, or of all pooled, by falling score (ties: order of video id, then of the file).

    video_N: int32, position in `MatchRecords.video_ids`. rank_N: int32, 0 is the best of its video and group.
    score_N: float64. prediction_N: int32, position in the list of predictions. matched_ATN: bool, a true positive.
    ignored_ATN: bool, counts neither for nor against. annotation_TN: int64, id of the matched instance in the view
    "all", 0 if none. positives_AV: int32, number of instances that count.
    """

    video_N: np.ndarray
    rank_N: np.ndarray
    score_N: np.ndarray
    prediction_N: np.ndarray
    matched_ATN: np.ndarray
    ignored_ATN: np.ndarray
    annotation_TN: np.ndarray
    positives_AV: np.ndarray


@dataclass(frozen=True)
class MatchRecords:
    """All that AP and its resampling over videos need; no mask is looked at again.

    video_ids: ascending. category_ids: ascending, of `categories`. views: names of the views. categories: one record
    for each category. pooled: the same with categories left out of account.
    """

    video_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    views: tuple[str, ...]
    categories: tuple[GroupRecords, ...]
    pooled: GroupRecords


@dataclass(frozen=True)
class _Views:
    """Per view: whether an instance counts, and the area range outside which an unmatched detection is ignored."""

    names: tuple[str, ...]
    attributes: Mapping[int, Mapping[str, bool]]

    def ignored_AG(self, instances: Sequence[Instance]) -> np.ndarray:
        """(A, G) bool: crowds everywhere, instances outside the area range or without the attribute."""
        ignored = np.zeros((len(self.names), len(instances)), dtype=bool)
        for g, instance in enumerate(instances):
            for a, name in enumerate(self.names):
                if name in AREA_RANGES:
                    low, high = AREA_RANGES[name]
                    counts = low <= instance.area <= high
                else:
                    counts = self.attributes[instance.id].get(name.removeprefix(ATTRIBUTE_VIEW), False)
                ignored[a, g] = instance.crowd or not counts
        return ignored

    def outside_AD(self, detections: Sequence[Prediction]) -> np.ndarray:
        """(A, D) bool: detections outside the area range; none in a view of an attribute."""
        areas = np.array([detection.area for detection in detections])
        ranges = [AREA_RANGES.get(name, AREA_RANGES["all"]) for name in self.names]
        return np.array([(areas < low) | (areas > high) for low, high in ranges]).reshape(len(ranges), len(areas))


def match_greedily(
    iou_DG: np.ndarray, crowd_G: np.ndarray, ignored_AG: np.ndarray, thresholds_T: np.ndarray = IOU_THRESHOLDS
) -> np.ndarray:
    """Instance that each detection is given, for all views and thresholds at once.

    In the order of the rows each detection takes the free instance of highest IoU at or above the threshold, of equal
    ones the last; ignored instances only if none that counts is left. A crowd can be taken again and again.

    Args:
        iou_DG: (D, G) IoU, detections by falling score. crowd_G: (G,) bool. ignored_AG: (A, G) bool.
        thresholds_T: (T,) IoU thresholds.

    Returns:
        (A, T, D) int32, column of the instance, -1 if there is none. Source: [code] COCO matching.
    """
    (D, G), A, T = iou_DG.shape, len(ignored_AG), len(thresholds_T)
    given = np.full((A, T, D), -1, dtype=np.int32)
    if not iou_DG.size:
        return given
    least_T = np.minimum(thresholds_T, 1 - 1e-10)
    taken_ATG = np.zeros((A, T, G), dtype=bool)
    counts_A1G = ~ignored_AG[:, None, :]
    for d in np.flatnonzero(iou_DG.max(axis=1) >= least_T.min()):
        eligible_ATG = (iou_DG[d] >= least_T[:, None]) & (~taken_ATG | crowd_G)
        preferred_ATG = eligible_ATG & counts_A1G
        eligible_ATG = np.where(preferred_ATG.any(axis=-1, keepdims=True), preferred_ATG, eligible_ATG)
        last_best_AT = G - 1 - np.argmax(np.where(eligible_ATG, iou_DG[d], -1.0)[..., ::-1], axis=-1)
        views_M, thresholds_M = np.nonzero(eligible_ATG.any(axis=-1))
        chosen_M = last_best_AT[views_M, thresholds_M]
        given[views_M, thresholds_M, d] = chosen_M
        taken_ATG[views_M, thresholds_M, chosen_M] = True
    return given


@dataclass(frozen=True)
class _VideoRecord:
    """Detections of one video and group by falling score, and their fate."""

    detections: list[Prediction]
    matched_ATD: np.ndarray
    ignored_ATD: np.ndarray
    annotation_TD: np.ndarray
    positives_A: np.ndarray


def _best(detections: list[Prediction]) -> list[Prediction]:
    """The hundred best by score; ties keep their order."""
    return sorted(detections, key=lambda detection: -detection.score)[:MAX_DETECTIONS]


def _match_video(detections: list[Prediction], instances: list[Instance], iou_DG: np.ndarray, views: _Views):
    ignored_AG = views.ignored_AG(instances)
    crowd_G = np.array([instance.crowd for instance in instances], dtype=bool)
    given_ATD = match_greedily(iou_DG, crowd_G, ignored_AG)
    found_ATD = given_ATD >= 0
    if instances:
        on_ignored_ATD = found_ATD & ignored_AG[np.arange(len(ignored_AG))[:, None, None], given_ATD]
        identifiers = np.array([instance.id for instance in instances])
        annotation_TD = np.where(found_ATD[0], identifiers[given_ATD[0]], 0)
    else:
        on_ignored_ATD, annotation_TD = np.zeros_like(found_ATD), np.zeros(found_ATD.shape[1:], dtype=int)
    outside_A1D = views.outside_AD(detections)[:, None, :]
    return _VideoRecord(
        detections,
        found_ATD & ~on_ignored_ATD,
        on_ignored_ATD | (~found_ATD & outside_A1D),
        annotation_TD,
        (~ignored_AG).sum(axis=1),
    )


def _gather(records_V: list[_VideoRecord]) -> GroupRecords:
    """Records of all videos of one group as arrays, by falling score."""
    detections = [detection for record in records_V for detection in record.detections]
    score_N = np.array([detection.score for detection in detections], dtype=np.float64)
    order_N = np.argsort(-score_N, kind="stable")
    counts_V = [len(record.detections) for record in records_V]
    ranks = [rank for count in counts_V for rank in range(count)]
    return GroupRecords(
        video_N=np.repeat(np.arange(len(records_V)), counts_V).astype(np.int32)[order_N],
        rank_N=np.array(ranks, dtype=np.int32)[order_N],
        score_N=score_N[order_N],
        prediction_N=np.array([detection.index for detection in detections], dtype=np.int32)[order_N],
        matched_ATN=np.concatenate([record.matched_ATD for record in records_V], axis=2)[..., order_N],
        ignored_ATN=np.concatenate([record.ignored_ATD for record in records_V], axis=2)[..., order_N],
        annotation_TN=np.concatenate([r.annotation_TD for r in records_V], axis=1).astype(np.int64)[:, order_N],
        positives_AV=np.stack([record.positives_A for record in records_V], axis=1).astype(np.int32),
    )


def match(
    truth: GroundTruth,
    predictions: Sequence[Prediction],
    attributes: Mapping[int, Mapping[str, bool]] | None = None,
) -> MatchRecords:
    """Match predictions to the ground truth, per video and category and with categories pooled.

    Args:
        truth: ground truth. predictions: checked against it, in the order of their file.
        attributes: for each annotation id the challenge attributes and whether it has them; each attribute becomes a
            view in which the instances without it are ignored. None: area ranges only.

    Returns:
        Records with the views "all", "small", "medium", "large" and "attribute:<name>" for each name.

    Source: [code] YouTube-VIS evaluation (COCO matching on video IoU; a hundred detections per video and group;
    pooled detections and instances stand in the order of their category, then of the file); views of attributes [ours].
    """
    attributes = attributes or {instance.id: {} for instance in truth.instances}
    names = sorted({name for flags in attributes.values() for name in flags})
    views = _Views((*AREA_RANGES, *(f"{ATTRIBUTE_VIEW}{name}" for name in names)), attributes)
    instances_of: dict[tuple[int, int], list[Instance]] = defaultdict(list)
    for instance in truth.instances:
        instances_of[instance.video_id, instance.category_id].append(instance)
    detections_of: dict[tuple[int, int], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        detections_of[prediction.video_id, prediction.category_id].append(prediction)

    categories: list[list[_VideoRecord]] = [[] for _ in truth.categories]
    pooled: list[_VideoRecord] = []
    for video_id in truth.videos:
        best_K = [_best(detections_of[video_id, category]) for category in truth.categories]
        instances_K = [instances_of[video_id, category] for category in truth.categories]
        detections = [detection for best in best_K for detection in best]
        instances = [instance for group in instances_K for instance in group]
        iou = video_iou([d.segmentations for d in detections], [i.segmentations for i in instances])
        row, column = 0, 0
        for k, (best, group) in enumerate(zip(best_K, instances_K, strict=True)):
            block = iou[row : row + len(best), column : column + len(group)]
            categories[k].append(_match_video(best, group, block, views))
            row, column = row + len(best), column + len(group)
        # a stable sort of the category-wise best: a detection among the pooled hundred is among its category's hundred
        order = np.argsort([-d.score for d in detections], kind="stable")[:MAX_DETECTIONS].astype(int)
        pooled.append(_match_video([detections[i] for i in order], instances, iou[order], views))
    return MatchRecords(
        tuple(truth.videos),
        tuple(truth.categories),
        views.names,
        tuple(_gather(records) for records in categories),
        _gather(pooled),
    )
