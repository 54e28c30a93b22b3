"""Reads run-length encoded masks and polygons, with the checks that pycocotools leaves out.

A *run-length mask* is the object of pycocotools, `{"size": [height, width], "counts": ...}`: column-major runs, zeros
first. Its counts are a compressed string (base-32 digits of five bits each; 48 is added to make them printable) or, in
annotations only, the plain run lengths: a memoryview of the text `[1, 2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.ytvis.json_input import shown

_CONTINUES, _SIGN, _DIGIT, _MAX_DIGITS = 32, 16, 31, 6
_MAX_RUN = 2**30  # longer than any frame; the sum of many does not overflow an int64
_MAX_COORDINATE = 2**20
_MAX_POLYGONS = 10_000  # of a frame: pycocotools joins them one by one
_MAX_OUTLINE = 2**20  # pixels, of all polygons of a frame: pycocotools walks along it

Counts = str | bytes | memoryview


def read_runs(masks: Sequence[Any], height: int, width: int) -> list[np.ndarray] | None:
    """Read and check the runs of many masks at once.

    Args:
        masks: Run-length masks.
        height: Height of the video in pixels.
        width: Width of the video in pixels.

    Returns:
        The runs of each mask, (N,) int64, zeros first; N is even, so that the last run may be 0. None if a mask has a
        problem.
    """
    if any(_form_problem(mask, [height, width]) for mask in masks):
        return None
    runs = _decode([mask["counts"] for mask in masks])
    return None if runs is None or any(_coverage_problem(runs_N, height * width) for runs_N in runs) else runs


def mask_problem(mask: Any, height: int, width: int) -> str | None:
    """Message about a mask that `read_runs` refuses; None if nothing is wrong."""
    problem = _form_problem(mask, [height, width])
    if problem is not None:
        return problem
    runs = _decode([mask["counts"]])
    if runs is not None:
        return _coverage_problem(runs[0], height * width)
    if isinstance(mask["counts"], memoryview):
        return "counts: expected integers only"
    return "counts: not a compressed run-length string (pycocotools.mask.encode)"


def _form_problem(mask: Any, size: list[int]) -> str | None:
    if not isinstance(mask, dict):
        return f"found {type(mask).__name__}, expected null or an object with size and counts"
    found, counts = mask.get("size"), mask.get("counts")
    if not isinstance(found, list | tuple) or list(found) != size or not all(isinstance(side, int) for side in found):
        return f"size: found {shown(found)}, expected {size} (height, width of the video)"
    if not isinstance(counts, Counts):
        kind = "no counts" if counts is None else f"counts of type {type(counts).__name__}"
        return f"found {kind}, expected a compressed run-length string (pycocotools.mask.encode)"
    return None


def _coverage_problem(runs: np.ndarray, pixels: int) -> str | None:
    covered = runs.sum()
    if covered == pixels and runs.min() >= 0:
        return None
    return f"counts: the runs add up to {covered} pixels, expected {pixels} (height x width), and no run below 0"


def _decode(counts: Sequence[Counts]) -> list[np.ndarray] | None:
    """Runs of each mask, (N,) int64 with N even; None if the counts of one are not valid."""
    texts = [text.decode("latin-1") if isinstance(text, bytes) else text for text in counts]
    decompressed = iter(_decompress([text for text in texts if isinstance(text, str)]) or ())
    runs = [next(decompressed, None) if isinstance(text, str) else _parse(text) for text in texts]
    even = [np.append(runs_N, 0) if runs_N.size % 2 else runs_N for runs_N in runs if runs_N is not None]
    return even if len(even) == len(runs) else None


def _parse(counts: memoryview) -> np.ndarray | None:
    """Plain run lengths of a text, (N,) int64, limited to `_MAX_RUN`; None if the text holds anything else."""
    text = counts[1:].tobytes()
    if b",," in text.translate(None, b" ") + b",":  # numpy would read a missing number as 0
        return None
    try:
        runs = np.fromstring(text, dtype=np.int64, sep=",")
    except ValueError:
        return None
    return np.minimum(runs, _MAX_RUN) if runs.size == 1 + text.count(b",") else None


def _decompress(strings: Sequence[str]) -> list[np.ndarray] | None:
    """Runs of compressed strings, (N,) int64 each; None if one of them is not valid.

    Each number is a little-endian base-32 two's complement. From the fourth number of a string on it is the difference
    to the run two places before.
    """
    characters = np.frombuffer("".join(strings).encode("utf-8", "surrogatepass"), np.uint8) - np.uint8(48)
    ended = all("0" <= string[-1:] < "P" for string in strings)
    if not ended or characters.max(initial=0) > _CONTINUES + _DIGIT:
        return None
    digits = (characters & _DIGIT).astype(np.int64)
    ends = np.flatnonzero(characters < _CONTINUES)
    lengths = np.diff(ends, prepend=-1)
    if lengths.max(initial=0) > _MAX_DIGITS:
        return None
    numbers = (digits[ends] ^ _SIGN) - _SIGN
    for place in range(1, _MAX_DIGITS):
        longer = np.flatnonzero(lengths > place)
        numbers[longer] = (numbers[longer] << 5) + digits[ends[longer] - place]
    runs = np.split(numbers, np.searchsorted(ends, np.cumsum([len(string) for string in strings[:-1]], dtype=int)))
    for runs_N in runs:
        runs_N[1::2], runs_N[2::2] = np.cumsum(runs_N[1::2]), np.cumsum(runs_N[2::2])
    return runs


def from_annotation(segmentation: Any, height: int, width: int) -> tuple[Any, str | None]:
    """Convert a frame of an annotation (polygons, or plain runs as a list) to a run-length mask.

    Args:
        segmentation: The frame's entry in the file.
        height: Height of the video in pixels.
        width: Width of the video in pixels.

    Returns:
        (mask, None) or (None, message); any other entry as it is, with None.
    """
    if isinstance(segmentation, list):
        problem = polygon_problem(segmentation)
        return (None, problem) if problem else (draw_polygons(segmentation, height, width), None)
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(counts, list):
        return segmentation, None
    if not set(map(type, counts)) <= {int}:
        return None, "counts: expected integers only"
    runs = [max(min(run, _MAX_RUN), -_MAX_RUN) for run in counts or [0]]
    return {"size": segmentation.get("size"), "counts": memoryview(str(runs).encode())[:-1]}, None


def polygon_problem(polygons: list[Any]) -> str | None:
    """Message about the polygons of a frame; None if nothing is wrong."""
    if len(polygons) > _MAX_POLYGONS:
        return f"found {len(polygons)} polygons, expected at most {_MAX_POLYGONS} in a frame"
    longest = 0.0  # the outlines are not longer
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not set(map(type, polygon)) <= {int, float}
            or not -_MAX_COORDINATE <= (low := min(polygon)) <= (high := max(polygon)) <= _MAX_COORDINATE  # 10**400
            or not all(map(math.isfinite, polygon))
        ):
            return (
                "polygon: expected a list of at least three finite x, y pairs [x1, y1, x2, y2, x3, y3, ...] in pixels "
                f"(each at most {_MAX_COORDINATE})"
            )
        longest += len(polygon) * (high - low)
    if longest > _MAX_OUTLINE and sum(map(_outline, polygons)) > _MAX_OUTLINE:
        return f"polygon: expected outlines of at most {_MAX_OUTLINE} pixels in a frame, together"
    return None


def _outline(polygon: list[float]) -> float:
    """Steps that pycocotools takes along a polygon, in pixels."""
    points_N2 = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(points_N2 - np.roll(points_N2, 1, axis=0)).max(axis=1).sum())


def draw_polygons(polygons: Sequence[Sequence[float] | np.ndarray], height: int, width: int) -> dict[str, Any]:
    """Run-length mask of the union of polygons that have no `polygon_problem`."""
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def compressed(mask: dict[str, Any]) -> dict[str, Any]:
    """A mask without a problem, with a compressed string, which all functions of pycocotools accept."""
    counts = mask["counts"]
    runs = _parse(counts) if isinstance(counts, memoryview) else None
    return mask if runs is None else compress(runs, *mask["size"])


def compress(runs: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """The compressed mask of run lengths, zeros first."""
    return coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
