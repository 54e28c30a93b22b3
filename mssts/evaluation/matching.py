"""Greedy matching of predictions to annotated instances, done once and kept as compact records per video.

Shape suffixes: V videos, K categories, A views, T IoU thresholds, P predictions and I instances of all videos,
N detections that are kept, D detections and G instances of one video. A *group* is a category, or all categories
pooled (class-agnostic). A *view* defines which instances are ignored: by area range, or by a challenge attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mssts.evaluation.video_iou import ratio, shared_and_united
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.submission import MAX_DETECTIONS, Prediction
from mssts.ytvis.tracks import Track

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


@dataclass(frozen=True)
class _Views:
    """Per view: whether an instance counts, and the area range outside which an unmatched detection is ignored."""

    names: tuple[str, ...]
    attributes: Mapping[int, Mapping[str, bool]]

    def ignored_AI(self, instances: Sequence[Track]) -> np.ndarray:
        """(A, I) bool: crowds everywhere, instances outside the area range or without the attribute."""
        ignored = np.zeros((len(self.names), len(instances)), dtype=bool)
        for i, instance in enumerate(instances):
            for a, name in enumerate(self.names):
                if name in AREA_RANGES:
                    low, high = AREA_RANGES[name]
                    counts = low <= instance.area <= high
                else:
                    counts = self.attributes[instance.id].get(name.removeprefix(ATTRIBUTE_VIEW), False)
                ignored[a, i] = instance.crowd or not counts
        return ignored

    def outside_AP(self, predictions: Sequence[Prediction]) -> np.ndarray:
        """(A, P) bool: predictions outside the area range; none in a view of an attribute."""
        areas = np.array([prediction.area for prediction in predictions], dtype=np.float64)
        low_A, high_A = np.transpose([AREA_RANGES.get(name, AREA_RANGES["all"]) for name in self.names])
        return (areas < low_A[:, None]) | (areas > high_A[:, None])


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
    least_T = np.minimum(thresholds_T, 1 - 1e-10)
    if ((iou_DG >= least_T.min()).sum(axis=1) <= 1).all():
        # No detection has a choice, so all views agree: the first that reaches the threshold is matched (a crowd: all).
        reaches_TDG = iou_DG >= least_T[:, None, None]
        thresholds_M, rows_M, columns_M = np.nonzero(reaches_TDG & (crowd_G | (np.cumsum(reaches_TDG, axis=1) == 1)))
        matched[:, thresholds_M, rows_M] = columns_M
        return matched
    taken_ATG = np.zeros((A, T, G), dtype=bool)
    counts_A1G = ~ignored_AG[:, None, :]
    for d in np.flatnonzero(iou_DG.max(axis=1) >= least_T.min()):
        eligible_ATG = (iou_DG[d] >= least_T[:, None]) & (~taken_ATG | crowd_G)
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


class _Assignments:
    """Which instances the kept detections are matched to; arrays as in `GroupRecords`.

    Args:
        position_N: Positions of the detections in the list of predictions, video after video.
        rank_N: Their ranks in their video and group.
        outside_AP: Whether a prediction is outside of the area range of a view.
    """

    def __init__(self, position_N: np.ndarray, rank_N: np.ndarray, outside_AP: np.ndarray) -> None:
        self.position_N, self.rank_N = position_N, rank_N
        self.ignored_ATN = np.repeat(outside_AP[:, None, position_N], len(IOU_THRESHOLDS), axis=1)
        self.matched_ATN = np.zeros_like(self.ignored_ATN)
        self.annotation_TN = np.zeros(self.ignored_ATN.shape[1:], dtype=np.int64)

    def match(
        self, here: slice, iou_DG: np.ndarray, crowd_G: np.ndarray, id_G: np.ndarray, ignored_AG: np.ndarray
    ) -> None:
        """Match the detections `here`, which are of one video and by falling score, to its instances."""
        if not iou_DG.size or iou_DG.max() < IOU_THRESHOLDS[0]:
            return
        matched_ATD = match_greedily(iou_DG, crowd_G, ignored_AG)
        on_any_ATD = matched_ATD >= 0
        on_ignored_ATD = on_any_ATD & ignored_AG[np.arange(len(ignored_AG))[:, None, None], matched_ATD]
        found_ATD = on_any_ATD & (id_G[matched_ATD] != 0)  # [code] reads id 0 as no match (`lenient` only)
        self.matched_ATN[..., here] = found_ATD & ~on_ignored_ATD
        self.ignored_ATN[..., here] = on_ignored_ATD | (~found_ATD & self.ignored_ATN[..., here])
        self.annotation_TN[:, here] = np.where(on_any_ATD[0], id_G[matched_ATD[0]], 0)

    def records(self, chosen: np.ndarray, columns_P: Sequence[np.ndarray], positives_AV: np.ndarray) -> GroupRecords:
        """Records of the chosen detections. columns_P: score, video and index of all predictions."""
        score_P, video_P, index_P = columns_P
        chosen = chosen[np.argsort(-score_P[self.position_N[chosen]], kind="stable")]
        position_N = self.position_N[chosen]
        return GroupRecords(
            video_N=video_P[position_N].astype(np.int32),
            rank_N=self.rank_N[chosen].astype(np.int32),
            score_N=score_P[position_N],
            prediction_N=index_P[position_N].astype(np.int32),
            matched_ATN=self.matched_ATN[..., chosen],
            ignored_ATN=self.ignored_ATN[..., chosen],
            annotation_TN=self.annotation_TN[:, chosen],
            positives_AV=positives_AV,
        )


def _indices(records: Sequence[Prediction] | Sequence[Track], truth: Annotations) -> tuple[np.ndarray, np.ndarray]:
    """Position of the video (by ascending id) and of the category of each record."""
    video_of = {video: v for v, video in enumerate(sorted(truth.videos))}
    category_of = {category: k for k, category in enumerate(truth.categories)}
    videos = np.array([video_of[one.video_id] for one in records], dtype=np.int64)
    return videos, np.array([category_of[one.category_id] for one in records], dtype=np.int64)


def _slices_of_videos(video_N: np.ndarray, videos: int) -> list[slice]:
    """The entries of each video in an ascending array of positions of videos."""
    borders = np.searchsorted(video_N, np.arange(videos + 1)).tolist()
    return [slice(*ends) for ends in pairwise(borders)]


def _positives(ignored_AI: np.ndarray, group_I: np.ndarray, video_I: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(groups, A, V) int32, number of instances that count; shape: number of groups and of videos."""
    positives = np.zeros((shape[0], len(ignored_AI), shape[1]), dtype=np.int32)
    for ignored_I, positives_KV in zip(ignored_AI, positives.swapaxes(0, 1), strict=True):
        np.add.at(positives_KV, (group_I, video_I), ~ignored_I)
    return positives


def _followed(iou_DGT: np.ndarray, position_G: np.ndarray) -> np.ndarray:
    """(D, T) position of the instance that each detection follows in each frame, -1 for none."""
    if not iou_DGT.size:
        return np.full(iou_DGT.shape[::2], -1)
    return np.where(iou_DGT.max(axis=1) >= MIN_FOLLOWED_IOU, position_G[iou_DGT.argmax(axis=1)], -1)


def _overlaps(parts: list[tuple[np.ndarray, ...]], followed: Mapping[int, np.ndarray]) -> Overlaps:
    empty = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    prediction_P, instance_P, iou_P = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    return Overlaps(prediction_P, instance_P, iou_P, followed)


def match(
    truth: Annotations,
    predictions: Sequence[Prediction],
    attributes: Mapping[int, Mapping[str, bool]] | None = None,
) -> MatchRecords:
    """Match predictions to the ground truth, per video and category and with categories pooled.

    Source: [code] YouTube-VIS evaluation (COCO matching on video IoU; a hundred detections per video and group;
    pooled detections and instances in the order of their category, then of the file); views of attributes [ours].

    Args:
        truth: The ground truth.
        predictions: Predictions that were checked against it, in the order of their file.
        attributes: {annotation id: {challenge attribute: whether the instance has it}}. Each attribute becomes a view
            in which the instances without it are ignored. None: area ranges only.

    Returns:
        Records with the views "all", "small", "medium", "large" and "attribute:<name>" for each name.
    """
    attributes = attributes or {instance.id: {} for instance in truth.tracks}
    names = sorted({name for flags in attributes.values() for name in flags})
    views = _Views((*AREA_RANGES, *(f"{ATTRIBUTE_VIEW}{name}" for name in names)), attributes)
    video_I, category_I = _indices(truth.tracks, truth)
    video_P, category_P = _indices(predictions, truth)
    ignored_AI, outside_AP = views.ignored_AI(truth.tracks), views.outside_AP(predictions)
    crowd_I = np.array([one.crowd for one in truth.tracks], dtype=bool)
    id_I = np.array([one.id for one in truth.tracks], dtype=np.int64)
    score_P = np.array([one.score for one in predictions], dtype=np.float64)
    index_P = np.array([one.index for one in predictions], dtype=np.int64)

    per_category = _Assignments(*_top_detections(score_P, category_P, video_P), outside_AP)
    # A detection among the pooled hundred is among its category's hundred, at the position `pooled_N` of these.
    pooled_N, rank_N = _top_detections(score_P[per_category.position_N], video_P[per_category.position_N])
    pooled = _Assignments(per_category.position_N[pooled_N], rank_N, outside_AP)
    order_I = np.lexsort((category_I, video_I))
    place_I = np.argsort(order_I)
    pooled_I = np.array(truth.pooled, dtype=np.int64)
    pooled_I = pooled_I[np.lexsort((category_I[pooled_I], video_I[pooled_I]))]
    overlaps: list[tuple[np.ndarray, ...]] = []
    followed: dict[int, np.ndarray] = {}
    videos = [
        _slices_of_videos(video, len(truth.videos))
        for video in (video_P[per_category.position_N], video_P[pooled.position_N], video_I[order_I], video_I[pooled_I])
    ]
    for here, here_pooled, there, there_pooled in zip(*videos, strict=True):
        position_D, position_G = per_category.position_N[here], order_I[there]
        tracks = [predictions[p].masks for p in position_D], [truth.tracks[i].masks for i in position_G]
        shared_DGT, united_DGT = shared_and_united(*tracks)
        iou_DG = ratio(shared_DGT.sum(axis=2), united_DGT.sum(axis=2))
        same_DG = category_P[position_D][:, None] == category_I[position_G]
        per_category.match(here, iou_DG * same_DG, crowd_I[position_G], id_I[position_G], ignored_AI[:, position_G])
        rows, columns = np.nonzero(iou_DG >= MIN_OVERLAP)
        overlaps.append((index_P[position_D][rows], position_G[columns], iou_DG[rows, columns]))
        one = ~crowd_I[position_G]
        followed_DT = _followed(ratio(shared_DGT[:, one], united_DGT[:, one]), position_G[one])
        followed |= zip(index_P[position_D].tolist(), followed_DT, strict=True)
        position_G = pooled_I[there_pooled]
        iou_DG = iou_DG[pooled_N[here_pooled] - here.start][:, place_I[position_G] - there.start]
        pooled.match(here_pooled, iou_DG, crowd_I[position_G], id_I[position_G], ignored_AI[:, position_G])

    positives_KAV = _positives(ignored_AI, category_I, video_I, (len(truth.categories), len(truth.videos)))
    pooled_1AV = _positives(ignored_AI[:, pooled_I], 0 * pooled_I, video_I[pooled_I], (1, len(truth.videos)))
    columns_P = (score_P, video_P, index_P)
    return MatchRecords(
        tuple(sorted(truth.videos)),
        tuple(truth.categories),
        views.names,
        tuple(
            per_category.records(np.flatnonzero(category_P[per_category.position_N] == k), columns_P, positives_AV)
            for k, positives_AV in enumerate(positives_KAV)
        ),
        pooled.records(np.arange(pooled_N.size), columns_P, pooled_1AV[0]),
        _overlaps(overlaps, followed),
    )
