"""The masks of one object over a video, checked, and in the form in which overlaps are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.evaluation import run_length

Segmentations = tuple[dict[str, Any] | None, ...]


@dataclass(frozen=True)
class Track:
    """Masks of one object in all frames of a video.

    areas_T: (T,) float64, pixels in each frame, 0 where absent. present_T: (T,) bool, where a mask is given, be it
    without a pixel. edges_2N: integers in ascending order, where run after
    run of the object begins and ends, in pixels of the frames laid end to end (frame t begins at t * height * width;
    within a frame column-major); None where the track is irregular. size: height, width of a frame.
    irregular: the run-length masks themselves if they are not one per frame of the video and all of its size
    (accepted with `lenient` only), else None.
    """

    areas_T: np.ndarray
    present_T: np.ndarray
    edges_2N: np.ndarray | None
    size: tuple[int, int]
    irregular: Segmentations | None = None

    @property
    def mean_area(self) -> float:
        """Mean of the areas that are not zero, pixels [code]."""
        present = self.areas_T[self.areas_T > 0]
        return float(present.mean()) if present.size else 0.0

    def boxes(self, frames: int) -> np.ndarray:
        """(frames, 4) x, y, width, height in pixels around the masks of the first frames; NaN without a pixel."""
        boxes_T4 = np.full((frames, 4), np.nan)
        if self.irregular is not None:
            for frame, mask in enumerate(self.irregular[:frames]):
                if self.areas_T[frame]:
                    boxes_T4[frame] = coco_mask.toBbox(mask)
            return boxes_T4
        height, width = self.size
        first, last = np.divmod(self.edges_2N[::2], height), np.divmod(self.edges_2N[1::2] - 1, height)
        spans = first[0] != last[0]  # a run over the border of two columns reaches from bottom to top
        low, high = np.where(spans, 0, first[1]), np.where(spans, height - 1, last[1])
        frame_N = first[0] // width
        seen, starts = np.unique(frame_N, return_index=True)
        if seen.size:
            left, right = np.minimum.reduceat(first[0], starts), np.maximum.reduceat(last[0], starts)
            top, bottom = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
            boxes_T4[seen] = np.stack([left - seen * width, top, right - left + 1, bottom - top + 1], axis=1)
        return boxes_T4

    def masks(self) -> Segmentations:
        """A run-length mask for each frame, None where absent."""
        if self.irregular is not None:
            return self.irregular
        height, width = self.size
        inner = np.arange(len(self.areas_T) + 1) * height * width
        runs_T = []
        borders = np.searchsorted(self.edges_2N[1::2], inner, side="right")
        for frame, offset in enumerate(inner[:-1]):
            edges = self.edges_2N[2 * borders[frame] : 2 * borders[frame + 1]] - offset
            runs = np.diff(edges, prepend=0, append=height * width).tolist()
            mask = {"size": [height, width], "counts": runs if runs[-1] else runs[:-1]}
            runs_T.append(coco_mask.frPyObjects(mask, height, width) if self.present_T[frame] else None)
        return tuple(runs_T)


@lru_cache(maxsize=16)
def _blank(pixels: int) -> bytes:
    return coco_mask.frPyObjects({"size": [pixels, 1], "counts": [pixels]}, pixels, 1)["counts"]


def read_track(frames: Sequence[Any], height: int, width: int) -> tuple[Track | None, tuple[int, str] | None]:
    """Checked track of one compressed run-length object, or null, per frame of a video of the given size in pixels.

    Returns (track, None), or (None, (frame, problem in words)) for the first frame with a problem.
    """
    pixels = height * width
    encoded = []
    for frame, segmentation in enumerate(frames):
        if segmentation is None:
            encoded.append(_blank(pixels))
            continue
        counts, problem = run_length.encoded_counts(segmentation, height, width)
        if problem:
            return None, (frame, problem)
        encoded.append(counts)
    decoded = run_length.decode(encoded)
    sums = None if decoded is None else np.add.reduceat(decoded[0], decoded[1][:-1], axis=0)
    if sums is None or decoded[0].min() < 0 or (sums.sum(axis=1) != pixels).any():
        problems = ((frame, run_length.counts_problem(one, height, width)) for frame, one in enumerate(encoded))
        return None, next(found for found in problems if found[1])
    kept = decoded[0][:, 1] > 0
    edges = np.cumsum(decoded[0].reshape(-1)).reshape(-1, 2)[kept].reshape(-1)
    smallest = np.int32 if len(frames) * pixels < 2**31 else np.int64
    present_T = np.array([segmentation is not None for segmentation in frames])
    return Track(sums[:, 1].astype(np.float64), present_T, edges.astype(smallest), (height, width)), None


def read_irregular_track(frames: Sequence[Any], size: tuple[int, int]) -> tuple[Track | None, tuple[int, str] | None]:
    """As `read_track` for any number of frames, each mask of the size that it names itself."""
    masks: list[dict[str, Any] | None] = []
    for frame, segmentation in enumerate(frames):
        if segmentation is None:
            masks.append(None)
            continue
        named = named_size(segmentation) or size
        counts, problem = run_length.encoded_counts(segmentation, *named)
        problem = problem or run_length.counts_problem(counts, *named)
        if problem:
            return None, (frame, problem)
        masks.append({"size": list(named), "counts": counts})
    areas_T = np.array([run_length.areas([mask])[0] if mask else 0.0 for mask in masks])
    present_T = np.array([mask is not None for mask in masks], dtype=bool)
    return Track(areas_T, present_T, None, size, tuple(masks)), None


def named_size(segmentation: Any) -> list[int] | None:
    """The `size` that a run-length object names; None if it names none, or nothing that could be one."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    valid = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return size if valid else None
