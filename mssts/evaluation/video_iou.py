"""IoU of tracks of masks or boxes: intersections and unions summed over the frames of a video before dividing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mssts.ytvis.masks import TrackMasks


def video_iou(predicted: Sequence[TrackMasks], annotated: Sequence[TrackMasks]) -> tuple[np.ndarray, np.ndarray]:
    """IoU of each predicted and each annotated track of one video [code: YouTube-VIS evaluation].

    Frames are paired as in the reference evaluator: the shorter track ends both, and two masks of different sizes count
    as empty (both happen with `lenient` only). The numbers of pixels are exact integers.

    Returns:
        (P, G) float64 in 0..1, sum of intersections / sum of unions: a frame in which only one of the two is present
        adds to the union; 0 where both are empty in every frame. (P, G, T) float64, the IoU of each frame; T is the
        length of the longest track.
    """
    frames = max((track.areas_T.size for track in (*predicted, *annotated)), default=0)
    intersections_PGT = np.zeros((len(predicted), len(annotated), frames), dtype=np.int64)
    unions_PGT = np.zeros_like(intersections_PGT)
    regular = [p for p, track in enumerate(predicted) if track.irregular is None]
    outlines = _Outlines([predicted[p] for p in regular])
    for g, second in enumerate(annotated):
        if second.irregular is None and regular:
            intersections_PT = outlines.intersections(second)
            intersections_PGT[regular, g, : second.areas_T.size] = intersections_PT
            areas_T = second.areas_T.astype(np.int64)
            unions_PGT[regular, g, : areas_T.size] = outlines.areas_PT + areas_T - intersections_PT
        for p, first in enumerate(predicted):
            if first.irregular is not None or second.irregular is not None:
                for t, masks in enumerate(zip(first.run_lengths(), second.run_lengths(), strict=False)):
                    intersections_PGT[p, g, t], unions_PGT[p, g, t] = _irregular_pixels(*masks)
    return _iou(intersections_PGT.sum(axis=2), unions_PGT.sum(axis=2)), _iou(intersections_PGT, unions_PGT)


def video_iou_of_boxes(predicted_PT4: np.ndarray, annotated_GT4: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU of each predicted and each annotated track of boxes of one video [ours]: that of masks, with areas of boxes.

    Args:
        predicted_PT4: x, y, width, height in pixels.
        annotated_GT4: The same, NaN in a frame from which the object is absent. There the predicted box adds its area
            to the union, as a mask does: the decoder learns to predict a box without extent.

    Returns:
        As for `video_iou`.
    """
    predicted, annotated = (_corners(boxes)[:, None] for boxes in (predicted_PT4, annotated_GT4))
    annotated = annotated.swapaxes(0, 1)
    shared = np.concatenate([np.maximum(predicted, annotated)[..., :2], np.minimum(predicted, annotated)[..., 2:]], -1)
    shared_PGT = _areas(shared)
    united_PGT = _areas(predicted) + _areas(annotated) - shared_PGT
    return _iou(shared_PGT.sum(axis=2), united_PGT.sum(axis=2)), _iou(shared_PGT, united_PGT)


def _corners(boxes: np.ndarray) -> np.ndarray:
    """left, top, right, bottom of boxes x, y, width, height, (..., 4)."""
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def _areas(corners: np.ndarray) -> np.ndarray:
    """Areas of left, top, right, bottom, (..., 4); 0 where a side is negative or NaN."""
    return np.fmax(corners[..., 2:] - corners[..., :2], 0).prod(axis=-1)


def _iou(shared: np.ndarray, united: np.ndarray) -> np.ndarray:
    return np.divide(shared, united, out=np.zeros(shared.shape), where=united > 0)


class _Outlines:
    """Regular tracks of one video: their uppermost intervals on common columns, their extra intervals in one list."""

    def __init__(self, tracks: Sequence[TrackMasks]) -> None:
        self.left = min((track.left for track in tracks), default=0)
        right = max((track.left + track.top_TX.shape[1] for track in tracks), default=0)
        self.areas_PT = np.array([track.areas_T for track in tracks], dtype=np.int64)
        rows_TX = tracks[0].top_TX if tracks else np.zeros((0, 0), dtype=np.int16)
        self.top_PTX = np.zeros((len(tracks), len(rows_TX), right - self.left), dtype=rows_TX.dtype)
        self.bottom_PTX = np.zeros_like(self.top_PTX)
        for p, track in enumerate(tracks):
            columns = slice(track.left - self.left, track.left - self.left + track.top_TX.shape[1])
            self.top_PTX[p, :, columns], self.bottom_PTX[p, :, columns] = track.top_TX, track.bottom_TX
        self.extra_4N = np.concatenate(
            [np.zeros((4, 0), dtype=np.int32), *(track.extra_4N for track in tracks)], axis=1
        )
        self.track_N = np.repeat(np.arange(len(tracks)), [track.extra_4N.shape[1] for track in tracks])

    def intersections(self, other: TrackMasks) -> np.ndarray:
        """Number of pixels that each track shares with another one in each frame, (P, T) int64 [ours].

        The uppermost intervals of two columns share the rows from the lower top to the upper bottom, if there are any.
        The extra intervals, usually few, are compared with the uppermost and the extra ones of the other track.
        """
        left = max(self.left, other.left)
        right = max(min(self.left + self.top_PTX.shape[2], other.left + other.top_TX.shape[1]), left)
        own, others = slice(left - self.left, right - self.left), slice(left - other.left, right - other.left)
        rows_2PTX, rows_2TX = (self.top_PTX, self.bottom_PTX), (other.top_TX, other.bottom_TX)
        rows_PTX = _common_rows(*(rows[..., own] for rows in rows_2PTX), *(rows[..., others] for rows in rows_2TX))
        intersections_PT = rows_PTX.sum(axis=2, dtype=np.int64)
        if self.track_N.size:
            intersections_PT += self._extra_intersections(other)
        if other.extra_4N.size:
            column_M = other.extra_4N[1] - self.left
            inside = (column_M >= 0) & (column_M < self.top_PTX.shape[2])
            frame_M, _, top_M, bottom_M = other.extra_4N[:, inside]
            column_M = column_M[inside]
            tops_PM, bottoms_PM = self.top_PTX[:, frame_M, column_M], self.bottom_PTX[:, frame_M, column_M]
            for intersections_T, rows_M in zip(
                intersections_PT, _common_rows(tops_PM, bottoms_PM, top_M, bottom_M), strict=True
            ):
                intersections_T += np.bincount(frame_M, weights=rows_M, minlength=intersections_T.size).astype(np.int64)
        return intersections_PT

    def _extra_intersections(self, other: TrackMasks) -> np.ndarray:
        """Pixels of the extra intervals that are shared with another track, (P, T) int64.

        The number of pixels of its extra intervals before a position in the video grows linearly between their edges.
        """
        frame_N, column_N, top_N, bottom_N = self.extra_4N
        column_N = column_N - other.left
        inside = (column_N >= 0) & (column_N < other.top_TX.shape[1])
        place = frame_N, np.where(inside, column_N, 0)
        rows_N = np.zeros(frame_N.size)
        if other.top_TX.size:
            rows_N += inside * _common_rows(top_N, bottom_N, other.top_TX[place], other.bottom_TX[place])
        if other.extra_4N.size:
            edges = _edges(other.extra_4N, other.size)
            covered = np.cumsum(edges[1::2] - edges[::2])
            before = np.stack([np.concatenate(([0.0], covered[:-1])), covered], axis=1).ravel()
            rows_N += np.diff(np.interp(_edges(self.extra_4N, other.size), edges, before))[::2]
        frames = other.areas_T.size
        shared = np.bincount(self.track_N * frames + frame_N, weights=rows_N, minlength=self.areas_PT.size)
        return shared.astype(np.int64).reshape(self.areas_PT.shape)


def _common_rows(top: np.ndarray, bottom: np.ndarray, other_top: np.ndarray, other_bottom: np.ndarray) -> np.ndarray:
    """Number of rows that intervals of equal columns have in common."""
    rows = np.minimum(bottom, other_bottom)
    rows -= np.maximum(top, other_top)
    return np.maximum(rows, 0, out=rows)


def _edges(extra_4N: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(2N,) float64, where intervals begin and end, counted through the pixels of all frames."""
    height, width = size
    frame, column, *rows = extra_4N.astype(np.float64)
    return ((frame * width + column) * height + rows).T.ravel()


def _irregular_pixels(one: dict | None, other: dict | None) -> tuple[int, int]:
    """Pixels in the intersection and the union of two masks, either of which may be absent."""
    if one and other:
        if list(one["size"]) != list(other["size"]):
            return 0, 0
        pair = coco_mask.merge([one, other], True), coco_mask.merge([one, other])
        return int(coco_mask.area(pair[0])), int(coco_mask.area(pair[1]))
    return 0, int(coco_mask.area(one or other)) if one or other else 0
