"""IoU of spatio-temporal masks: intersections and unions summed over the frames of a video before dividing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mssts.evaluation.tracks import Track


def shared_and_united(predicted: Sequence[Track], annotated: Sequence[Track]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that each predicted shares with each annotated track of one video, and those that one or both have.

    Returns two (P, G, T) int64, for each frame.
    T: of the longest track. Frames are paired as the public code pairs them: the shorter track ends both, and two masks
    of different sizes count as empty (accepted with `lenient` only).
    """
    frames = max((track.areas_T.size for track in (*predicted, *annotated)), default=0)
    shared_PGT = np.zeros((len(predicted), len(annotated), frames), dtype=np.int64)
    united_PGT = np.zeros_like(shared_PGT)
    regular = [p for p, track in enumerate(predicted) if track.irregular is None]
    outlines = _Outlines([predicted[p] for p in regular])
    for g, second in enumerate(annotated):
        if second.irregular is None and regular:
            shared_PT = outlines.shared_pixels(second)
            shared_PGT[regular, g, : second.areas_T.size] = shared_PT
            areas_T = second.areas_T.astype(np.int64)
            united_PGT[regular, g, : areas_T.size] = outlines.areas_PT + areas_T - shared_PT
        for p, first in enumerate(predicted):
            if first.irregular is not None or second.irregular is not None:
                for t, masks in enumerate(zip(first.masks(), second.masks(), strict=False)):
                    shared_PGT[p, g, t], united_PGT[p, g, t] = _irregular_pixels(*masks)
    return shared_PGT, united_PGT


def ratio(shared: np.ndarray, united: np.ndarray) -> np.ndarray:
    """IoU in 0..1, float64; 0 where nothing is united."""
    return np.divide(shared, united, out=np.zeros(shared.shape), where=united > 0)


def video_iou(predicted: Sequence[Track], annotated: Sequence[Track]) -> np.ndarray:
    """IoU of each predicted with each annotated track of one video.

    Returns:
        (P, G) float64 in 0..1: sum of intersections / sum of unions. A frame in which only one of the two is present
        adds to the union; 0 where both are empty in every frame. The numbers of pixels are exact integers.

    Source: [code] YouTube-VIS evaluation.
    """
    shared_PGT, united_PGT = shared_and_united(predicted, annotated)
    return ratio(shared_PGT.sum(axis=2), united_PGT.sum(axis=2))


class _Outlines:
    """Regular tracks of one video, their uppermost intervals side by side on common columns."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tracks
        self.left = min((track.left for track in tracks), default=0)
        right = max((track.left + track.top_TX.shape[1] for track in tracks), default=0)
        self.areas_PT = np.array([track.areas_T for track in tracks], dtype=np.int64)
        rows_TX = tracks[0].top_TX if tracks else np.zeros((0, 0), dtype=np.int16)
        self.top_PTX = np.zeros((len(tracks), len(rows_TX), right - self.left), dtype=rows_TX.dtype)
        self.bottom_PTX = np.zeros_like(self.top_PTX)
        for p, track in enumerate(tracks):
            columns = slice(track.left - self.left, track.left - self.left + track.top_TX.shape[1])
            self.top_PTX[p, :, columns], self.bottom_PTX[p, :, columns] = track.top_TX, track.bottom_TX

    def shared_pixels(self, other: Track) -> np.ndarray:
        """(P, T) int64, number of pixels that each track shares with another one in each frame.

        [ours]: the uppermost intervals of two columns share the rows from the lower top to the upper bottom, if any.
        The further intervals, few as a rule, are held against the uppermost and the further ones of the other track.
        """
        left = max(self.left, other.left)
        right = max(min(self.left + self.top_PTX.shape[2], other.left + other.top_TX.shape[1]), left)
        own, others = slice(left - self.left, right - self.left), slice(left - other.left, right - other.left)
        rows_PTX = np.minimum(self.bottom_PTX[:, :, own], other.bottom_TX[:, others])
        rows_PTX -= np.maximum(self.top_PTX[:, :, own], other.top_TX[:, others])
        shared_PT = np.maximum(rows_PTX, 0, out=rows_PTX).sum(axis=2, dtype=np.int64)
        for shared_T, track in zip(shared_PT, self.tracks, strict=True):
            if other.further_N4.size:
                shared_T += _further_and_uppermost(other, track)
            if track.further_N4.size:
                shared_T += _further_and_uppermost(track, other)
            if track.further_N4.size and other.further_N4.size:
                shared_T += _further_and_further(track, other)
        return shared_PT


def _further_and_uppermost(first: Track, second: Track) -> np.ndarray:
    """(T,) int64, pixels that the further intervals of the first track share with the uppermost of the second."""
    frame, column, top, bottom = first.further_N4.T
    column = column - second.left
    inside = (column >= 0) & (column < second.top_TX.shape[1])
    frame, column, top, bottom = frame[inside], column[inside], top[inside], bottom[inside]
    rows = np.minimum(bottom, second.bottom_TX[frame, column]) - np.maximum(top, second.top_TX[frame, column])
    return _by_frame(frame, np.maximum(rows, 0), len(first.areas_T))


def _further_and_further(first: Track, second: Track) -> np.ndarray:
    """(T,) int64, pixels that the further intervals of two tracks share.

    The pixels of the second before a place in the video grow linearly between the edges of its intervals.
    """
    edges, own = (_edges(track) for track in (first, second))
    covered = np.cumsum(own[1::2] - own[::2])
    before = np.stack([np.concatenate(([0.0], covered[:-1])), covered], axis=1).ravel()
    shares = np.diff(np.interp(edges, own, before))[::2]
    return _by_frame(first.further_N4[:, 0], shares, len(first.areas_T))


def _edges(track: Track) -> np.ndarray:
    """(2N,) float64, where the further intervals begin and end, in pixels of the frames laid end to end."""
    height, width = track.size
    frame, column, *rows = track.further_N4.T.astype(np.float64)
    return ((frame * width + column) * height + rows).T.ravel()


def _by_frame(frame: np.ndarray, pixels: np.ndarray, frames: int) -> np.ndarray:
    return np.bincount(frame, weights=pixels, minlength=frames).astype(np.int64)


def _irregular_pixels(one: dict | None, other: dict | None) -> tuple[int, int]:
    """Pixels shared and united by two masks, either of which may be absent."""
    if one and other:
        if list(one["size"]) != list(other["size"]):
            return 0, 0
        pair = coco_mask.merge([one, other], True), coco_mask.merge([one, other])
        return int(coco_mask.area(pair[0])), int(coco_mask.area(pair[1]))
    return 0, int(coco_mask.area(one or other)) if one or other else 0
