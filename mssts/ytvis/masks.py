"""The masks of one object over a video: checked, and as intervals of rows, in which overlaps are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.core.compiled import load_compiled
from mssts.ytvis import run_length

RunLengthMasks = tuple[dict[str, Any] | None, ...]

_compiled = load_compiled("mssts.ytvis._compiled")


@dataclass(frozen=True, slots=True)
class TrackMasks:
    """Masks of one object in all T frames of a video, as intervals of rows, column by column.

    Attributes:
        areas_T: (T,) float64, pixels in each frame, 0 where the object is absent.
        present_T: (T,) bool, whether the file has a mask for the frame, even one without a pixel.
        size: Height and width of a frame in pixels.
        left: The first of the X columns that the object touches in any frame.
        top_TX: (T, X) integers, the row in which the uppermost interval of each column begins; 0 if there is none.
        bottom_TX: (T, X) integers, the row after the end of that interval; 0 if there is none.
        extra_4N: (4, N) int32, all other intervals: frame, column (from the left of the frame), first row and row
            after the last, in ascending order. Most objects have few of them.
        irregular: The run-length masks themselves if they are not one per frame of the video and all of its size
            (`lenient` only), else None. If set, the attributes from `left` to `extra_4N` are not used.
    """

    areas_T: np.ndarray
    present_T: np.ndarray
    size: tuple[int, int]
    left: int
    top_TX: np.ndarray
    bottom_TX: np.ndarray
    extra_4N: np.ndarray
    irregular: RunLengthMasks | None = None

    @property
    def mean_area(self) -> float:
        """Mean of the areas that are not zero, in pixels [code]."""
        present = np.count_nonzero(self.areas_T)
        return float(self.areas_T.sum()) / present if present else 0.0

    def boxes(self, frames: int) -> np.ndarray:
        """Boxes of the frames, (frames, 4) x, y, width, height in pixels; NaN in a frame without a pixel.

        Args:
            frames: At least as many as the video has.
        """
        boxes_T4 = np.full((frames, 4), np.nan)
        if self.irregular is not None:
            for frame, mask in enumerate(self.irregular[:frames]):
                if self.areas_T[frame]:
                    boxes_T4[frame] = coco_mask.toBbox(mask)
            return boxes_T4
        filled_TX = np.greater(self.bottom_TX, 0)
        seen_T = filled_TX.any(axis=1)
        if seen_T.any():
            left_T, from_right_T = filled_TX.argmax(axis=1), filled_TX[:, ::-1].argmax(axis=1)
            top_T = np.where(filled_TX, self.top_TX, self.size[0]).min(axis=1)
            bottom_T = self.bottom_TX.max(axis=1)
            np.maximum.at(bottom_T, self.extra_4N[0], self.extra_4N[3])
            width_T = filled_TX.shape[1] - left_T - from_right_T
            known_T4 = np.stack([self.left + left_T, top_T, width_T, bottom_T - top_T], axis=1)
            boxes_T4[np.flatnonzero(seen_T)] = known_T4[seen_T]
        return boxes_T4

    def decode(self, frames: Sequence[int]) -> np.ndarray:
        """Masks of the given frames, (frames, H, W) bool. Not for irregular masks."""
        height, width = self.size
        columns = self.top_TX.shape[1]
        # 1 in the first row of each interval, -1 in the row after its end.
        edges = np.zeros((len(frames), height + 1, columns), dtype=np.int8)
        top_FX, bottom_FX = self.top_TX[frames], self.bottom_TX[frames]
        n, x = np.nonzero(bottom_FX)
        edges[n, top_FX[n, x], x] = 1
        edges[n, bottom_FX[n, x], x] = -1
        for edges_HX, frame in zip(edges, frames, strict=True):
            _, column, top, bottom = self.extra_4N[:, self.extra_4N[0] == frame]
            np.add.at(edges_HX, (top, column - self.left), 1)
            np.subtract.at(edges_HX, (bottom, column - self.left), 1)
        masks = np.zeros((len(frames), height, width), dtype=bool)
        masks[:, :, self.left : self.left + columns] = np.cumsum(edges[:, :-1], axis=1, dtype=np.int8)
        return masks

    def run_lengths(self) -> RunLengthMasks:
        """A run-length mask for each frame, None where the object is absent."""
        if self.irregular is not None:
            return self.irregular
        height, width = self.size
        frames, columns = np.nonzero(self.bottom_TX)
        rows = self.top_TX[frames, columns], self.bottom_TX[frames, columns]
        intervals = np.concatenate([[frames, columns + self.left, *rows], self.extra_4N], axis=1)
        masks = []
        for frame, present in enumerate(self.present_T):
            _, column, top, bottom = intervals[:, intervals[0] == frame]
            starts, stops = np.sort(column * height + top), np.sort(column * height + bottom)
            joined = np.flatnonzero(starts[1:] == stops[:-1])  # a run over the border of two columns
            edges = np.stack([np.delete(starts, joined + 1), np.delete(stops, joined)], axis=1).ravel()
            runs = np.diff(edges, prepend=0, append=height * width)
            masks.append(run_length.compress(runs if runs[-1] else runs[:-1], height, width) if present else None)
        return tuple(masks)


@dataclass(frozen=True, slots=True)
class Polygons:
    """Checked polygons of an object in one still, which are drawn only when they are asked for.

    COCO has 860,000 objects, most of which a training run never sees.

    Attributes:
        polygons: Lists x1, y1, x2, y2, ... in pixels, without a `run_length.polygon_problem`.
        size: Height and width of the image in pixels.
    """

    polygons: Sequence[Sequence[float] | np.ndarray]
    size: tuple[int, int]

    def draw(self) -> TrackMasks:
        """The masks of the object."""
        masks = read_track([run_length.draw_polygons(self.polygons, *self.size)], *self.size)
        assert masks is not None
        return masks

    @property
    def mean_area(self) -> float:
        """Mean of the areas that are not zero, in pixels."""
        return self.draw().mean_area


def read_track(frames: Sequence[Any], height: int, width: int) -> TrackMasks | None:
    """Read and check the masks of one object.

    Args:
        frames: A run-length mask or None for each frame of the video.
        height: Height of the video in pixels.
        width: Width of the video in pixels.

    Returns:
        The masks; None if one has a `run_length.mask_problem`.
    """
    masks = _read_compiled(frames, height, width) if _compiled is not None else None
    return masks or _read_with_numpy(frames, height, width)


def _read_compiled(frames: Sequence[Any], height: int, width: int) -> TrackMasks | None:
    """`read_track` by the compiled reader, which refuses some valid masks too."""
    assert _compiled is not None
    dtype = row_type(height)
    found = _compiled.read_track(frames, height, width, dtype.itemsize)
    if found is None:
        return None
    areas, present, left, rows, extra = found
    rows_N = np.frombuffer(rows, dtype)
    top_TX, bottom_TX = rows_N.reshape(2, len(frames), rows_N.size // max(2 * len(frames), 1))
    extra_4N = np.frombuffer(extra, dtype=np.int32).reshape(4, -1)
    size = (height, width)
    return TrackMasks(np.frombuffer(areas), np.frombuffer(present, bool), size, left, top_TX, bottom_TX, extra_4N)


def row_type(height: int) -> np.dtype:
    """Type of the rows of masks of this height."""
    return np.dtype(np.int16 if height < 2**15 else np.int32)


def _read_with_numpy(frames: Sequence[Any], height: int, width: int) -> TrackMasks | None:
    """`read_track` by numpy."""
    masks = [mask for mask in frames if mask is not None]
    runs = run_length.read_runs(masks, height, width)
    if runs is None:
        return None
    present_T = np.array([mask is not None for mask in frames], dtype=bool)
    found, absent = iter(runs), np.array([height * width, 0])
    runs_T = [next(found) if present else absent for present in present_T]
    areas_T = np.array([runs_N[1::2].sum() for runs_N in runs_T], dtype=np.float64)
    runs_N = np.concatenate(runs_T)
    filled = np.flatnonzero(runs_N[1::2])
    column_N, top_N, bottom_N = _intervals(np.cumsum(runs_N)[1::2][filled], runs_N[1::2][filled], height)
    uppermost_N = np.diff(column_N, prepend=-1) > 0
    extra_4N = np.array([*np.divmod(column_N, width), top_N, bottom_N], dtype=np.int32)[:, ~uppermost_N]
    rows_2X = np.zeros((2, len(frames) * width), dtype=row_type(height))
    rows_2X[:, column_N[uppermost_N]] = top_N[uppermost_N], bottom_N[uppermost_N]
    rows_2TX = rows_2X.reshape(2, len(frames), width)
    touched = np.flatnonzero(rows_2TX[1].any(axis=0))
    left, right = (int(touched[0]), int(touched[-1]) + 1) if touched.size else (0, 0)
    top_TX, bottom_TX = rows_2TX[..., left:right].copy()
    return TrackMasks(areas_T, present_T, (height, width), left, top_TX, bottom_TX, extra_4N)


def _intervals(stops_N: np.ndarray, ones_N: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column (counted through all frames), first row and row after the last of each run, split where columns end."""
    starts_N = stops_N - ones_N
    column_N = starts_N // height
    top_N = starts_N - column_N * height
    bottom_N = top_N + ones_N
    if bottom_N.max(initial=0) > height:
        pieces_N = -(-bottom_N // height)
        piece_M = np.arange(pieces_N.sum()) - np.repeat(np.cumsum(pieces_N) - pieces_N, pieces_N)
        column_N, top_N, bottom_N = (np.repeat(part, pieces_N) for part in (column_N, top_N, bottom_N))
        column_N = column_N + piece_M
        top_N = np.where(piece_M == 0, top_N, 0)
        bottom_N = np.minimum(bottom_N - piece_M * height, height)
    return column_N, top_N, bottom_N


def irregular_track(frames: Sequence[Any], sizes: Sequence[Sequence[int]], size: tuple[int, int]) -> TrackMasks:
    """Masks without a problem, of any number and of the given sizes. size: of the video."""
    masks = [
        None if mask is None else run_length.compressed({"size": list(own), "counts": mask["counts"]})
        for mask, own in zip(frames, sizes, strict=True)
    ]
    areas_T = np.array([0.0 if mask is None else float(coco_mask.area(mask)) for mask in masks])
    present_T = np.array([mask is not None for mask in masks], dtype=bool)
    no_rows_TX, no_intervals_4N = np.zeros((len(masks), 0), dtype=np.int16), np.zeros((4, 0), dtype=np.int32)
    return TrackMasks(areas_T, present_T, size, 0, no_rows_TX, no_rows_TX, no_intervals_4N, tuple(masks))
