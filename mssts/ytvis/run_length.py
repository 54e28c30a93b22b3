"""Reads run-length encoded masks and polygons, with the checks that pycocotools leaves out.

A *run-length mask* is the object of pycocotools, `{"size": [height, width], "counts": ...}`: column-major runs, zeros
first. Its counts are a compressed string (base-32 digits of five bits each; 48 is added to make them printable) or, in
annotations only, the plain run lengths: an array, or a memoryview of the text `[1, 2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_CONTINUES, _SIGN, _DIGIT, _MAX_DIGITS = 32, 16, 31, 6
_MAX_RUN = 2**30  # longer than any frame; the sum of two overflows an int32 to a negative number
_MAX_COORDINATE = 2**20
_NO_NUMBERS, _NO_RUN = np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64)

Counts = str | np.ndarray
Runs = tuple[np.ndarray, np.ndarray, np.ndarray]


def read_runs(counts: Sequence[Counts | None]) -> Runs | None:
    """Read the runs of many masks at once.

    Args:
        counts: The counts of each mask, as `counts_of` returns them.

    Returns:
        zeros_N, ones_N: (N,) integers, the length of each run of zeros and of the run of ones after it (0 if there is
        none), mask after mask; rows_M: the number of these rows that each mask has. None if a mask is not valid.
    """
    parts = [(_NO_NUMBERS, _NO_NUMBERS, _NO_NUMBERS)]
    for kind, same in groupby(counts, type):
        if kind is type(None):
            return None
        group: list[Any] = list(same)
        part = _decompress(group) if kind is str else _pair(group)
        if part is None:
            return None
        parts.append(part)
    if len(parts) == 2:
        return parts[1]
    zeros, ones, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    return zeros, ones, rows


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


def _pair(counts: Sequence[np.ndarray]) -> Runs:
    """`read_runs` of plain run lengths."""
    values = np.concatenate([part for runs in counts for part in (runs, _NO_RUN[: runs.size % 2])])
    return values[::2], values[1::2], np.array([(runs.size + 1) // 2 for runs in counts])


def _decompress(encoded: Sequence[str]) -> Runs | None:
    """`read_runs` of compressed strings.

    Each number is a little-endian base-32 two's complement. From the fourth number of a string on it is the difference
    to the run two places before.
    """
    if not all("0" <= string[-1:] < "P" for string in encoded):
        return None
    read = _numbers([string + "0" for string in encoded])  # most masks end with zeros: the number 0 completes the pair
    if read is None:
        return None
    complete = np.diff(read[1], prepend=0) % 2 == 1
    if complete.any():
        read = _numbers([one if whole else one + "0" for one, whole in zip(encoded, complete, strict=True)])
        assert read is not None
    values, stops = read
    zeros, ones = values[::2].copy(), values[1::2].copy()  # contiguous arrays are summed several times faster
    ends = stops // 2
    rows = np.diff(ends, prepend=0)
    starts = ends - rows
    first_zeros, first_ones = zeros[starts], ones[starts]
    zeros[starts] = 0  # the second run of zeros is not a difference either
    zeros, ones = np.cumsum(zeros, dtype=np.int32), np.cumsum(ones, dtype=np.int32)
    zeros -= np.repeat(zeros[starts], rows)
    ones -= np.repeat(ones[starts] - first_ones, rows)
    zeros[starts] = first_zeros
    ones[ends[~complete] - 1] = 0
    return zeros, ones, rows


def _numbers(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """The encoded numbers of strings, (N,) int32, and the position after the last one of each string, (strings,)."""
    try:
        characters = np.frombuffer("".join(strings).encode("ascii"), np.uint8) - np.uint8(48)
    except UnicodeEncodeError:
        return None
    if characters.max() > _CONTINUES + _DIGIT:
        return None
    continues, digits = characters >= _CONTINUES, characters & _DIGIT
    ends = np.flatnonzero(~continues)
    # Nearly all numbers have one or two digits: these are computed at every position, then taken where a number ends.
    values = (digits ^ _SIGN).astype(np.int16) - np.int16(_SIGN)
    values[1:] += continues[:-1] * (values[1:] * np.int16(_DIGIT) + digits[:-1])
    values = values.take(ends).astype(np.int32)
    places, place = np.flatnonzero(continues[:-2] & continues[1:-1] & ~continues[2:]) + 2, 2
    longer = np.searchsorted(ends, places)
    while longer.size:
        if place == _MAX_DIGITS:
            return None
        values[longer] = (values[longer] << 5) + digits[places - place]
        place += 1
        more = continues[places - place]
        places, longer = places[more], longer[more]
    return values, np.searchsorted(ends, np.cumsum([len(string) for string in strings]) - 1) + 1


def mask_problem(mask: Any, size: list[int]) -> str | None:
    """Message about a mask object, its runs left aside; None if nothing is wrong. size: expected height, width."""
    if not isinstance(mask, dict):
        return f"found {type(mask).__name__}, expected null or an object with size and counts"
    found, counts = mask.get("size"), mask.get("counts")
    if found != size and not (isinstance(found, tuple) and list(found) == size):
        return f"size: found {found!r:.40}, expected {size} (height, width of the video)"
    if not isinstance(counts, str | bytes | memoryview | np.ndarray):
        kind = "no counts" if counts is None else f"counts of type {type(counts).__name__}"
        return f"found {kind}, expected a compressed run-length string (pycocotools.mask.encode)"
    return None


def counts_problem(counts: Counts | None, height: int, width: int) -> str | None:
    """Message about the runs of one mask, from what `counts_of` returns; None if nothing is wrong."""
    if counts is None:
        return "counts: found something that is not an integer"
    runs = read_runs([counts])
    if runs is None:
        return "counts: not a compressed run-length string (pycocotools.mask.encode)"
    covered = int(runs[0].sum(dtype=np.int64) + runs[1].sum(dtype=np.int64))
    if min(runs[0].min(initial=0), runs[1].min(initial=0)) < 0 or covered != height * width:
        return f"counts: runs cover {covered} pixels, expected {height * width} in runs of 0 or more"
    return None


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
        return None, "counts: found something that is not an integer"
    runs = np.array([max(min(run, _MAX_RUN), -_MAX_RUN) for run in counts or [0]])
    return {"size": segmentation.get("size"), "counts": runs}, None


def polygon_problem(polygons: list[Any]) -> str | None:
    """Message about the polygons of a frame; None if nothing is wrong."""
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not set(map(type, polygon)) <= {int, float}
            or not -_MAX_COORDINATE <= min(polygon) <= max(polygon) <= _MAX_COORDINATE  # before isfinite: 10**400
            or not all(map(math.isfinite, polygon))
        ):
            return (
                "polygon: expected a list of at least three finite x, y pairs [x1, y1, x2, y2, x3, y3, ...] in pixels "
                f"(each at most {_MAX_COORDINATE})"
            )
    return None


def draw_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> dict[str, Any]:
    """Run-length mask of the union of polygons that have no `polygon_problem`."""
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def counts_of(mask: dict[str, Any]) -> Counts | None:
    """Counts of a mask that has no `mask_problem`: a compressed str, or plain runs; None if its text is not valid."""
    counts = mask["counts"]
    if isinstance(counts, memoryview):
        return _parse(counts)
    return counts.decode("latin-1") if isinstance(counts, bytes) else counts


def compressed(mask: dict[str, Any]) -> dict[str, Any]:
    """The mask with a compressed string, which all functions of pycocotools accept."""
    counts = counts_of(mask)
    if not isinstance(counts, np.ndarray):
        return mask
    return coco_mask.frPyObjects({**mask, "counts": counts.tolist()}, *mask["size"])
