"""How much AP each kind of error costs: AP gained when the errors of one kind, and no others, are repaired.

As TIDE does for images (Bolya et al., ECCV 2020), with video IoU and a kind of its own for tracking [ours]. At an IoU
threshold t, each detection that is neither right nor ignored is of exactly one kind. With `same` its largest video IoU
with an instance of its own category, `other` that with an instance of another one (crowds left out), it is

1. `spurious` if same >= t: a duplicate of an instance that a better detection has found;
2. `classification` if other >= t: the right masks under the wrong category;
3. `tracking` if same >= 0.1 and it switches identity: in some frame it follows one instance, in another frame another
   one (follows: frame IoU with it is the largest of all instances of the video, and >= 0.5);
4. `segmentation` if same >= 0.1 otherwise: masks of too little overlap, or absent where the object is present;
5. `spurious` otherwise: nothing is there, or neither masks nor category fit.

An instance is `missed` if no detection is matched to it and no error of kind 2 to 4 is about it. The repair: a
classification, tracking or segmentation error becomes a right detection of the instance that it overlaps most, with its
own score, unless that instance is found already, then it is removed; a spurious detection is removed; a missed
instance is no longer asked for (a category of which nothing is asked for any more counts 1). The gains of different
kinds do not add up to 1 - AP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mssts.evaluation.average_precision import average_precision, mean_over_categories
from mssts.evaluation.ground_truth import GroundTruth
from mssts.evaluation.matching import IOU_THRESHOLDS, LEAST_OVERLAP, GroupRecords, MatchRecords
from mssts.evaluation.submission import Prediction
from mssts.evaluation.video_iou import frame_ious

KINDS = ("classification", "segmentation", "tracking", "spurious", "missed")
FOLLOWS = 0.5
_CLASSIFICATION, _SEGMENTATION, _TRACKING, _SPURIOUS, _MISSED = range(len(KINDS))
_RIGHT, _IGNORED = -1, -2


@dataclass(frozen=True)
class _Best:
    """For each prediction the instance (position, -1 if none) of largest overlap and that IoU, crowds left out."""

    same_P: np.ndarray
    same_iou_P: np.ndarray
    other_P: np.ndarray
    other_iou_P: np.ndarray
    switches_P: np.ndarray


def _best(truth: GroundTruth, predictions: Sequence[Prediction], records: MatchRecords) -> _Best:
    count = 1 + max((one.index for one in predictions), default=-1)
    by_index = {one.index: one for one in predictions}
    found = _Best(
        *(np.full(count, -1), np.zeros(count), np.full(count, -1), np.zeros(count), np.zeros(count, dtype=bool))
    )
    near: dict[int, list[int]] = {}
    overlaps = records.overlaps
    for p, g, iou in zip(overlaps.prediction_P, overlaps.instance_P, overlaps.iou_P, strict=True):
        instance = truth.instances[g]
        if instance.crowd:
            continue
        near.setdefault(int(p), []).append(int(g))
        same = instance.category_id == by_index[p].category_id
        best_P, iou_P = (found.same_P, found.same_iou_P) if same else (found.other_P, found.other_iou_P)
        if iou > iou_P[p]:
            best_P[p], iou_P[p] = g, iou
    of_video: dict[int, list[int]] = {}
    for g, instance in enumerate(truth.instances):
        if not instance.crowd:
            of_video.setdefault(instance.video_id, []).append(g)
    for p in near:
        others = of_video[by_index[p].video_id]
        if found.same_P[p] >= 0 and found.same_iou_P[p] < IOU_THRESHOLDS[-1] and len(others) > 1:
            tracks = [truth.instances[g].track for g in others]
            found.switches_P[p] = _switches(np.stack([frame_ious(by_index[p].track, track) for track in tracks]))
    return found


def _switches(iou_GT: np.ndarray) -> bool:
    """Whether a detection follows two instances: largest IoU of the frame, and at least `FOLLOWS`."""
    followed_T = np.where(iou_GT.max(axis=0) >= FOLLOWS, iou_GT.argmax(axis=0), -1)
    return np.unique(followed_T[followed_T >= 0]).size > 1


def _kinds(group: GroupRecords, t: int, best: _Best) -> np.ndarray:
    """(N,) kind of each detection of a category at one threshold, `_RIGHT` or `_IGNORED`."""
    threshold, p = IOU_THRESHOLDS[t], group.prediction_N
    return np.select(
        [
            group.ignored_ATN[0, t],
            group.matched_ATN[0, t],
            best.same_iou_P[p] >= threshold,
            best.other_iou_P[p] >= threshold,
            (best.same_iou_P[p] >= LEAST_OVERLAP) & best.switches_P[p],
            best.same_iou_P[p] >= LEAST_OVERLAP,
        ],
        [_IGNORED, _RIGHT, _SPURIOUS, _CLASSIFICATION, _TRACKING, _SEGMENTATION],
        _SPURIOUS,
    )


def _ap(score_N: np.ndarray, right_N: np.ndarray, positives: int) -> float:
    """AP at one threshold of detections in the order of their file, of a category with so many instances."""
    order = np.argsort(-score_N, kind="stable")
    matched_N = right_N[order]
    one = GroupRecords(
        video_N=np.zeros(order.size, dtype=np.int32),
        rank_N=np.zeros(order.size, dtype=np.int32),
        score_N=score_N[order],
        prediction_N=order,
        matched_ATN=np.repeat(matched_N[None, None], len(IOU_THRESHOLDS), axis=1)
        & (np.arange(len(IOU_THRESHOLDS)) == 0)[:, None],
        ignored_ATN=np.zeros((1, len(IOU_THRESHOLDS), order.size), dtype=bool),
        annotation_TN=np.zeros((len(IOU_THRESHOLDS), order.size), dtype=np.int64),
        positives_AV=np.array([[positives]]),
    )
    return float(average_precision(one, 0, np.ones((1, 1)))[0, 0])


def _repaired(
    truth: GroundTruth, records: MatchRecords, kinds_KN: list[np.ndarray], t: int, best: _Best, repaired: int
) -> tuple[float, int]:
    """AP at a threshold with the errors of one kind repaired, and how many there are. repaired -3: none of them."""
    position = {identifier: g for g, identifier in enumerate(one.id for one in truth.instances)}
    claimed, wanted, errors = set(), set(), 0
    entries: list[list[tuple[float, bool]]] = [[] for _ in records.categories]
    moved: list[tuple[float, int]] = []
    for k, (group, kind_N) in enumerate(zip(records.categories, kinds_KN, strict=True)):
        target_N = np.where(
            kind_N == _CLASSIFICATION, best.other_P[group.prediction_N], best.same_P[group.prediction_N]
        )
        for kind, score, target, identifier in zip(
            kind_N, group.score_N, target_N, group.annotation_TN[t], strict=True
        ):
            if kind == _IGNORED:
                continue
            if kind == _RIGHT:
                claimed.add(position[int(identifier)])
            elif kind in (_CLASSIFICATION, _SEGMENTATION, _TRACKING):
                wanted.add(int(target))
            if kind != repaired:
                entries[k].append((score, kind == _RIGHT))
                continue
            errors += 1
            if kind != _SPURIOUS:
                moved.append((score, int(target)))
    category_position = {category: k for k, category in enumerate(records.category_ids)}
    for score, target in sorted(moved, key=lambda entry: -entry[0]):
        if target not in claimed:
            claimed.add(target)
            entries[category_position[truth.instances[target].category_id]].append((score, True))
    positives_K = [int(group.positives_AV[0].sum()) for group in records.categories]
    if repaired == _MISSED:
        for g, instance in enumerate(truth.instances):
            if not instance.crowd and g not in claimed and g not in wanted:
                positives_K[category_position[instance.category_id]] -= 1
                errors += 1
    values = []
    for group, entry, positives in zip(records.categories, entries, positives_K, strict=True):
        if not group.positives_AV[0].any():
            continue
        score_N, right_N = (np.array(column) for column in zip(*entry, strict=True)) if entry else (np.zeros(0),) * 2
        # a category that has nothing left to be missed: every instance that is asked for is found
        values.append(1.0 if not positives else _ap(score_N, right_N.astype(bool), positives))
    return float(mean_over_categories(np.array(values)[:, None])[0]) if values else float("nan"), errors


def error_gains(
    truth: GroundTruth, predictions: Sequence[Prediction], records: MatchRecords
) -> dict[str, dict[str, float | int | None]]:
    """AP gained by the repair of each kind of error of `KINDS`; definitions in the module's text.

    Args:
        truth, predictions: what was matched. records: fresh from `match` (with its overlaps).

    Returns:
        {kind: {"AP50": gain at IoU 0.5, "AP": mean gain over the ten thresholds, both in 0..1 and None where AP is
        undefined; "count": errors of that kind at IoU 0.5}}.
    """
    best = _best(truth, predictions, records)
    gains = np.zeros((len(KINDS), len(IOU_THRESHOLDS)))
    counts = np.zeros_like(gains, dtype=int)
    for t in range(len(IOU_THRESHOLDS)):
        kinds_KN = [_kinds(group, t, best) for group in records.categories]
        before, _ = _repaired(truth, records, kinds_KN, t, best, -3)
        for kind in range(len(KINDS)):
            after, counts[kind, t] = _repaired(truth, records, kinds_KN, t, best, kind)
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
