"""The masks of one object over a video, checked, and in the form in which overlaps are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.ytvis import run_length


def _load_compiled() -> ModuleType | None:
    """The compiled reader; None if it was installed without a C compiler, or its source has changed since."""
    try:
        from mssts.ytvis import _compiled
    except ImportError:
        return None
    source = Path(__file__).with_name("_compiled.c")
    changed = source.exists() and source.stat().st_mtime > Path(_compiled.__file__).stat().st_mtime
    return None if changed else _compiled


_compiled = _load_compiled()
Segmentations = tuple[dict[str, Any] | None, ...]


@dataclass(frozen=True)
class Track:
    """Masks of one object in all frames of a video, as intervals of rows, column by column.

    areas_T: (T,) float64, pixels in each frame, 0 where absent. present_T: (T,) bool, where a mask is given, be it
    without a pixel. size: height, width of a frame.
    left: the first of the X columns that the object touches in any frame. top_TX, bottom_TX: the row in which the
    uppermost interval of each column begins, and the row after its end; both 0 where the column has none.
    further_4N: frame, column (from the left of the frame), first row and row after the last of all other intervals, in
    ascending order; most objects have few.
    irregular: the run-length masks themselves if they are not one per frame of the video and all of its size
    (accepted with `lenient` only), else None; what stands above from `left` on is without meaning then.
    """

    areas_T: np.ndarray
    present_T: np.ndarray
    size: tuple[int, int]
    left: int = 0
    top_TX: np.ndarray | None = None
    bottom_TX: np.ndarray | None = None
    further_4N: np.ndarray | None = None
    irregular: Segmentations | None = None

    @property
    def mean_area(self) -> float:
        """Mean of the areas that are not zero, pixels [code]."""
        present = np.count_nonzero(self.areas_T)
        return float(self.areas_T.sum()) / present if present else 0.0

    def boxes(self, frames: int) -> np.ndarray:
        """(frames, 4) x, y, width, height in pixels around the masks of the first frames; NaN without a pixel."""
        boxes_T4 = np.full((frames, 4), np.nan)
        if self.irregular is not None:
            for frame, mask in enumerate(self.irregular[:frames]):
                if self.areas_T[frame]:
                    boxes_T4[frame] = coco_mask.toBbox(mask)
            return boxes_T4
        filled_TX = self.bottom_TX > 0
        seen_T = filled_TX.any(axis=1)
        if seen_T.any():
            left_T, from_right_T = filled_TX.argmax(axis=1), filled_TX[:, ::-1].argmax(axis=1)
            top_T = np.where(filled_TX, self.top_TX, self.size[0]).min(axis=1)
            bottom_T = self.bottom_TX.max(axis=1)
            np.maximum.at(bottom_T, self.further_4N[0], self.further_4N[3])
            width_T = filled_TX.shape[1] - left_T - from_right_T
            boxes_T4[seen_T] = np.stack([self.left + left_T, top_T, width_T, bottom_T - top_T], axis=1)[seen_T]
        return boxes_T4

    def masks(self) -> Segmentations:
        """A run-length mask for each frame, None where absent."""
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


def read_track(frames: Sequence[Any], height: int, width: int) -> tuple[Track | None, tuple[int, str] | None]:
    """Checked track of one run-length mask, or null, per frame of a video of the given size in pixels.

    Returns (track, None), or (None, (frame, problem in words)) for the first frame with a problem.
    """
    tracks = read_tracks([frames], height, width)
    return (tracks[0], None) if tracks else (None, _first_problem(frames, [height, width]))


def _first_problem(frames: Sequence[Any], size: list[int]) -> tuple[int, str]:
    for frame, mask in enumerate(frames):
        if mask is not None:
            problem = run_length.mask_problem(mask, size)
            problem = problem or run_length.counts_problem(run_length.counts_of(mask), *size)
            if problem:
                return frame, problem
    raise AssertionError("tracks without a problem were refused")


def read_tracks(frames_BT: Sequence[Sequence[Any]], height: int, width: int) -> list[Track] | None:
    """As `read_track` for B tracks of one video, faster together than alone; None if one has a problem."""
    if _compiled is not None:
        tracks = [_read_compiled(frames, height, width) for frames in frames_BT]
        if all(track is not None for track in tracks):
            return tracks
    return _read_with_numpy(frames_BT, height, width)


def _read_compiled(frames: Sequence[Any], height: int, width: int) -> Track | None:
    """As `read_track`, but None also of plain runs that are an array."""
    row_type = _row_type(height)
    found = _compiled.read_track(frames, height, width, row_type.itemsize)
    if found is None:
        return None
    areas, present, left, rows, further = found
    rows_N = np.frombuffer(rows, dtype=row_type)
    rows_2TX = rows_N.reshape(2, len(frames), rows_N.size // max(2 * len(frames), 1))
    further_4N = np.frombuffer(further, dtype=np.int32).reshape(4, -1)
    return Track(np.frombuffer(areas), np.frombuffer(present, bool), (height, width), left, *rows_2TX, further_4N)


def _read_with_numpy(frames_BT: Sequence[Sequence[Any]], height: int, width: int) -> list[Track] | None:
    present_BT = np.array([[mask is not None for mask in frames] for frames in frames_BT], dtype=bool)
    masks = [mask for frames in frames_BT for mask in frames if mask is not None]
    if any(run_length.mask_problem(mask, [height, width]) for mask in masks):
        return None
    runs = run_length.read_runs([run_length.counts_of(mask) for mask in masks])
    return None if runs is None else _tracks(*runs, present_BT, height, width)


def _row_type(height: int) -> np.dtype:
    return np.dtype(np.int16 if height < 2**15 else np.int32)


def _tracks(
    zeros_N: np.ndarray, ones_N: np.ndarray, rows_M: np.ndarray, present_BT: np.ndarray, height: int, width: int
) -> list[Track] | None:
    """Tracks of the runs of M masks, in the frames in which one is present; None if they do not cover these exactly."""
    masks, pixels = len(rows_M), height * width
    lengths_N = zeros_N + ones_N
    # In pixels of these frames laid end to end. Where a sum overflows, it is negative first.
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
    column_N = column_N.astype(np.intp)  # placing is several times faster with this type, and with one for the rows
    top_X[column_N], bottom_X[column_N] = top_N.astype(rows.dtype), bottom_N.astype(rows.dtype)
    rows_2MX, last_B = rows.reshape(2, masks, width), np.cumsum(present_BT.sum(axis=1))
    tracks = []
    for b, present_T in enumerate(present_BT):
        left, outline_2TX = _outline(rows_2MX[:, last_B[b] - present_T.sum() : last_B[b]], present_T)
        further = further_4N[:, borders[b] : borders[b + 1]]
        tracks.append(Track(areas_BT[b], present_T, (height, width), left, *outline_2TX, further))
    return tracks


def _outline(rows_2MX: np.ndarray, present_T: np.ndarray) -> tuple[int, np.ndarray]:
    """The columns that a track touches: the first of them, and rows_2MX of these with empty ones where it is absent."""
    touched = np.flatnonzero(rows_2MX[1].any(axis=0))
    left, right = (int(touched[0]), int(touched[-1]) + 1) if touched.size else (0, 0)
    outline_2TX = np.zeros((2, present_T.size, right - left), dtype=rows_2MX.dtype)
    outline_2TX[:, present_T] = rows_2MX[:, :, left:right]
    return left, outline_2TX


def _intervals(stops_N: np.ndarray, ones_N: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column (counted through all frames), first row and row after the last of each run, cut at the ends of columns."""
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


def read_irregular_track(frames: Sequence[Any], size: tuple[int, int]) -> tuple[Track | None, tuple[int, str] | None]:
    """As `read_track` for any number of frames, each mask of the size that it names itself."""
    masks: list[dict[str, Any] | None] = []
    for frame, mask in enumerate(frames):
        if mask is None:
            masks.append(None)
            continue
        named = named_size(mask) or list(size)
        problem = run_length.mask_problem(mask, named)
        problem = problem or run_length.counts_problem(run_length.counts_of(mask), *named)
        if problem:
            return None, (frame, problem)
        masks.append(run_length.compressed({"size": named, "counts": mask["counts"]}))
    areas_T = np.array([run_length.areas([mask])[0] if mask else 0.0 for mask in masks])
    present_T = np.array([mask is not None for mask in masks], dtype=bool)
    return Track(areas_T, present_T, size, irregular=tuple(masks)), None


def named_size(segmentation: Any) -> list[int] | None:
    """The `size` that a run-length object names; None if it names none, or nothing that could be one."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    valid = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return size if valid else None
