"""Checks of run-length encoded masks before they reach pycocotools, which trusts its input without a check.

A *run-length mask* is everywhere in this room the pycocotools object `{"size": [height, width], "counts": bytes}`:
column-major runs, zeros first, compressed to base-32 digits of five bits each (48 is added to make them printable).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_CONTINUES, _SIGN, _DIGIT, _MAX_DIGITS = 32, 16, 31, 8


def decoded_runs(counts: bytes) -> np.ndarray | None:
    """Run lengths (R,) int64 of a compressed string, or None if the string is no valid encoding.

    Each number is a little-endian base-32 two's complement; from the fourth on it is the difference to the
    run two places before.
    """
    digits = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if not digits.size or digits.min() < 0 or digits.max() > 63 or digits[-1] & _CONTINUES:
        return None
    ends = np.flatnonzero((digits & _CONTINUES) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_DIGITS:
        return None
    places = np.arange(digits.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & _DIGIT) << (5 * places), starts)
    runs = np.where(digits[ends] & _SIGN, runs - (np.int64(1) << (5 * lengths)), runs)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _size_problem(segmentation: dict[str, Any], height: int, width: int) -> str | None:
    size = segmentation.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return f"size: found {size!r}, expected [{height}, {width}] (height, width of the video)"
    return None


def _runs_problem(runs: np.ndarray, height: int, width: int) -> str | None:
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        return f"counts: runs cover {int(runs.sum())} pixels, expected {height * width} in runs of 0 or more"
    return None


def read_compressed(segmentation: Any, height: int, width: int) -> tuple[dict[str, Any] | None, str | None]:
    """Checked run-length mask of one frame of a submission: (mask, None) or (None, problem in words)."""
    if not isinstance(segmentation, dict):
        return None, f"found {type(segmentation).__name__}, expected null or an object with size and counts"
    problem = _size_problem(segmentation, height, width)
    if problem:
        return None, problem
    counts = segmentation.get("counts")
    if not isinstance(counts, str | bytes):
        found = "no counts" if counts is None else f"counts of type {type(counts).__name__}"
        return None, f"found {found}, expected a compressed run-length string (pycocotools.mask.encode)"
    encoded = counts.encode("utf-8") if isinstance(counts, str) else counts
    runs = decoded_runs(encoded)
    if runs is None:
        return None, "counts: not a compressed run-length string (pycocotools.mask.encode)"
    problem = _runs_problem(runs, height, width)
    return (None, problem) if problem else ({"size": [height, width], "counts": encoded}, None)


def _read_uncompressed(segmentation: dict[str, Any], height: int, width: int) -> tuple[dict | None, str | None]:
    problem = _size_problem(segmentation, height, width)
    if problem:
        return None, problem
    counts = segmentation["counts"]
    if not all(isinstance(run, int) and not isinstance(run, bool) for run in counts):
        return None, "counts: found something that is not an integer"
    problem = _runs_problem(np.asarray(counts, dtype=object), height, width)
    if problem:
        return None, problem
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width), None


def _read_polygons(polygons: list[Any], height: int, width: int) -> tuple[dict | None, str | None]:
    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in polygon
        )
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            return None, "polygon: expected a list of at least three finite x, y pairs [x1, y1, x2, y2, x3, y3, ...]"
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)), None


def read_any(segmentation: Any, height: int, width: int) -> tuple[dict[str, Any] | None, str | None]:
    """Checked run-length mask of one frame of a ground truth: (mask, None) or (None, problem in words).

    Accepts polygons (list of lists of x, y in pixels), uncompressed and compressed run-length objects.
    """
    if isinstance(segmentation, list):
        return _read_polygons(segmentation, height, width)
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        return _read_uncompressed(segmentation, height, width)
    return read_compressed(segmentation, height, width)


def areas(masks: list[dict[str, Any]]) -> np.ndarray:
    """Area in pixels of each run-length mask, (N,) float64."""
    return np.asarray(coco_mask.area(masks), dtype=np.float64) if masks else np.zeros(0)


def mean_nonempty_area(areas_of_frames: list[float]) -> float:
    """Mean in pixels of the areas that are neither null nor zero; 0 if there is none [code]."""
    present = [area for area in areas_of_frames if area]
    return float(np.mean(present)) if present else 0.0
