"""Segmentations of annotation files (run lengths, polygons) as arrays, and boxes of masks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError

if TYPE_CHECKING:
    import torch

ABSENT_BOX = 1e-6


def problem_of(segmentation: Any, height: int, width: int) -> str | None:
    """What is wrong with the segmentation of a frame of height x width px, in words; None if nothing is seen.

    The runs of a compressed string are counted only when it is decoded.
    """
    if isinstance(segmentation, list):
        return _polygon_problem(segmentation)
    if not isinstance(segmentation, dict):
        return f"segmentation: found {type(segmentation).__name__}, expected run lengths, polygons or null"
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        return f"segmentation: size {size}, expected [{height}, {width}] (height, width of the frame)"
    if isinstance(counts, str):
        return None if counts.isascii() and counts else "segmentation: counts is no run-length string"
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return "segmentation: counts: expected a compressed string or a list of whole numbers"
    if sum(counts) != height * width:
        return f"segmentation: the runs add up to {sum(counts)} px, expected {height * width}"
    return None


def _polygon_problem(polygons: list[Any]) -> str | None:
    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(
            isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in polygon
        )
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            return "segmentation: a polygon is no list of at least three finite x, y pairs"
    return None if polygons else "segmentation: found no polygon; expected null where the object is absent"


def decode(segmentation: Any, height: int, width: int, where: str) -> np.ndarray:
    """Mask (height, width) bool; zeros for None. Raises InputError, naming `where`, if the runs do not fit."""
    if segmentation is None:
        return np.zeros((height, width), bool)
    try:
        if isinstance(segmentation, list):
            segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            segmentation = coco_mask.frPyObjects(segmentation, height, width)
        elif _pixels(segmentation["counts"]) != height * width:
            raise ValueError  # pycocotools would fill the rest with whatever is in memory
        return coco_mask.decode(segmentation).astype(bool)
    except ValueError:
        raise InputError(f"{where}: the run lengths do not fill {height} x {width} px. Mend the annotations.") from None


def runs_fill(segmentation: Any, height: int, width: int) -> bool:
    """Whether a compressed string's runs add up to the frame; true of anything else that `problem_of` let pass."""
    counts = segmentation["counts"] if isinstance(segmentation, dict) else None
    return not isinstance(counts, str) or _pixels(counts) == height * width


def _pixels(counts: str) -> int | None:
    """Sum of the runs of a compressed string, or None if it is none: five bits a character, from the fourth run on the
    difference to the run two before."""
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode():
        digit = character - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return sum(runs) if runs and not shift and min(runs) >= 0 else None


def boxes_of_masks(masks_NTHW: torch.Tensor) -> torch.Tensor:
    """Boxes (N, T, 4) float32 of masks (N, T, H, W) bool: centre x, y, width, height relative to the frame.

    The edges are those of the outermost pixels. (1e-6, ...) for an empty mask [code].
    """
    import torch

    # Differs: the public code takes the annotations' boxes, of pseudo-clips masks' without the last row and column.
    height, width = masks_NTHW.shape[-2:]
    edges = []
    for line, size in ((masks_NTHW.any(-2), width), (masks_NTHW.any(-1), height)):
        line = line.to(torch.uint8)
        start = line.argmax(-1)
        end = torch.where(line.amax(-1) > 0, size - line.flip(-1).argmax(-1), start)
        edges.append((start / size, end / size))
    (left, right), (top, bottom) = edges
    boxes = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], -1)
    present = boxes[..., 2:3] > 0
    return torch.where(present, boxes, torch.full_like(boxes, ABSENT_BOX))
