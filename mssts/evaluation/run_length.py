"""Checks of run-length encoded masks before they reach pycocotools, which trusts its input without a check.

A *run-length mask* is everywhere in this room the pycocotools object `{"size": [height, width], "counts": bytes}`:
column-major runs, zeros first, compressed to base-32 digits of five bits each (48 is added to make them printable).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_CONTINUES, _SIGN, _DIGIT, _MAX_DIGITS = 32, 16, 31, 8
_CHARACTERS = bytes(range(48, 48 + 64))


def decode(encoded: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray] | None:
    """Runs of many compressed strings at once, or None if one of them is no valid encoding.

    Each number is a little-endian base-32 two's complement; from the fourth of a string on it is the difference to
    the run two places before.

    Returns:
        (N, 2) int64, lengths of a run of zeros and of the run of ones after it (0 where there is none) in each row,
        string after string; and (strings + 1,) int64, where the rows of each string begin and the last ones end.
    """
    text = b"".join(encoded)
    last = np.cumsum([len(one) for one in encoded]) - 1
    if not all(encoded) or text.translate(None, _CHARACTERS):
        return None
    digits = np.frombuffer(text, np.uint8) - np.uint8(48)
    if (digits[last] >= _CONTINUES).any():
        return None
    ends = np.flatnonzero(digits < _CONTINUES)
    lengths = np.diff(ends, prepend=-1)
    values = (digits[ends] ^ _SIGN).astype(np.int64) - _SIGN
    longer, place = np.flatnonzero(lengths > 1), 1
    while longer.size:
        if place == _MAX_DIGITS:
            return None
        values[longer] = (values[longer] << 5) + (digits[ends[longer] - place] & _DIGIT)
        place += 1
        longer = longer[lengths[longer] > place]
    return _runs(values, np.searchsorted(ends, last) + 1)


def _runs(values: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (zeros, ones) and their borders from the coded numbers of all strings, which end at `stops`."""
    counts = np.diff(stops, prepend=0)
    rows = (counts + 1) // 2
    borders = np.concatenate(([0], np.cumsum(rows)))
    pairs = np.zeros((borders[-1], 2), dtype=np.int64)
    shifts = 2 * borders[:-1] - (stops - counts)
    pairs.reshape(-1)[np.arange(values.size) + np.repeat(shifts, counts)] = values
    starts, odd = borders[:-1], counts % 2 == 1
    first = pairs[starts, 0]
    pairs[starts, 0] = 0  # the second and third run of zeros are absolute, too: the first takes no part in the sums
    sums = np.cumsum(pairs, axis=0)
    before = np.zeros((len(rows), 2), dtype=np.int64)
    before[1:] = sums[starts[1:] - 1]
    sums -= np.repeat(before, rows, axis=0)
    sums[starts, 0] = first
    sums[(borders[1:] - 1)[odd], 1] = 0
    return sums, borders


def _size_problem(segmentation: dict[str, Any], height: int, width: int) -> str | None:
    size = segmentation.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return f"size: found {size!r}, expected [{height}, {width}] (height, width of the video)"
    return None


def encoded_counts(segmentation: Any, height: int, width: int) -> tuple[bytes, str | None]:
    """Compressed string of a mask object of the given size, unread: (string, None) or (b"", problem in words)."""
    if not isinstance(segmentation, dict):
        return b"", f"found {type(segmentation).__name__}, expected null or an object with size and counts"
    problem = _size_problem(segmentation, height, width)
    if problem:
        return b"", problem
    counts = segmentation.get("counts")
    if not isinstance(counts, str | bytes):
        found = "no counts" if counts is None else f"counts of type {type(counts).__name__}"
        return b"", f"found {found}, expected a compressed run-length string (pycocotools.mask.encode)"
    return counts.encode("utf-8") if isinstance(counts, str) else counts, None


def counts_problem(encoded: bytes, height: int, width: int) -> str | None:
    """What is wrong with the runs of a compressed string, in words; None if nothing is."""
    decoded = decode([encoded])
    if decoded is None:
        return "counts: not a compressed run-length string (pycocotools.mask.encode)"
    return _runs_problem(decoded[0], height, width)


def _runs_problem(runs: np.ndarray, height: int, width: int) -> str | None:
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        return f"counts: runs cover {int(runs.sum())} pixels, expected {height * width} in runs of 0 or more"
    return None


def _read_uncompressed(segmentation: dict[str, Any], height: int, width: int) -> tuple[dict | None, str | None]:
    problem = _size_problem(segmentation, height, width)
    if problem:
        return None, problem
    counts = segmentation["counts"]
    if not set(map(type, counts)) <= {int}:
        return None, "counts: found something that is not an integer"
    exact = sum(counts) == height * width and min(counts) >= 0
    problem = None if exact else _runs_problem(np.asarray(counts, dtype=object), height, width)
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


def compressed(segmentation: Any, height: int, width: int) -> tuple[Any, str | None]:
    """A frame of a ground truth with polygons or uncompressed runs, checked and compressed; anything else as it is.

    Returns (segmentation, None) or (None, problem in words). height, width: of the video; pixels.
    """
    if isinstance(segmentation, list):
        return _read_polygons(segmentation, height, width)
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        return _read_uncompressed(segmentation, height, width)
    return segmentation, None


def areas(masks: list[dict[str, Any]]) -> np.ndarray:
    """Area in pixels of each run-length mask, (N,) float64."""
    return np.asarray(coco_mask.area(masks), dtype=np.float64) if masks else np.zeros(0)


def mean_nonempty_area(areas_of_frames: Sequence[float | None]) -> float:
    """Mean in pixels of the areas that are neither null nor zero; 0 if there is none [code]."""
    present = [area for area in areas_of_frames if area]
    return float(np.mean(present)) if present else 0.0
