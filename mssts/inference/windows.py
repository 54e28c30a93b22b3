"""Windows of a video, and tracks that join what was found in one window after another.

Memory is bounded by a window: of the windows before stay run lengths, boxes, scores, and the embedding of each track.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools import mask as run_length
from scipy.optimize import linear_sum_assignment

MIN_IOU = 0.5  # of the masks in the frames that a track and a window share, if both show the object there
# Cosine of the embeddings, if the frames that they share do not show the object in both. At the embedded scale, 94 % of
# the pairs of one object in neighbouring windows reach it, and 26 % of the pairs of two objects.
MIN_SIMILARITY = 0.6
REMEMBERED = 10  # tracks that are kept from window to window, for each one that is reported
NO_BOX = [0.0] * 4

Masks = list[dict[str, Any] | None]
"""Run lengths of a mask in each frame; None where it is empty."""


def windows(frames: Iterable[torch.Tensor], length: int, overlap: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Cut a video into windows while its frames are read.

    The last window reaches further back, so that it is as long as the others. A video that is not longer than a window
    is one window.

    Args:
        frames: Frames of one size.
        length: Frames of a window.
        overlap: Frames that a window shares with the one before, fewer than `length`.

    Yields:
        Position of its first frame in the video, and the frames of a window, stacked.
    """
    held, end, done, due = deque[torch.Tensor](maxlen=length), 0, 0, length
    for end, frame in enumerate(frames, 1):
        held.append(frame)
        if end == due:
            window = torch.stack(tuple(held))
            held.extend(window)  # views: each frame is held once while the window is in use
            yield end - length, window
            done, due = end, end + length - overlap
    if end > done:
        window = torch.stack(tuple(held))
        held.clear()
        yield end - len(window), window


class Part(NamedTuple):
    """What one query found in a window of T frames.

    Attributes:
        start: Position of the first frame in the video.
        scores_K: Score of each class, float64; below 0 for one that is never reported.
        embedding_C: Instance query behind the last decoder layer minus the mean of all of them, of length 1.
        segmentations: T masks.
        boxes: T boxes, as in `mssts.ytvis.boxes`.
    """

    start: int
    scores_K: np.ndarray
    embedding_C: np.ndarray
    segmentations: Masks
    boxes: list[list[float]]


class Found(NamedTuple):
    """A track with one of its classes.

    Attributes:
        number: Number of the track; the same for each of its classes.
        label: Index of the class.
        score: Its score.
        segmentations: A mask for each frame of the video.
        boxes: Likewise.
    """

    number: int
    label: int
    score: float
    segmentations: Masks
    boxes: list[list[float]]


class Track:
    """What was joined.

    Args:
        number: Its number among the tracks of the video, from 0.
        part: The first part.

    Attributes:
        segmentations: Masks, from the first frame of the video to the last one of the last part.
        boxes: Likewise; zeros where it has no part.
    """

    def __init__(self, number: int, part: Part) -> None:
        self.number = number
        self.segmentations: Masks = []
        self.boxes: list[list[float]] = []
        self._frames, self._sums_K = 0, np.zeros_like(part.scores_K)
        self.add(part)

    def add(self, part: Part) -> None:
        """Add a part. Of the frames that they share, the first half stays, and the second half is that of the part."""
        end, frames = len(self.segmentations), len(part.segmentations)
        absent = max(0, part.start - end)
        middle = max(part.start, (part.start + end) // 2)
        self.segmentations[middle:] = [None] * absent + part.segmentations[middle - part.start :]
        self.boxes[middle:] = [NO_BOX] * absent + part.boxes[middle - part.start :]
        self._frames += frames
        self._sums_K = self._sums_K + frames * part.scores_K
        self._embedding_C = part.embedding_C

    @property
    def scores_K(self) -> np.ndarray:
        """Mean of the scores of its parts, weighted by their frames."""
        return self._sums_K / self._frames

    def affinity(self, part: Part) -> float:
        """How well a part continues the track; 0 if it does not."""
        similarity = float(self._embedding_C @ part.embedding_C)
        iou = mask_iou(self.segmentations[part.start :], part.segmentations)
        if iou is None:
            return similarity if similarity >= MIN_SIMILARITY else 0.0
        return iou + max(0.0, similarity) if iou >= MIN_IOU else 0.0


def mask_iou(first: Masks, second: Masks) -> float | None:
    """IoU of two objects over the frames that both lists have; None unless each has a mask that is not empty there."""
    pairs = list(zip(first, second, strict=False))
    areas = [int(run_length.area([mask for mask in masks if mask]).sum()) for masks in zip(*pairs, strict=True)]
    if not all(areas) or not areas:
        return None
    both = [run_length.merge([one, other], intersect=True) for one, other in pairs if one and other]
    intersection = int(run_length.area(both).sum())
    return intersection / (sum(areas) - intersection)


class Tracks:
    """The tracks of a video, joined window by window.

    Args:
        top_k: (track, class) pairs that are reported.

    Attributes:
        length: Frames of the video so far.
    """

    def __init__(self, top_k: int) -> None:
        self.length = 0
        self._top_k = top_k
        self._tracks: list[Track] = []
        self._made = 0

    def join(self, parts: Sequence[Part], end: int) -> None:
        """Continue the tracks by the parts that a window found, one to one, with the largest sum of affinities.

        A track that ended in an earlier window is continued as well, if its embedding is similar enough. A part that
        continues none becomes a track.

        Args:
            parts: Of one window, in the order in which equal scores are reported.
            end: Position behind the window's last frame in the video.
        """
        affinity_NP = np.array([[track.affinity(part) for part in parts] for track in self._tracks])
        affinity_NP = affinity_NP.reshape(len(self._tracks), len(parts))
        pairs = zip(*linear_sum_assignment(affinity_NP, maximize=True), strict=True)
        continued = {part: self._tracks[track] for track, part in pairs if affinity_NP[track, part] > 0}
        for position, part in enumerate(parts):
            if position in continued:
                continued[position].add(part)
            else:
                self._tracks.append(Track(self._made, part))
                self._made += 1
        self.length = end
        best_first = sorted(self._tracks, key=lambda track: -track.scores_K.max())
        self._tracks = sorted(best_first[: REMEMBERED * self._top_k], key=lambda track: track.number)

    def best(self) -> list[Found]:
        """The best (track, class) pairs, best first."""
        found = []
        scores = np.concatenate([track.scores_K for track in self._tracks] or [np.empty(0)])
        for pair in np.argsort(-scores, kind="stable")[: self._top_k].tolist():
            position, label = divmod(pair, len(scores) // len(self._tracks))
            track = self._tracks[position]
            if scores[pair] >= 0:
                absent = self.length - len(track.segmentations)
                masks, boxes = track.segmentations + [None] * absent, track.boxes + [NO_BOX] * absent
                found.append(Found(track.number, label, float(scores[pair]), masks, boxes))
        return found
