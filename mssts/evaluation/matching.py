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
from mssts.evaluation.submission import MAX_DETECTIONS, Prediction
from mssts.evaluation.video_iou import video_iou

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
LEAST_OVERLAP = 0.1
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
class Overlaps:
    """Pairs of a detection and an instance of one video, of any categories, whose IoU is at least `LEAST_OVERLAP`.

    prediction_P, instance_P: int64, positions in the lists of predictions and of instances. iou_P: float64.
    """

    prediction_P: np.ndarray
    instance_P: np.ndarray
    iou_P: np.ndarray


@dataclass(frozen=True)
class MatchRecords:
    """All that AP and its resampling over videos need; no mask is looked at again.

    video_ids: ascending. category_ids: ascending, of `categories`. views: names of the views. categories: one record
    for each category. pooled: the same with categories left out of account. overlaps: of fresh records only.
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
        low_A, high_A = np.transpose([AREA_RANGES.get(name, AREA_RANGES["all"]) for name in self.names])
        return (areas < low_A[:, None]) | (areas > high_A[:, None])


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
    if G == 1:  # every view agrees: the first detection that reaches the threshold, every one of them for a crowd
        reaches_TD = iou_DG[:, 0] >= least_T[:, None]
        given[:, reaches_TD if crowd_G[0] else reaches_TD & (np.cumsum(reaches_TD, axis=1) == 1)] = 0
        return given
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
    """Detections of one video and group by falling score, and their fate. video: position."""

    video: int
    detections: list[Prediction]
    matched_ATD: np.ndarray
    ignored_ATD: np.ndarray
    annotation_TD: np.ndarray


def _best(detections: list[Prediction]) -> list[Prediction]:
    """The hundred best by score; ties keep their order, NaN is last."""
    order = np.argsort([-detection.score for detection in detections], kind="stable")[:MAX_DETECTIONS]
    return [detections[i] for i in order]


def _match_video(
    video: int,
    detections: list[Prediction],
    instances: list[Instance],
    iou_DG: np.ndarray,
    ignored_AG: np.ndarray,
    outside_AD: np.ndarray,
) -> _VideoRecord:
    found_ATD = np.zeros((len(ignored_AG), len(IOU_THRESHOLDS), len(detections)), dtype=bool)
    on_ignored_ATD, annotation_TD = found_ATD, np.zeros(found_ATD.shape[1:], dtype=np.int64)
    if iou_DG.size and iou_DG.max() >= IOU_THRESHOLDS[0]:
        crowd_G = np.array([instance.crowd for instance in instances], dtype=bool)
        given_ATD = match_greedily(iou_DG, crowd_G, ignored_AG)
        identifiers = np.array([instance.id for instance in instances])
        on_any_ATD = given_ATD >= 0
        on_ignored_ATD = on_any_ATD & ignored_AG[np.arange(len(ignored_AG))[:, None, None], given_ATD]
        annotation_TD = np.where(on_any_ATD[0], identifiers[given_ATD[0]], 0)
        found_ATD = on_any_ATD & (identifiers[given_ATD] != 0)  # [code] reads id 0 as no match (`lenient` only)
    return _VideoRecord(
        video,
        detections,
        found_ATD & ~on_ignored_ATD,
        on_ignored_ATD | (~found_ATD & outside_AD[:, None, :]),
        annotation_TD,
    )


def _joined(arrays: list[np.ndarray], leading: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(arrays, axis=-1) if arrays else np.zeros((*leading, 0), dtype=bool)


def _gather(records: list[_VideoRecord], positives_AV: np.ndarray) -> GroupRecords:
    """Records of all videos of one group as arrays, by falling score."""
    detections = [detection for record in records for detection in record.detections]
    score_N = np.array([detection.score for detection in detections], dtype=np.float64)
    order_N = np.argsort(-score_N, kind="stable")
    counts = [len(record.detections) for record in records]
    ranks = [rank for count in counts for rank in range(count)]
    shape = (len(positives_AV), len(IOU_THRESHOLDS))
    return GroupRecords(
        video_N=np.repeat([record.video for record in records], counts).astype(np.int32)[order_N],
        rank_N=np.array(ranks, dtype=np.int32)[order_N],
        score_N=score_N[order_N],
        prediction_N=np.array([detection.index for detection in detections], dtype=np.int32)[order_N],
        matched_ATN=_joined([record.matched_ATD for record in records], shape)[..., order_N],
        ignored_ATN=_joined([record.ignored_ATD for record in records], shape)[..., order_N],
        annotation_TN=_joined([r.annotation_TD for r in records], shape[1:]).astype(np.int64)[:, order_N],
        positives_AV=positives_AV,
    )


def _overlaps(parts: list[tuple[np.ndarray, ...]]) -> Overlaps:
    empty = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))
    return Overlaps(*(np.concatenate(column) for column in zip(empty, *parts, strict=True)))


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
    category_position = {category: k for k, category in enumerate(truth.categories)}
    instances_of: dict[int, list[tuple[int, int, Instance]]] = defaultdict(list)
    for position, instance in enumerate(truth.instances):
        instances_of[instance.video_id].append((category_position[instance.category_id], position, instance))
    detections_of: dict[int, dict[int, list[Prediction]]] = defaultdict(lambda: defaultdict(list))
    for prediction in predictions:
        detections_of[prediction.video_id][category_position[prediction.category_id]].append(prediction)

    K, shape_AV = len(truth.categories), (len(views.names), len(truth.videos))
    categories: list[list[_VideoRecord]] = [[] for _ in range(K)]
    positives_KAV = np.zeros((K, *shape_AV), dtype=np.int32)
    pooled: list[_VideoRecord] = []
    overlaps: list[tuple[np.ndarray, ...]] = []
    for v, video_id in enumerate(truth.videos):
        listed = sorted(instances_of[video_id], key=lambda entry: entry[0])
        instances = [instance for _, _, instance in listed]
        category_G = np.array([k for k, _, _ in listed], dtype=int)
        detections, category_D = [], []
        for k, group in sorted(detections_of[video_id].items()):
            best = _best(group)
            detections += best
            category_D += [k] * len(best)
        category_D = np.array(category_D, dtype=int)
        ignored_AG = views.ignored_AG(instances)
        np.add.at(positives_KAV, (category_G, slice(None), v), ~ignored_AG.T)
        if not detections:
            continue
        iou_DG = video_iou([detection.track for detection in detections], [instance.track for instance in instances])
        outside_AD = views.outside_AD(detections)
        for k in np.unique(category_D):
            rows, columns = np.flatnonzero(category_D == k), np.flatnonzero(category_G == k)
            record = _match_video(
                v,
                [detections[i] for i in rows],
                [instances[g] for g in columns],
                iou_DG[np.ix_(rows, columns)],
                ignored_AG[:, columns],
                outside_AD[:, rows],
            )
            categories[k].append(record)
        # a stable sort of the category-wise best: a detection among the pooled hundred is among its category's hundred
        order = np.argsort([-d.score for d in detections], kind="stable")[:MAX_DETECTIONS]
        best = [detections[i] for i in order]
        pooled.append(_match_video(v, best, instances, iou_DG[order], ignored_AG, outside_AD[:, order]))
        rows, columns = np.nonzero(iou_DG >= LEAST_OVERLAP)
        indices_D, positions_G = [d.index for d in detections], [position for _, position, _ in listed]
        overlaps.append((np.array(indices_D)[rows], np.array(positions_G, dtype=int)[columns], iou_DG[rows, columns]))
    return MatchRecords(
        tuple(truth.videos),
        tuple(truth.categories),
        views.names,
        tuple(_gather(records, positives) for records, positives in zip(categories, positives_KAV, strict=True)),
        _gather(pooled, positives_KAV.sum(axis=0, dtype=np.int32)),
        _overlaps(overlaps),
    )
