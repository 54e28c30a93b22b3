"""The masks of one object over a video: checked, and as intervals of rows, in which overlaps are counted."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.ytvis import run_length

RunLengthMasks = tuple[dict[str, Any] | None, ...]


def _load_compiled() -> ModuleType | None:
    """The compiled reader; None if it was installed without a C compiler, or if its source has changed since."""
    try:
        compiled = importlib.import_module("mssts.ytvis._compiled")
    except ImportError:
        return None
    source, built = Path(__file__).with_name("_compiled.c"), Path(str(compiled.__file__))
    changed = source.exists() and source.stat().st_mtime > built.stat().st_mtime
    return None if changed else compiled


_compiled = _load_compiled()


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
        further_4N: (4, N) int32, all other intervals: frame, column (from the left of the frame), first row and row
            after the last, in ascending order. Most objects have few of them.
        irregular: The run-length masks themselves if they are not one per frame of the video and all of its size
            (`lenient` only), else None. If set, the attributes from `left` to `further_4N` are not used.
    """

    areas_T: np.ndarray
    present_T: np.ndarray
    size: tuple[int, int]
    left: int
    top_TX: np.ndarray
    bottom_TX: np.ndarray
    further_4N: np.ndarray
    irregular: RunLengthMasks | None = None

    @property
    def mean_area(self) -> float:
        """Mean of the areas that are not zero, in pixels [code]."""
        present = np.count_nonzero(self.areas_T)
        return float(self.areas_T.sum()) / present if present else 0.0

    def boxes(self, frames: int) -> np.ndarray:
        """Boxes of the first frames, (frames, 4) x, y, width, height in pixels; NaN in a frame without a pixel."""
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
            np.maximum.at(bottom_T, self.further_4N[0], self.further_4N[3])
            width_T = filled_TX.shape[1] - left_T - from_right_T
            boxes_T4[seen_T] = np.stack([self.left + left_T, top_T, width_T, bottom_T - top_T], axis=1)[seen_T]
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
            _, column, top, bottom = self.further_4N[:, self.further_4N[0] == frame]
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
        intervals = np.concatenate([[frames, columns + self.left, *rows], self.further_4N], axis=1)
        masks = []
        for frame, present in enumerate(self.present_T):
            _, column, top, bottom = intervals[:, intervals[0] == frame]
            starts, stops = np.sort(column * height + top), np.sort(column * height + bottom)
            joined = np.flatnonzero(starts[1:] == stops[:-1])  # a run over the border of two columns
            edges = np.stack([np.delete(starts, joined + 1), np.delete(stops, joined)], axis=1).ravel()
            runs = np.diff(edges, prepend=0, append=height * width)
            mask = {"size": [height, width], "counts": runs if runs[-1] else runs[:-1]}
            masks.append(run_length.compressed(mask) if present else None)
        return tuple(masks)


class Polygons:
    """Checked polygons of an object in one still, which are drawn only when they are asked for.

    COCO has 860,000 objects, most of which a training run never sees.

    Args:
        polygons: Lists x1, y1, x2, y2, ... in pixels, without a `run_length.polygon_problem`.
        size: Height and width of the image in pixels.
    """

    __slots__ = ("_polygons", "_size")

    def __init__(self, polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> None:
        self._polygons = [array("d", polygon) for polygon in polygons]
        self._size = size

    def draw(self) -> TrackMasks:
        """The masks of the object."""
        masks, _ = read_track([run_length.draw_polygons(self._polygons, *self._size)], *self._size)
        assert masks is not None
        return masks

    @property
    def mean_area(self) -> float:
        """Mean of the areas that are not zero, in pixels."""
        return self.draw().mean_area


def read_track(frames: Sequence[Any], height: int, width: int) -> tuple[TrackMasks | None, list[tuple[int, str]]]:
    """Read and check the masks of one object.

    Args:
        frames: A run-length mask or None for each frame of the video.
        height: Height of the video in pixels.
        width: Width of the video in pixels.

    Returns:
        (masks, []), or (None, a pair of frame and message for each mask with a problem).
    """
    tracks = read_tracks([frames], height, width)
    if tracks:
        return tracks[0], []
    found = [(frame, _problem(mask, [height, width])) for frame, mask in enumerate(frames) if mask is not None]
    problems = [(frame, problem) for frame, problem in found if problem]
    assert problems, "masks without a problem were refused"
    return None, problems


def _problem(mask: Any, size: list[int]) -> str | None:
    """Message about a run-length mask of the given height and width; None if nothing is wrong."""
    return run_length.mask_problem(mask, size) or run_length.counts_problem(run_length.counts_of(mask), *size)


def read_tracks(frames_BT: Sequence[Sequence[Any]], height: int, width: int) -> list[TrackMasks] | None:
    """`read_track` for B objects of one video, faster together than one by one; None if one has a problem."""
    if _compiled is not None:
        tracks = [_read_compiled(frames, height, width) for frames in frames_BT]
        complete = [track for track in tracks if track is not None]
        if len(complete) == len(tracks):
            return complete
    return _read_with_numpy(frames_BT, height, width)


def _read_compiled(frames: Sequence[Any], height: int, width: int) -> TrackMasks | None:
    """`read_track` by the compiled reader, without messages; None also for plain runs that are an array."""
    assert _compiled is not None
    row_type = _row_type(height)
    found = _compiled.read_track(frames, height, width, row_type.itemsize)
    if found is None:
        return None
    areas, present, left, rows, further = found
    rows_N = np.frombuffer(rows, dtype=row_type)
    top_TX, bottom_TX = rows_N.reshape(2, len(frames), rows_N.size // max(2 * len(frames), 1))
    further_4N = np.frombuffer(further, dtype=np.int32).reshape(4, -1)
    size = (height, width)
    return TrackMasks(np.frombuffer(areas), np.frombuffer(present, bool), size, left, top_TX, bottom_TX, further_4N)


def _read_with_numpy(frames_BT: Sequence[Sequence[Any]], height: int, width: int) -> list[TrackMasks] | None:
    """`read_tracks` by numpy."""
    present_BT = np.array([[mask is not None for mask in frames] for frames in frames_BT], dtype=bool)
    masks = [mask for frames in frames_BT for mask in frames if mask is not None]
    if any(run_length.mask_problem(mask, [height, width]) for mask in masks):
        return None
    runs = run_length.read_runs([run_length.counts_of(mask) for mask in masks])
    return None if runs is None else _intervals_of_runs(*runs, present_BT, height, width)


def _row_type(height: int) -> np.dtype:
    return np.dtype(np.int16 if height < 2**15 else np.int32)


def _intervals_of_runs(
    zeros_N: np.ndarray, ones_N: np.ndarray, rows_M: np.ndarray, present_BT: np.ndarray, height: int, width: int
) -> list[TrackMasks] | None:
    """Masks of objects from the runs of their M masks; None if these do not cover the frames exactly."""
    masks, pixels = len(rows_M), height * width
    lengths_N = zeros_N + ones_N
    # Counted through the pixels of all masks. A sum that overflows becomes negative first.
    stops_N = np.cumsum(lengths_N, dtype=np.int32 if (masks + 1) * pixels < 2**31 else np.int64)
    ends_M = np.cumsum(rows_M)
    covered = np.array_equal(stops_N[ends_M - 1], pixels * np.arange(1, masks + 1))
    if not covered or min(part.min(initial=0) for part in (zeros_N, ones_N, lengths_N, stops_N)) < 0:
        return None
    areas_BT = np.zeros(present_BT.shape)
    areas_BT[present_BT] = np.add.reduceat(ones_N, ends_M - rows_M)
    filled = np.flatnonzero(ones_N > 0)
    column_N, top_N, bottom_N = _intervals(stops_N.take(filled), ones_N.take(filled), height)
    again = np.flatnonzero(column_N[1:] == column_N[:-1]) + 1
    mask_N, x_N = np.divmod(column_N[again], width)
    track_M, frame_M = np.nonzero(present_BT)
    further_4N = np.array([frame_M[mask_N], x_N, top_N[again], bottom_N[again]], dtype=np.int32)
    borders = np.searchsorted(track_M[mask_N], np.arange(len(present_BT) + 1))
    if again.size:
        column_N, top_N, bottom_N = (np.delete(part, again) for part in (column_N, top_N, bottom_N))
    rows = np.zeros((2, masks * width), dtype=_row_type(height))
    top_X, bottom_X = rows
    column_N = column_N.astype(np.intp)  # assignment is several times faster with this type
    top_X[column_N], bottom_X[column_N] = top_N.astype(rows.dtype), bottom_N.astype(rows.dtype)
    rows_2MX, last_B = rows.reshape(2, masks, width), np.cumsum(present_BT.sum(axis=1))
    tracks = []
    for b, present_T in enumerate(present_BT):
        left, (top_TX, bottom_TX) = _outline(rows_2MX[:, last_B[b] - present_T.sum() : last_B[b]], present_T)
        further = further_4N[:, borders[b] : borders[b + 1]]
        tracks.append(TrackMasks(areas_BT[b], present_T, (height, width), left, top_TX, bottom_TX, further))
    return tracks


def _outline(rows_2MX: np.ndarray, present_T: np.ndarray) -> tuple[int, np.ndarray]:
    """The first of the X columns that an object touches, and its rows of these, (2, T, X), 0 where it is absent."""
    touched = np.flatnonzero(rows_2MX[1].any(axis=0))
    left, right = (int(touched[0]), int(touched[-1]) + 1) if touched.size else (0, 0)
    outline_2TX = np.zeros((2, present_T.size, right - left), dtype=rows_2MX.dtype)
    outline_2TX[:, present_T] = rows_2MX[:, :, left:right]
    return left, outline_2TX


def _intervals(stops_N: np.ndarray, ones_N: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column (counted through all masks), first row and row after the last of each run, split where columns end."""
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


def read_irregular_track(
    frames: Sequence[Any], size: tuple[int, int]
) -> tuple[TrackMasks | None, list[tuple[int, str]]]:
    """As `read_track`, for any number of frames and masks of any size: that which a mask names. size: of the video."""
    sizes = [named_size(mask) or list(size) for mask in frames]
    found = [(t, _problem(mask, sizes[t])) for t, mask in enumerate(frames) if mask is not None]
    problems = [(t, problem) for t, problem in found if problem]
    if problems:
        return None, problems
    masks = [
        None if mask is None else run_length.compressed({"size": sizes[t], "counts": mask["counts"]})
        for t, mask in enumerate(frames)
    ]
    areas_T = np.array([0.0 if mask is None else float(coco_mask.area(mask)) for mask in masks])
    present_T = np.array([mask is not None for mask in masks], dtype=bool)
    no_rows_TX, no_intervals_4N = np.zeros((len(masks), 0), dtype=np.int16), np.zeros((4, 0), dtype=np.int32)
    return TrackMasks(areas_T, present_T, size, 0, no_rows_TX, no_rows_TX, no_intervals_4N, tuple(masks)), []


def named_size(segmentation: Any) -> list[int] | None:
    """The valid `size` that a run-length mask names, else None."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    valid = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return size if valid else None
