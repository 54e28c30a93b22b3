"""Reading of run-length encoded masks, those of a track at once, with the checks that pycocotools leaves out.

A *run-length mask* is everywhere in this room the pycocotools object `{"size": [height, width], "counts": ...}`:
column-major runs, zeros first. Its counts are a compressed string (base-32 digits of five bits each; 48 is added to
make them printable) or, of annotations only, the plain run lengths: an array, or a memoryview of the text `[1, 2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_CONTINUES, _SIGN, _DIGIT, _MAX_DIGITS = 32, 16, 31, 6
_LONGEST = 2**30  # longer than any frame; sums of two overflow an int32 to a negative number
_NONE, _NO_RUN = np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64)

Runs = tuple[np.ndarray, np.ndarray, np.ndarray]


def read_runs(counts: Sequence[str | np.ndarray | None]) -> Runs | None:
    """Runs of many masks at once, from what `counts_of` gives; None if one of them is no valid encoding.

    Returns:
        zeros_N, ones_N: (N,) integers, the length of each run of zeros and of the run of ones after it (0 where there
        is none), mask after mask; rows_M: how many of these rows each mask has.
    """
    if any(one is None for one in counts):
        return None
    parts = [_read(list(same)) if kind is str else _pair(list(same)) for kind, same in groupby(counts, type)]
    if any(part is None for part in parts):
        return None
    return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip((_NONE, _NONE, _NONE), *parts, strict=True)))


def _parse(counts: memoryview) -> np.ndarray | None:
    """Plain run lengths of a text, (N,) int64, capped where no frame is that large; None if anything else is there."""
    text = counts[1:].tobytes()
    if b",," in text.translate(None, b" ") + b",":  # numpy would read a missing number as 0
        return None
    try:
        runs = np.fromstring(text, dtype=np.int64, sep=",")
    except ValueError:
        return None
    return np.minimum(runs, _LONGEST) if runs.size == 1 + text.count(b",") else None


def _pair(counts: Sequence[np.ndarray]) -> Runs:
    """`read_runs` of plain run lengths."""
    values = np.concatenate([part for runs in counts for part in (runs, _NO_RUN[: runs.size % 2])])
    return values[::2], values[1::2], np.array([(runs.size + 1) // 2 for runs in counts])


def _read(encoded: Sequence[str]) -> Runs | None:
    """`read_runs` of compressed strings.

    Each number is a little-endian base-32 two's complement; from the fourth of a string on it is the difference to
    the run two places before.
    """
    if not all("0" <= string[-1:] < "P" for string in encoded):
        return None
    read = _numbers([string + "0" for string in encoded])  # most masks end with zeros: the number 0 completes the pair
    if read is None:
        return None
    complete = np.diff(read[1], prepend=0) % 2 == 1
    if complete.any():
        read = _numbers([one if whole else one + "0" for one, whole in zip(encoded, complete, strict=True)])
    values, stops = read
    zeros, ones = values[::2].copy(), values[1::2].copy()  # side by side they are summed several times faster
    ends = stops // 2
    rows = np.diff(ends, prepend=0)
    starts = ends - rows
    first_zeros, first_ones = zeros[starts], ones[starts]
    zeros[starts] = 0  # the second run of zeros is no difference either
    zeros, ones = np.cumsum(zeros, dtype=np.int32), np.cumsum(ones, dtype=np.int32)
    zeros -= np.repeat(zeros[starts], rows)
    ones -= np.repeat(ones[starts] - first_ones, rows)
    zeros[starts] = first_zeros
    ones[ends[~complete] - 1] = 0
    return zeros, ones, rows


def _numbers(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """The numbers in strings as they are coded, (N,) int32, and where those of each string end, (strings,)."""
    try:
        digits = np.frombuffer("".join(strings).encode("ascii"), np.uint8) - np.uint8(48)
    except UnicodeEncodeError:
        return None
    if digits.max() > _CONTINUES + _DIGIT:
        return None
    continues, digits = digits >= _CONTINUES, digits & _DIGIT
    ends = np.flatnonzero(~continues)
    # Nearly all numbers have one or two digits: computed at every place, and then taken where a number ends.
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
    """What is wrong with a mask object, but for the runs themselves, in words; None if nothing is."""
    if not isinstance(mask, dict):
        return f"found {type(mask).__name__}, expected null or an object with size and counts"
    named, counts = mask.get("size"), mask.get("counts")
    if named != size and not (isinstance(named, tuple) and list(named) == size):
        return f"size: found {named!r}, expected {size} (height, width of the video)"
    if not isinstance(counts, str | bytes | memoryview | np.ndarray):
        found = "no counts" if counts is None else f"counts of type {type(counts).__name__}"
        return f"found {found}, expected a compressed run-length string (pycocotools.mask.encode)"
    return None


def counts_problem(counts: str | np.ndarray | None, height: int, width: int) -> str | None:
    """What is wrong with the runs of one mask, from what `counts_of` gives, in words; None if nothing is."""
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
    """A frame of an annotation as a run-length mask: polygons, or runs as a list or as text (`read_json`).

    Returns (mask, None) or (None, problem in words); anything else as it is. height, width: of the video; pixels.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width)
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(counts, list):
        return segmentation, None
    if not set(map(type, counts)) <= {int}:
        return None, "counts: found something that is not an integer"
    runs = np.array([max(min(run, _LONGEST), -_LONGEST) for run in counts or [0]])
    return {"size": segmentation.get("size"), "counts": runs}, None


def _from_polygons(polygons: list[Any], height: int, width: int) -> tuple[dict | None, str | None]:
    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in polygon
        )
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            return None, "polygon: expected a list of at least three finite x, y pairs [x1, y1, x2, y2, x3, y3, ...]"
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)), None


def counts_of(mask: dict[str, Any]) -> str | np.ndarray | None:
    """Counts of a mask that has no `mask_problem`: a compressed str, or plain runs; None if their text holds others."""
    counts = mask["counts"]
    if isinstance(counts, memoryview):
        return _parse(counts)
    return counts.decode("latin-1") if isinstance(counts, bytes) else counts


def compressed(mask: dict[str, Any]) -> dict[str, Any]:
    """A mask as pycocotools takes it everywhere: with a compressed string."""
    counts = counts_of(mask)
    if not isinstance(counts, np.ndarray):
        return mask
    return coco_mask.frPyObjects({**mask, "counts": counts.tolist()}, *mask["size"])


def areas(masks: list[dict[str, Any]]) -> np.ndarray:
    """Area in pixels of each run-length mask, (N,) float64."""
    return np.asarray(coco_mask.area(masks), dtype=np.float64) if masks else np.zeros(0)


def mean_nonempty_area(areas_of_frames: Sequence[float | None]) -> float:
    """Mean in pixels of the areas that are neither null nor zero; 0 if there is none [code]."""
    present = [area for area in areas_of_frames if area]
    return float(np.mean(present)) if present else 0.0
