"""AP and what else is read off predictions, computed once more from the files: plain and slow, by no code of mssts.

The definitions are those of docs/evaluation.md and, of the kinds of error, of `mssts.evaluation.errors`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as run_length

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
KINDS = ("classification", "segmentation", "tracking", "spurious", "missed")


class Ranking(NamedTuple):
    """Detections by falling score, and for each of the ten thresholds what became of them.

    Attributes:
        video_N: Position of the video.
        entry_N: Position in the submission.
        score_N: Score.
        right_TN: Whether a detection is matched to an instance that counts.
        ignored_TN: Whether it is matched to one that does not.
        matched_TN: Position of the annotation that it is matched to, -1 for none.
        rank_N: Position among the detections of its video.
        instances_V: Instances of each video that count.
    """

    video_N: np.ndarray
    entry_N: np.ndarray
    score_N: np.ndarray
    right_TN: np.ndarray
    ignored_TN: np.ndarray
    matched_TN: np.ndarray
    rank_N: np.ndarray
    instances_V: np.ndarray


@dataclass
class Overlaps:
    """Of one video: annotations and predictions by their position in the files, and their IoU as (D, G) arrays."""

    annotations: list[int]
    entries: list[int]
    masks: np.ndarray
    boxes: np.ndarray
    frames: np.ndarray  # (D, G, T)


class Evaluation:
    """One submission on one split."""

    def __init__(self, annotations: Path, predictions: Path) -> None:
        truth = json.loads(annotations.read_text())
        self.videos, self.instances = sorted(truth["videos"], key=lambda one: one["id"]), truth["annotations"]
        self.categories = {one["id"]: one["name"] for one in truth["categories"]}
        self.entries = json.loads(predictions.read_text())
        beside = predictions.with_name("predictions.boxes.json")
        self._boxes = json.loads(beside.read_text()) if beside.is_file() else None
        self.overlaps = [self._overlaps(video) for video in self.videos]
        self.ranking = cache(self._ranking)

    def _overlaps(self, video: dict[str, Any]) -> Overlaps:
        shape = video["length"], video["height"], video["width"]
        own = [n for n, one in enumerate(self.instances) if one["video_id"] == video["id"]]
        found = [n for n, one in enumerate(self.entries) if one["video_id"] == video["id"]]
        found.sort(key=lambda n: -self.entries[n]["score"])
        truth_GTP, masks_DTP = (
            np.array([pixels(one[n]["segmentations"], shape) for n in numbers]).reshape(
                len(numbers), shape[0], shape[1] * shape[2]
            )
            for one, numbers in ((self.instances, own), (self.entries, found))
        )
        both_DGT = np.einsum("dtp,gtp->dgt", masks_DTP, truth_GTP)
        either_DGT = masks_DTP.sum(-1)[:, None] + truth_GTP.sum(-1)[None] - both_DGT
        boxes = np.zeros((len(found), len(own)))
        if self._boxes is not None and found:
            around_GT4 = np.array([[box_around(one) for one in frames] for frames in truth_GTP.reshape(-1, *shape)])
            boxes = _box_iou(np.array([self._boxes[n] for n in found]), around_GT4.reshape(len(own), shape[0], 4))
        frames = both_DGT / np.maximum(either_DGT, 1)
        return Overlaps(own, found, both_DGT.sum(-1) / np.maximum(either_DGT.sum(-1), 1), boxes, frames)

    def counts(self, annotation: int, challenge: str | None = None) -> bool:
        """Whether an instance counts: no crowd does, and for a challenge only those that show it."""
        instance = self.instances[annotation]
        return not instance["iscrowd"] and (challenge is None or instance["attributes"][challenge])

    def _ranking(self, category: int | None, challenge: str | None = None, boxes: bool = False) -> Ranking:
        """Match the detections of a category, or of all pooled; only videos that show the challenge count."""
        rows, instances_V = [], np.zeros(len(self.videos), int)
        for v, video in enumerate(self.overlaps):
            columns = [g for g, n in enumerate(video.annotations) if self._is(self.instances[n], category)]
            ignored = [not self.counts(video.annotations[g], challenge) for g in columns]
            crowds = {g for g, column in enumerate(columns) if not self.counts(video.annotations[column])}
            instances_V[v] = len(ignored) - sum(ignored)
            lines = [d for d, n in enumerate(video.entries) if self._is(self.entries[n], category)]
            iou_DG = (video.boxes if boxes else video.masks)[np.ix_(lines, columns)]
            matches_TD = [_greedy(iou_DG, ignored, crowds, threshold) for threshold in THRESHOLDS]
            for rank, d in enumerate(lines):
                own_T = [matches_D[rank] for matches_D in matches_TD]
                matched_T = [-1 if g is None else video.annotations[columns[g]] for g in own_T]
                ignored_T = [g is not None and ignored[g] for g in own_T]
                entry = video.entries[d]
                rows.append((v, entry, self.entries[entry]["score"], matched_T, ignored_T, rank))
        if challenge is not None:  # of the instances of all categories
            shown = {
                v for v, video in enumerate(self.overlaps) if any(self.counts(n, challenge) for n in video.annotations)
            }
            rows = [row for row in rows if row[0] in shown]
        rows.sort(key=lambda row: -row[2])
        video_N, entry_N, score_N, matched_NT, ignored_NT, rank_N = (
            np.array([row[column] for row in rows], kind)
            for column, kind in enumerate((int, int, float, int, bool, int))
        )
        matched_TN, ignored_TN = matched_NT.reshape(-1, 10).T, ignored_NT.reshape(-1, 10).T
        right_TN = (matched_TN >= 0) & ~ignored_TN
        return Ranking(video_N, entry_N, score_N, right_TN, ignored_TN, matched_TN, rank_N, instances_V)

    @staticmethod
    def _is(one: dict[str, Any], category: int | None) -> bool:
        return category is None or one["category_id"] == category

    def ap(self, challenge: str | None = None, weights_V: np.ndarray | None = None, **how: Any) -> float:
        """AP in percent.

        Args:
            challenge: Over the instances that show it.
            weights_V: How often each video counts; None: once.
            how: `thresholds`, positions of IoU thresholds; `pooled`, class-agnostic; `boxes`; `category`, only one.
        """
        thresholds, weights = how.get("thresholds", range(10)), self._weights(weights_V)
        groups = [None] if how.get("pooled") else [how["category"]] if "category" in how else list(self.categories)
        values = []
        for category in groups:
            ranking = self.ranking(category, challenge, how.get("boxes", False))
            total = int(ranking.instances_V @ weights)
            repeats = weights[ranking.video_N]
            values.append([np.nan if not total else _ap_of(ranking, t, repeats, total) for t in thresholds])
        counted = np.array(values)[~np.isnan(np.array(values)).any(axis=1)]
        return 100 * float(counted.mean()) if counted.size else float("nan")

    def ar(self, most: int) -> float:
        """AR in percent with so many detections for each video and category."""
        values = []
        for category in self.categories:
            ranking = self.ranking(category)
            if ranking.instances_V.any():
                values.append(ranking.right_TN[:, ranking.rank_N < most].sum(axis=1) / ranking.instances_V.sum())
        return 100 * float(np.mean(values))

    def _weights(self, weights_V: np.ndarray | None) -> np.ndarray:
        return np.ones(len(self.videos), int) if weights_V is None else weights_V

    def size(self, challenge: str | None = None) -> tuple[int, int]:
        """Number of videos with an instance that counts, and of these instances."""
        instances_V = self.ranking(None, challenge).instances_V
        return int((instances_V > 0).sum()), int(instances_V.sum())

    def found_as(self) -> np.ndarray:
        """Counts of instances: a row for each category, a column for each one that they are found as, and missed."""
        position = {category: k for k, category in enumerate(self.categories)}
        counts_KC = np.zeros((len(position), len(position) + 1), int)
        ranking = self.ranking(None)
        entry_of = dict(zip(ranking.matched_TN[0].tolist(), ranking.entry_N.tolist(), strict=True))
        for n, instance in enumerate(self.instances):
            if not self.counts(n):
                continue
            column = position[self.entries[entry_of[n]]["category_id"]] if n in entry_of else len(position)
            counts_KC[position[instance["category_id"]], column] += 1
        return counts_KC

    def calibration_gaps(self) -> list[tuple[int, float]]:
        """For each tenth of the scores: detections, and how far their mean score is from the share that is right."""
        rankings = [self.ranking(category) for category in self.categories]
        score_N = np.concatenate([one.score_N[~one.ignored_TN[0]] for one in rankings])
        right_N = np.concatenate([one.right_TN[0, ~one.ignored_TN[0]] for one in rankings])
        tenth_N = np.minimum((score_N * 10).astype(int), 9)
        chosen = [tenth_N == tenth for tenth in np.unique(tenth_N)]
        return [(int(own.sum()), abs(score_N[own].mean() - right_N[own].mean())) for own in chosen]

    def found_share(self, video: int) -> float | None:
        """Share of the instances of a video that are found, averaged over thresholds, whatever is in other videos."""
        values, total = np.zeros(10), 0
        for category in self.categories:
            ranking = self.ranking(category)
            own = (ranking.video_N == video) & (ranking.rank_N < 10)
            values += ranking.right_TN[:, own].sum(axis=1)
            total += ranking.instances_V[video]
        return float((values / total).mean()) if total else None

    def error_gains(self) -> dict[str, float]:
        """AP in percentage points that the repair of each kind of error gains."""
        gains_TK = [[_gain(self, t, kind) for kind in KINDS] for t in range(10)]
        return dict(zip(KINDS, 100 * np.mean(gains_TK, axis=0), strict=True))


def pixels(segmentations: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """The masks of a track, of frames, height and width."""
    masks_THW, seen = np.zeros(shape), [t for t, one in enumerate(segmentations) if one]
    if seen:
        masks_THW[seen] = run_length.decode([segmentations[t] for t in seen]).transpose(2, 0, 1)
    return masks_THW


def box_around(mask_HW: np.ndarray) -> list[int]:
    """The box x, y, width, height around a mask, with its last column and row; zeros for an empty one."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not rows.size:
        return [0, 0, 0, 0]
    return [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]


def _box_iou(found_DT4: np.ndarray, truth_GT4: np.ndarray) -> np.ndarray:
    found, truth = found_DT4[:, None], truth_GT4[None]
    low = np.maximum(found[..., :2], truth[..., :2])
    high = np.minimum(found[..., :2] + found[..., 2:], truth[..., :2] + truth[..., 2:])
    both_DG = np.prod(np.maximum(high - low, 0), axis=-1).sum(-1)
    areas = np.prod(found[..., 2:], axis=-1).sum(-1) + np.prod(truth[..., 2:], axis=-1).sum(-1)
    return both_DG / np.maximum(areas - both_DG, 1e-9)


def _greedy(iou_DG: np.ndarray, ignored: list[bool], crowds: set[int], threshold: float) -> list[int | None]:
    """For each detection, best first, the free instance of largest IoU; one that counts before one that does not.

    A crowd stays free.
    """
    free, matches = set(range(len(ignored))), []
    for iou_G in iou_DG:
        able = [g for g in free if iou_G[g] >= threshold]
        match = max(able, key=lambda g: (not ignored[g], iou_G[g]), default=None)
        free -= {match} - crowds
        matches.append(match)
    return matches


def _ap_of(ranking: Ranking, t: int, repeats_N: np.ndarray, total: int) -> float:
    kept = ~ranking.ignored_TN[t]
    return _interpolated(np.repeat(ranking.right_TN[t, kept], repeats_N[kept]), total)


def _interpolated(right_N: np.ndarray, total: int) -> float:
    """Mean over the recalls of the best precision at this recall or a larger one."""
    found = np.cumsum(right_N)
    precision = found / np.arange(1, found.size + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(found / total, RECALLS)].mean())


def _gain(evaluation: Evaluation, t: int, repaired: str) -> float:
    """AP in 0..1 at one threshold after the repair of one kind of error, minus that before."""
    detections = []  # category, score, right, kind of error, instance that it is about
    for category in evaluation.categories:
        ranking = evaluation.ranking(category)
        for n in range(len(ranking.score_N)):
            kind, target = _kind(evaluation, ranking, t, n)
            if kind != "ignored":
                detections.append((category, ranking.score_N[n], kind is None, kind, target))
    found = {one[4] for one in detections if one[2]}
    about = found | {one[4] for one in detections if one[3] in KINDS[:3]}
    totals = dict.fromkeys(evaluation.categories, 0)
    for n, instance in enumerate(evaluation.instances):
        totals[instance["category_id"]] += evaluation.counts(n) and (repaired != "missed" or n in about)
    after, before = [], []
    for category, _, right, kind, target in sorted(detections, key=lambda one: -one[1]):
        before.append((category, right))
        if kind != repaired:
            after.append((category, right))
        elif kind in KINDS[:3] and target not in found:
            found.add(target)
            after.append((evaluation.instances[target]["category_id"], True))
    return _mean_ap(after, totals) - _mean_ap(before, _totals(evaluation))


def _totals(evaluation: Evaluation) -> dict[int, int]:
    categories = [one["category_id"] for n, one in enumerate(evaluation.instances) if evaluation.counts(n)]
    return {category: categories.count(category) for category in evaluation.categories}


def _mean_ap(ranking: list[tuple[int, bool]], totals: dict[int, int]) -> float:
    values = []
    for category, total in totals.items():
        right_N = np.array([right for own, right in ranking if own == category], bool)
        values.append(_interpolated(right_N, total) if total else 1.0)
    return float(np.mean(values))


def _kind(evaluation: Evaluation, ranking: Ranking, t: int, n: int) -> tuple[str | None, int]:
    """The kind of error that a detection is, None for a right one, and the instance that it is about."""
    entry, video = int(ranking.entry_N[n]), evaluation.overlaps[ranking.video_N[n]]
    if ranking.right_TN[t, n]:
        return None, int(ranking.matched_TN[t, n])
    category, d = evaluation.entries[entry]["category_id"], video.entries.index(entry)
    if ranking.ignored_TN[t, n]:
        return "ignored", -1
    best = {}
    for same in (True, False):
        columns = [
            g
            for g, a in enumerate(video.annotations)
            if evaluation.counts(a) and (evaluation.instances[a]["category_id"] == category) == same
        ]
        column = max(columns, key=lambda g: video.masks[d, g], default=None)
        best[same] = (0.0, -1) if column is None else (video.masks[d, column], video.annotations[column])
    frames_GT = video.frames[d, [evaluation.counts(a) for a in video.annotations]]
    followed = {int(iou_G.argmax()) for iou_G in frames_GT.T if iou_G.size and iou_G.max() >= 0.5}
    if best[True][0] >= THRESHOLDS[t]:
        return "spurious", -1
    if best[False][0] >= THRESHOLDS[t]:
        return "classification", best[False][1]
    if best[True][0] >= 0.1:
        return "tracking" if len(followed) > 1 else "segmentation", best[True][1]
    return "spurious", -1
