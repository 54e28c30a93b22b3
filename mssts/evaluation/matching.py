"""Greedy matching of predictions to annotated instances, done once and kept as compact records per video.

Shape suffixes: V videos, K categories, A views, T IoU thresholds, P predictions and I instances of all videos,
N detections that are kept, D detections and G instances of one video. A *group* is a category, or all categories
pooled (class-agnostic). A *view* defines which instances are ignored: by area range, or by a challenge attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from mssts.evaluation.video_iou import video_iou, video_iou_of_boxes
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.submission import MAX_DETECTIONS, Prediction

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MIN_OVERLAP = 0.1
MIN_FOLLOWED_IOU = 0.5
AREA_RANGES = {"all": (0, 1e10), "small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
ATTRIBUTE_VIEW = "attribute:"


@dataclass(frozen=True)
class GroupRecords:
    """Detections of one category, or of all pooled, by falling score (ties: order of video id, then of the file).

    Attributes:
        video_N: int32, position in `MatchRecords.video_ids`.
        rank_N: int32, 0 for the best detection of its video and group.
        score_N: float64.
        prediction_N: int32, position in the submission file.
        matched_ATN: bool, whether it is a true positive.
        ignored_ATN: bool, whether it counts neither for nor against.
        annotation_TN: int64, id of the matched instance in the view "all", 0 if there is none.
        positives_AV: int32, number of instances that count.
    """

    video_N: np.ndarray
    rank_N: np.ndarray
    score_N: np.ndarray
    prediction_N: np.ndarray
    matched_ATN: np.ndarray
    ignored_ATN: np.ndarray
    annotation_TN: np.ndarray
    positives_AV: np.ndarray

    def take(self, chosen: np.ndarray) -> GroupRecords:
        """Records of the detections at the chosen positions, in their order."""
        return replace(self, **{name: getattr(self, name)[..., chosen] for name in PER_DETECTION})


PER_DETECTION = tuple(field.name for field in fields(GroupRecords) if field.name != "positives_AV")


def joined(groups: Sequence[GroupRecords]) -> dict[str, np.ndarray]:
    """The fields of the detections of some groups, group after group."""
    return {name: np.concatenate([getattr(group, name) for group in groups], axis=-1) for name in PER_DETECTION}


@dataclass(frozen=True)
class Overlaps:
    """Pairs of a detection and an instance of one video, of any categories, whose IoU is at least `MIN_OVERLAP`.

    Attributes:
        prediction_P: int64, position in the submission file.
        instance_P: int64, position in `Annotations.tracks`.
        iou_P: float64.
        followed: {position of a detection: (T,) position of the instance that it follows in each frame}: the instance,
            not a crowd, of the largest IoU in this frame if that is at least `MIN_FOLLOWED_IOU`; else -1.
    """

    prediction_P: np.ndarray
    instance_P: np.ndarray
    iou_P: np.ndarray
    followed: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class MatchRecords:
    """All that AP and its resampling over videos need; the masks are not read again.

    Attributes:
        video_ids: Ascending.
        category_ids: Ascending.
        views: Names of the views.
        categories: The records of each category.
        pooled: The records with all categories treated as one.
        overlaps: Only of fresh records; None if they were read from a file.
    """

    video_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    views: tuple[str, ...]
    categories: tuple[GroupRecords, ...]
    pooled: GroupRecords
    overlaps: Overlaps | None = None


def match_greedily(
    iou_DG: np.ndarray, crowd_G: np.ndarray, ignored_AG: np.ndarray, thresholds_T: np.ndarray = IOU_THRESHOLDS
) -> np.ndarray:
    """Match detections to instances, for all views and thresholds at once [code: COCO matching].

    In the order of the rows, each detection takes the free instance of highest IoU at or above the threshold (of equal
    ones the last), and ignored instances only if no other is left. A crowd can be taken any number of times.

    Args:
        iou_DG: (D, G) IoU, detections by falling score.
        crowd_G: (G,) bool, whether the instance is a crowd.
        ignored_AG: (A, G) bool, whether the instance is ignored in a view.
        thresholds_T: (T,) IoU thresholds.

    Returns:
        (A, T, D) int32, column of the matched instance, -1 if there is none.
    """
    (D, G), A, T = iou_DG.shape, len(ignored_AG), len(thresholds_T)
    matched = np.full((A, T, D), -1, dtype=np.int32)
    if not iou_DG.size:
        return matched
    min_iou_T = np.minimum(thresholds_T, 1 - 1e-10)
    if ((iou_DG >= min_iou_T.min()).sum(axis=1) <= 1).all():
        # No detection has a choice, so all views agree: the first that reaches the threshold is matched (a crowd: all).
        reaches_TDG = iou_DG >= min_iou_T[:, None, None]
        thresholds_M, rows_M, columns_M = np.nonzero(reaches_TDG & (crowd_G | (np.cumsum(reaches_TDG, axis=1) == 1)))
        matched[:, thresholds_M, rows_M] = columns_M
        return matched
    taken_ATG = np.zeros((A, T, G), dtype=bool)
    counts_A1G = ~ignored_AG[:, None, :]
    for d in np.flatnonzero(iou_DG.max(axis=1) >= min_iou_T.min()):
        eligible_ATG = (iou_DG[d] >= min_iou_T[:, None]) & (~taken_ATG | crowd_G)
        preferred_ATG = eligible_ATG & counts_A1G
        eligible_ATG = np.where(preferred_ATG.any(axis=-1, keepdims=True), preferred_ATG, eligible_ATG)
        last_best_AT = G - 1 - np.argmax(np.where(eligible_ATG, iou_DG[d], -1.0)[..., ::-1], axis=-1)
        views_M, thresholds_M = np.nonzero(eligible_ATG.any(axis=-1))
        chosen_M = last_best_AT[views_M, thresholds_M]
        matched[views_M, thresholds_M, d] = chosen_M
        taken_ATG[views_M, thresholds_M, chosen_M] = True
    return matched


def _top_detections(score_P: np.ndarray, *keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hundred best detections of each group.

    Args:
        score_P: (P,) scores.
        *keys: (P,) what the members of a group have in common, the least important key first.

    Returns:
        Their positions and their ranks in the group from 0: groups in ascending order of the keys, members by falling
        score (ties keep their order, NaN is last).
    """
    order = np.lexsort((-score_P, *keys))
    begins = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    rank = np.arange(order.size)
    rank[1:] -= np.maximum.accumulate(np.where(begins, rank[1:], 0))
    return order[rank < MAX_DETECTIONS], rank[rank < MAX_DETECTIONS]


def _match_video(
    group: GroupRecords, here: slice, iou_DG: np.ndarray, crowd_G: np.ndarray, id_G: np.ndarray, ignored_AG: np.ndarray
) -> None:
    """Match the detections `here` of a group, which are of one video and by falling score, to its instances."""
    if not iou_DG.size or iou_DG.max() < IOU_THRESHOLDS[0]:
        return
    matched_ATD = match_greedily(iou_DG, crowd_G, ignored_AG)
    on_any_ATD = matched_ATD >= 0
    on_ignored_ATD = on_any_ATD & ignored_AG[np.arange(len(ignored_AG))[:, None, None], matched_ATD]
    found_ATD = on_any_ATD & (id_G[matched_ATD] != 0)  # [code] reads id 0 as no match (`lenient` only)
    group.matched_ATN[..., here] = found_ATD & ~on_ignored_ATD
    group.ignored_ATN[..., here] = on_ignored_ATD | (~found_ATD & group.ignored_ATN[..., here])
    group.annotation_TN[:, here] = np.where(on_any_ATD[0], id_G[matched_ATD[0]], 0)


def _unmatched(predictions: Sequence[Prediction], truth: Annotations, outside_AN: np.ndarray) -> GroupRecords:
    """Records of all predictions, in their order, before they are matched and ranked."""
    video_N = np.searchsorted(sorted(truth.videos), [prediction.video_id for prediction in predictions])
    ignored_ATN = np.repeat(outside_AN[:, None], len(IOU_THRESHOLDS), axis=1)
    return GroupRecords(
        video_N=video_N.astype(np.int32),
        rank_N=np.zeros(len(predictions), dtype=np.int32),
        score_N=np.array([prediction.score for prediction in predictions], dtype=np.float64),
        prediction_N=np.array([prediction.index for prediction in predictions], dtype=np.int32),
        matched_ATN=np.zeros_like(ignored_ATN),
        ignored_ATN=ignored_ATN,
        annotation_TN=np.zeros(ignored_ATN.shape[1:], dtype=np.int64),
        positives_AV=np.zeros((len(outside_AN), len(truth.videos)), dtype=np.int32),
    )


def _outside(areas: ArrayLike) -> np.ndarray:
    """(area ranges, areas) bool, whether an area is outside of a range."""
    area_N = np.array(areas, dtype=np.float64)
    return np.array([(area_N < low) | (area_N > high) for low, high in AREA_RANGES.values()])


def _slices_of_videos(video_N: np.ndarray, videos: int) -> list[slice]:
    """The entries of each video in an ascending array of positions of videos."""
    borders = np.searchsorted(video_N, np.arange(videos + 1)).tolist()
    return [slice(*ends) for ends in pairwise(borders)]


def _followed(iou_DGT: np.ndarray, position_G: np.ndarray) -> np.ndarray:
    """(D, T) position of the instance that each detection follows in each frame, -1 for none."""
    if not iou_DGT.size:
        return np.full(iou_DGT.shape[::2], -1)
    return np.where(iou_DGT.max(axis=1) >= MIN_FOLLOWED_IOU, position_G[iou_DGT.argmax(axis=1)], -1)


def _mean_areas(boxes_PT4: np.ndarray) -> np.ndarray:
    """Mean of the areas of each track that are not 0, (P,), as of masks."""
    areas_PT = boxes_PT4[..., 2] * boxes_PT4[..., 3]
    return areas_PT.sum(axis=1) / np.maximum(np.count_nonzero(areas_PT, axis=1), 1)


def match(
    truth: Annotations,
    predictions: Sequence[Prediction],
    attributes: Mapping[int, Mapping[str, bool]] | None = None,
    boxes_PT4: np.ndarray | None = None,
) -> MatchRecords:
    """Match predictions to the ground truth, per video and category and with categories pooled.

    Source: [code] YouTube-VIS evaluation (COCO matching on video IoU; a hundred detections per video and group;
    pooled detections and instances in the order of their category, then of the file); views of attributes [ours].

    Args:
        truth: The ground truth.
        predictions: Predictions that were checked against it, in the order of their file.
        attributes: {annotation id: {challenge attribute: whether the instance has it}}. Each attribute becomes a view
            in which the instances without it are ignored. None: area ranges only.
        boxes_PT4: Boxes of the predictions, as of `read_boxes`. If given, they are matched in place of the masks, to
            the boxes around the annotated masks, and decide which area range a prediction is in; an instance keeps its
            area, as in COCO's evaluation of boxes.

    Returns:
        Records with the views "all", "small", "medium", "large" and "attribute:<name>" for each name.
    """
    attributes = attributes or {}
    names = sorted({name for flags in attributes.values() for name in flags})
    category_ids = list(truth.categories)
    crowd_I = np.array([track.crowd for track in truth.tracks], dtype=bool)
    id_I = np.array([track.id for track in truth.tracks], dtype=np.int64)
    video_I = np.searchsorted(sorted(truth.videos), [track.video_id for track in truth.tracks])
    category_I = np.searchsorted(category_ids, [track.category_id for track in truth.tracks])
    lacking_AI = [[not attributes[track.id].get(name, False) for track in truth.tracks] for name in names]
    ignored_AI = crowd_I | np.array([*_outside([track.area for track in truth.tracks]), *lacking_AI], dtype=bool)
    areas = [prediction.area for prediction in predictions] if boxes_PT4 is None else _mean_areas(boxes_PT4)
    outside_4P = _outside(areas)  # the views of attributes are of any area, as the view "all"
    unmatched = _unmatched(predictions, truth, np.concatenate([outside_4P, *[outside_4P[:1]] * len(names)]))
    category_P = np.searchsorted(category_ids, [prediction.category_id for prediction in predictions])

    position_N, rank_N = _top_detections(unmatched.score_N, category_P, unmatched.video_N)
    per_category = replace(unmatched.take(position_N), rank_N=rank_N.astype(np.int32))
    category_N = category_P[position_N]
    # A detection among the pooled hundred is among its category's hundred, at the position `pooled_N` of these.
    pooled_N, rank_N = _top_detections(per_category.score_N, per_category.video_N)
    pooled = replace(per_category.take(pooled_N), rank_N=rank_N.astype(np.int32))
    order_I = np.lexsort((category_I, video_I))
    rank_I = np.argsort(order_I)
    pooled_I = np.array(truth.pooled, dtype=np.int64)
    pooled_I = pooled_I[np.lexsort((category_I[pooled_I], video_I[pooled_I]))]
    overlaps: list[tuple[np.ndarray, ...]] = []
    followed: dict[int, np.ndarray] = {}
    sorted_videos = per_category.video_N, pooled.video_N, video_I[order_I], video_I[pooled_I]
    slices = [_slices_of_videos(video_N, len(truth.videos)) for video_N in sorted_videos]
    for detections, pooled_detections, instances, pooled_instances in zip(*slices, strict=True):
        index_D, position_G = per_category.prediction_N[detections].astype(np.int64), order_I[instances]
        tracks = [truth.tracks[i].masks for i in position_G]
        if boxes_PT4 is None:
            iou_DG, iou_DGT = video_iou([predictions[p].masks for p in position_N[detections]], tracks)
        else:
            boxes_DT4, T = boxes_PT4[position_N[detections]], boxes_PT4.shape[1]
            boxes_GT4 = np.reshape([track.boxes(T) for track in tracks], (len(tracks), T, 4))
            iou_DG, iou_DGT = video_iou_of_boxes(boxes_DT4, boxes_GT4)
        same_DG = category_N[detections, None] == category_I[position_G]
        truth_G = crowd_I[position_G], id_I[position_G], ignored_AI[:, position_G]
        _match_video(per_category, detections, iou_DG * same_DG, *truth_G)
        rows, columns = np.nonzero(iou_DG >= MIN_OVERLAP)
        overlaps.append((index_D[rows], position_G[columns], iou_DG[rows, columns]))
        single_G = ~crowd_I[position_G]
        followed |= zip(index_D.tolist(), _followed(iou_DGT[:, single_G], position_G[single_G]), strict=True)
        position_G = pooled_I[pooled_instances]
        iou_DG = iou_DG[pooled_N[pooled_detections] - detections.start][:, rank_I[position_G] - instances.start]
        truth_G = crowd_I[position_G], id_I[position_G], ignored_AI[:, position_G]
        _match_video(pooled, pooled_detections, iou_DG, *truth_G)

    def ranked(group: GroupRecords, instances: np.ndarray) -> GroupRecords:
        counted = [video_I[instances[~ignored_I[instances]]] for ignored_I in ignored_AI]
        positives_AV = [np.bincount(video_N, minlength=len(truth.videos)) for video_N in counted]
        order = np.argsort(-group.score_N, kind="stable")
        return replace(group.take(order), positives_AV=np.array(positives_AV, dtype=np.int32))

    prediction_P, instance_P, iou_P = (np.concatenate(column) for column in zip(*overlaps, strict=True))
    return MatchRecords(
        tuple(sorted(truth.videos)),
        tuple(category_ids),
        (*AREA_RANGES, *(f"{ATTRIBUTE_VIEW}{name}" for name in names)),
        tuple(
            ranked(per_category.take(np.flatnonzero(category_N == k)), np.flatnonzero(category_I == k))
            for k in range(len(category_ids))
        ),
        ranked(pooled, pooled_I),
        Overlaps(prediction_P, instance_P, iou_P, followed),
    )
