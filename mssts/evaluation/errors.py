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

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mssts.evaluation.average_precision import (
    average_precision,
    average_precision_of_ranking,
    mean_over_categories,
    none_if_nan,
)
from mssts.evaluation.matching import IOU_THRESHOLDS, MIN_OVERLAP, MatchRecords, Overlaps, joined
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.submission import Prediction

KINDS = ("classification", "segmentation", "tracking", "spurious", "missed")
_CLASSIFICATION, _SEGMENTATION, _TRACKING, _SPURIOUS, _MISSED = range(len(KINDS))  # the first three are about a target
_RIGHT, _IGNORED = -1, -2


def _best_overlaps(
    truth: Annotations, predictions: Sequence[Prediction], overlaps: Overlaps
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each prediction the instances with the largest video IoU, crowds left out.

    Returns:
        best_2P: Positions of the instance of the same category and of the one of another, -1 if there is none.
        iou_2P: Their IoU.
        switches_P: Whether the prediction switches identity.
    """
    count = 1 + max((prediction.index for prediction in predictions), default=-1)
    category_of = {prediction.index: prediction.category_id for prediction in predictions}
    best_2P, iou_2P, switches_P = np.full((2, count), -1), np.zeros((2, count)), np.zeros(count, dtype=bool)
    for p, g, iou in zip(overlaps.prediction_P, overlaps.instance_P, overlaps.iou_P, strict=True):
        instance = truth.tracks[g]
        other = int(instance.category_id != category_of[p])
        if not instance.crowd and iou > iou_2P[other, p]:
            best_2P[other, p], iou_2P[other, p] = g, iou
    for p in np.flatnonzero((iou_2P[0] > 0) & (iou_2P[0] < IOU_THRESHOLDS[-1])).tolist():
        followed_T = overlaps.followed[p]
        switches_P[p] = np.unique(followed_T[followed_T >= 0]).size > 1
    return best_2P, iou_2P, switches_P


@dataclass(frozen=True)
class _Errors:
    """Detections of all categories, category after category, and instances, at one threshold.

    Attributes:
        category_N: Position of the category of each detection.
        score_N: Its score.
        kind_N: Its kind, or `_RIGHT` or `_IGNORED`.
        target_N: Position of the instance that an error of the first three kinds is about.
        category_G: Position of the category of each instance.
        found_G: Whether the instance is matched.
        missed_K: Number of missed instances of each category.
        positives_K: Number of instances of each category that count.
        before_K: AP of each category.
    """

    category_N: np.ndarray
    score_N: np.ndarray
    kind_N: np.ndarray
    target_N: np.ndarray
    category_G: np.ndarray
    found_G: np.ndarray
    missed_K: np.ndarray
    positives_K: np.ndarray
    before_K: np.ndarray

    def repaired(self, kind: int) -> tuple[float, int]:
        """AP after the repair of one kind of error, and the number of these errors."""
        errors = np.flatnonzero(self.kind_N == kind)
        moved = self._best_per_target(errors) if kind <= _TRACKING else errors[:0]
        fewer_K = self.missed_K * (kind == _MISSED)
        right_N, category_N = self.kind_N == _RIGHT, self.category_N.copy()
        right_N[moved], category_N[moved] = True, self.category_G[self.target_N[moved]]
        kept = np.flatnonzero((self.kind_N != kind) & (self.kind_N != _IGNORED))
        ranking = np.concatenate([kept, moved])
        ranking = ranking[np.argsort(-self.score_N[ranking], kind="stable")]
        changed_K = fewer_K > 0
        changed_K[self.category_N[errors]] = changed_K[category_N[moved]] = True
        after_K = self.before_K.copy()
        for k in np.flatnonzero(changed_K & ~np.isnan(self.before_K)):
            right = right_N[ranking[category_N[ranking] == k]]
            positives = self.positives_K[k] - fewer_K[k]
            after_K[k] = average_precision_of_ranking(right, positives) if positives else 1.0
        return float(mean_over_categories(after_K)), int(errors.size + fewer_K.sum())

    def _best_per_target(self, errors: np.ndarray) -> np.ndarray:
        """The error of highest score about each instance that is not matched."""
        ranking = errors[np.argsort(-self.score_N[errors], kind="stable")]
        targets, first = np.unique(self.target_N[ranking], return_index=True)
        return ranking[first[~self.found_G[targets]]]


def _errors_by_threshold(
    truth: Annotations, predictions: Sequence[Prediction], records: MatchRecords, overlaps: Overlaps
) -> Iterator[_Errors]:
    """The errors at each of the IoU thresholds."""
    crowd_G = np.array([instance.crowd for instance in truth.tracks], dtype=bool)
    category_G = np.searchsorted(records.category_ids, [instance.category_id for instance in truth.tracks])
    positions: dict[int, list[int]] = {}  # more than one where an id is repeated (`lenient` only)
    for g, instance in enumerate(truth.tracks):
        positions.setdefault(instance.id, []).append(g)
    weights, groups = np.ones((1, len(records.video_ids))), records.categories
    before_KT = np.stack([average_precision(group, 0, weights)[0] for group in groups])
    positives_K = np.array([group.positives_AV[0].sum() for group in groups])
    category_N = np.repeat(np.arange(len(groups)), [group.score_N.size for group in groups])
    detections = joined(groups)
    prediction_N = detections["prediction_N"]
    best_2P, iou_2P, switches_P = _best_overlaps(truth, predictions, overlaps)
    (same_N, other_N), (same_iou_N, other_iou_N) = best_2P[:, prediction_N], iou_2P[:, prediction_N]
    for t, threshold in enumerate(IOU_THRESHOLDS):
        kind_N = np.select(
            [
                detections["ignored_ATN"][0, t],
                detections["matched_ATN"][0, t],
                same_iou_N >= threshold,
                other_iou_N >= threshold,
                (same_iou_N >= MIN_OVERLAP) & switches_P[prediction_N],
                same_iou_N >= MIN_OVERLAP,
            ],
            [_IGNORED, _RIGHT, _SPURIOUS, _CLASSIFICATION, _TRACKING, _SEGMENTATION],
            _SPURIOUS,
        )
        target_N = np.where(kind_N == _CLASSIFICATION, other_N, same_N)
        found_G = np.zeros(len(truth.tracks), dtype=bool)
        matched = Counter(detections["annotation_TN"][t, kind_N == _RIGHT].tolist())
        found_G[[g for annotation_id, count in matched.items() for g in positions[annotation_id][:count]]] = True
        missed_G = ~(crowd_G | found_G)
        missed_G[target_N[(kind_N >= _CLASSIFICATION) & (kind_N <= _TRACKING)]] = False
        missed_K = np.bincount(category_G[missed_G], minlength=len(groups))
        score_N, before_K = detections["score_N"], before_KT[:, t]
        yield _Errors(category_N, score_N, kind_N, target_N, category_G, found_G, missed_K, positives_K, before_K)


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
        raise ValueError("match records without overlaps: pass those that `match` returned, not ones from a file")
    gains = np.zeros((len(KINDS), len(IOU_THRESHOLDS)))
    counts = np.zeros_like(gains, dtype=int)
    for t, errors in enumerate(_errors_by_threshold(truth, predictions, records, records.overlaps)):
        before = float(mean_over_categories(errors.before_K))
        for kind in range(len(KINDS)):
            after, counts[kind, t] = errors.repaired(kind)
            gains[kind, t] = after - before
    return {
        name: {
            "AP50": none_if_nan(gains[kind, 0]),
            "AP": none_if_nan(gains[kind].mean()),
            "count": int(counts[kind, 0]),
        }
        for kind, name in enumerate(KINDS)
    }
