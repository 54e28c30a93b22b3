"""How much AP each kind of error costs: AP gained when the errors of one kind, and no others, are repaired.

This follows TIDE for images (Bolya et al., ECCV 2020), with video IoU and an additional kind for tracking [ours]. At an
IoU threshold t, each detection that is neither right nor ignored is of exactly one kind. Let `same` be its largest
video IoU with an instance of its own category, and `other` that with an instance of another one (crowds left out):
it is

1. `spurious` if same >= t: a duplicate of an instance that a better detection has found;
2. `classification` if other >= t: the right masks under the wrong category;
3. `tracking` if same >= 0.1 and it switches identity: it follows different instances in different frames (it follows
   the instance of the video with the largest frame IoU, if that is >= 0.5);
4. `segmentation` if same >= 0.1 otherwise: masks of too little overlap, or absent where the object is present;
5. `spurious` otherwise: nothing is there, or neither masks nor category fit.

An instance is `missed` if no detection is matched to it and no error of kind 2 to 4 is about it. The repair: a
classification, tracking or segmentation error becomes a right detection of the instance that it overlaps most, with its
own score; it is removed if that instance is found already. A spurious detection is removed. A missed instance is left
out (AP of a category without any instance left is 1). The gains of different kinds do not add up to 1 - AP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mssts.evaluation.average_precision import average_precision, average_precision_of_ranking, mean_over_categories
from mssts.evaluation.matching import IOU_THRESHOLDS, MIN_OVERLAP, GroupRecords, MatchRecords, Overlaps
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.submission import Prediction

KINDS = ("classification", "segmentation", "tracking", "spurious", "missed")
_CLASSIFICATION, _SEGMENTATION, _TRACKING, _SPURIOUS, _MISSED = range(len(KINDS))  # the first three are about a target
_RIGHT, _IGNORED = -1, -2


@dataclass(frozen=True)
class _BestOverlaps:
    """For each prediction the instances with the largest video IoU, crowds left out.

    Attributes:
        same_P: Position of the instance of the same category, -1 if there is none.
        same_iou_P: Its IoU.
        other_P: Position of the instance of another category, -1 if there is none.
        other_iou_P: Its IoU.
        switches_P: Whether the prediction switches identity.
    """

    same_P: np.ndarray
    same_iou_P: np.ndarray
    other_P: np.ndarray
    other_iou_P: np.ndarray
    switches_P: np.ndarray


def _best_overlaps(truth: Annotations, predictions: Sequence[Prediction], overlaps: Overlaps) -> _BestOverlaps:
    count = 1 + max((one.index for one in predictions), default=-1)
    by_index = {one.index: one for one in predictions}
    switches_P = np.zeros(count, dtype=bool)
    found = _BestOverlaps(np.full(count, -1), np.zeros(count), np.full(count, -1), np.zeros(count), switches_P)
    for p, g, iou in zip(overlaps.prediction_P, overlaps.instance_P, overlaps.iou_P, strict=True):
        instance = truth.tracks[g]
        if instance.crowd:
            continue
        same = instance.category_id == by_index[p].category_id
        best_P, iou_P = (found.same_P, found.same_iou_P) if same else (found.other_P, found.other_iou_P)
        if iou > iou_P[p]:
            best_P[p], iou_P[p] = g, iou
    for p, iou in enumerate(found.same_iou_P):
        if 0 < iou < IOU_THRESHOLDS[-1]:
            followed_T = overlaps.followed[p]
            followed_T = followed_T[followed_T >= 0]
            switches_P[p] = (followed_T != followed_T[:1]).any()
    return found


def _kinds(group: GroupRecords, t: int, best: _BestOverlaps) -> np.ndarray:
    """Kind of each detection of a category at one threshold, or `_RIGHT` or `_IGNORED`, (N,)."""
    threshold, p = IOU_THRESHOLDS[t], group.prediction_N
    return np.select(
        [
            group.ignored_ATN[0, t],
            group.matched_ATN[0, t],
            best.same_iou_P[p] >= threshold,
            best.other_iou_P[p] >= threshold,
            (best.same_iou_P[p] >= MIN_OVERLAP) & best.switches_P[p],
            best.same_iou_P[p] >= MIN_OVERLAP,
        ],
        [_IGNORED, _RIGHT, _SPURIOUS, _CLASSIFICATION, _TRACKING, _SEGMENTATION],
        _SPURIOUS,
    )


@dataclass(frozen=True)
class _AtThreshold:
    """Detections and instances at one threshold.

    Attributes:
        kinds_KN: Kinds of each category's detections.
        target_KN: Position of the instance that an error is about.
        found: Positions of the instances that are matched.
        wanted: Positions of the instances that an error is about.
    """

    kinds_KN: list[np.ndarray]
    target_KN: list[np.ndarray]
    found: set[int]
    wanted: set[int]


def _at_threshold(truth: Annotations, records: MatchRecords, t: int, best: _BestOverlaps) -> _AtThreshold:
    position = {instance.id: g for g, instance in enumerate(truth.tracks)}
    kinds_KN, target_KN = [], []
    found, wanted = set(), set()
    for group in records.categories:
        kind_N, p = _kinds(group, t, best), group.prediction_N
        target_N = np.where(kind_N == _CLASSIFICATION, best.other_P[p], best.same_P[p])
        found |= {position[int(one)] for one in group.annotation_TN[t][kind_N == _RIGHT]}
        wanted |= set(target_N[(kind_N >= _CLASSIFICATION) & (kind_N <= _TRACKING)].tolist())
        kinds_KN.append(kind_N)
        target_KN.append(target_N)
    return _AtThreshold(kinds_KN, target_KN, found, wanted)


def _repaired(
    truth: Annotations, records: MatchRecords, at: _AtThreshold, before_K: np.ndarray, kind: int
) -> tuple[float, int]:
    """AP at a threshold after the repair of one kind of error, and their number. before_K: AP before the repair."""
    category_position = {category: k for k, category in enumerate(records.category_ids)}
    errors_KN = [kind_N == kind for kind_N in at.kinds_KN]
    removed_K = np.array([errors_N.any() for errors_N in errors_KN])
    added: list[list[float]] = [[] for _ in records.categories]
    fewer_K = np.zeros(len(records.categories), dtype=int)
    if kind == _MISSED:
        for g, instance in enumerate(truth.tracks):
            if not instance.crowd and g not in at.found and g not in at.wanted:
                fewer_K[category_position[instance.category_id]] += 1
    elif kind != _SPURIOUS:
        moved = [
            (score, target)
            for group, errors_N, target_N in zip(records.categories, errors_KN, at.target_KN, strict=True)
            for score, target in zip(group.score_N[errors_N], target_N[errors_N].tolist(), strict=True)
        ]
        claimed = set(at.found)
        for score, target in sorted(moved, key=lambda entry: -entry[0]):
            if target not in claimed:
                claimed.add(target)
                added[category_position[truth.tracks[target].category_id]].append(score)
    after_K = before_K.copy()
    for k, group in enumerate(records.categories):
        if np.isnan(before_K[k]) or not (removed_K[k] or added[k] or fewer_K[k]):
            continue
        kept_N = (at.kinds_KN[k] != kind) & (at.kinds_KN[k] != _IGNORED)
        score_N = np.concatenate([group.score_N[kept_N], added[k]])
        right_N = np.concatenate([at.kinds_KN[k][kept_N] == _RIGHT, np.ones(len(added[k]), dtype=bool)])
        positives = int(group.positives_AV[0].sum()) - fewer_K[k]
        order = np.argsort(-score_N, kind="stable")
        after_K[k] = average_precision_of_ranking(right_N[order], positives) if positives else 1.0
    return float(mean_over_categories(after_K)), int(sum(one.sum() for one in errors_KN) + fewer_K.sum())


def error_gains(
    truth: Annotations, predictions: Sequence[Prediction], records: MatchRecords
) -> dict[str, dict[str, float | int | None]]:
    """AP gained by the repair of each kind of error of `KINDS`; the module's docstring defines them.

    Args:
        truth: The ground truth.
        predictions: The predictions that were matched to it.
        records: What `match` returned, with its overlaps.

    Returns:
        {kind: {"AP50": gain at IoU 0.5, "AP": mean gain over the ten thresholds, both in 0..1 and None where AP is
        undefined; "count": errors of that kind at IoU 0.5}}.
    """
    if records.overlaps is None:
        raise ValueError("records without overlaps: use those that `match` returns")
    best = _best_overlaps(truth, predictions, records.overlaps)
    weights = np.ones((1, len(records.video_ids)))
    before_KT = np.stack([average_precision(group, 0, weights)[0] for group in records.categories])
    gains = np.zeros((len(KINDS), len(IOU_THRESHOLDS)))
    counts = np.zeros_like(gains, dtype=int)
    for t in range(len(IOU_THRESHOLDS)):
        at = _at_threshold(truth, records, t, best)
        before = float(mean_over_categories(before_KT[:, t]))
        for kind in range(len(KINDS)):
            after, counts[kind, t] = _repaired(truth, records, at, before_KT[:, t], kind)
            gains[kind, t] = after - before
    defined = not np.isnan(gains).any()
    return {
        name: {
            "AP50": float(gains[kind, 0]) if defined else None,
            "AP": float(gains[kind].mean()) if defined else None,
            "count": int(counts[kind, 0]),
        }
        for kind, name in enumerate(KINDS)
    }
