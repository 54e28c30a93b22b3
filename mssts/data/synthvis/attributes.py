"""Challenges of one SynthVIS instance, measured on the drawn masks and never taken from the plan.

All thresholds are [ours]; the challenges are those of the poster's attention-map figure, plus fast motion and fog.
"""

from __future__ import annotations

import numpy as np

ATTRIBUTES = {
    "scale_variation": "largest mask at least 2.5 times the smallest, over frames that show the object whole",
    "aspect_ratio_change": "width/height of the box changes by a factor of at least 1.6, over the same frames",
    "fast_motion": "the box centre moves by at least 5 % of the frame's short side a frame on average",
    "occlusion": "in some frame an occluder lies on at least 40 % of it or a nearer object hides at least 25 %",
    "fog": "fog lies on at least 30 % of it on average",
    "partial_visibility": "in some frame at most 70 % of the object lies within the frame",
}
MIN_VISIBLE_PX = 10
WHOLE = 0.93


def boxes_xywh(visible_THW: np.ndarray) -> np.ndarray:
    """Boxes (T, 4) x, y, width, height in px of masks (T, H, W) bool; zeros for an empty mask."""
    spans = []
    for axis in (1, 2):
        line = visible_THW.any(axis=axis)
        start = line.argmax(axis=1)
        length = line.shape[1] - line[:, ::-1].argmax(axis=1) - start
        spans.append((start, np.where(line.any(axis=1), length, 0)))
    (x, w), (y, h) = spans
    return np.stack([x, y, w, h], axis=1)


def present_frames(visible_THW: np.ndarray) -> np.ndarray:
    """Frames (T,) bool in which at least MIN_VISIBLE_PX are visible; in all others the annotation is null."""
    return visible_THW.sum(axis=(1, 2)) >= MIN_VISIBLE_PX


def measure(
    visible_THW: np.ndarray,
    own_area_T: np.ndarray,
    whole_area_T: np.ndarray,
    occluded_T: np.ndarray,
    fogged_T: np.ndarray,
) -> dict[str, bool]:
    """Attributes of one instance; arguments as in `Rendering`, for one object."""
    height, width = visible_THW.shape[1:]
    areas = visible_THW.sum(axis=(1, 2))
    present = present_frames(visible_THW)
    boxes = boxes_xywh(visible_THW).astype(float)
    inside = own_area_T / whole_area_T
    hidden = 1 - areas / np.maximum(own_area_T, 1)
    whole = present & (inside > WHOLE) & (hidden < 1 - WHOLE)

    centres = boxes[:, :2] + boxes[:, 2:] / 2
    pairs = present[1:] & present[:-1]
    steps = np.linalg.norm(centres[1:] - centres[:-1], axis=1)[pairs]
    in_frame = own_area_T >= MIN_VISIBLE_PX
    values = {
        "scale_variation": _change(areas[whole]) >= 2.5,
        "aspect_ratio_change": _change(boxes[whole, 2] / np.maximum(boxes[whole, 3], 1)) >= 1.6,
        "fast_motion": bool(len(steps)) and steps.mean() >= 0.05 * min(height, width),
        "occlusion": (present & (occluded_T >= 0.4)).any() or (in_frame & (hidden >= 0.25)).any(),
        "fog": bool(present.any()) and fogged_T[present].mean() >= 0.3,
        "partial_visibility": (present & (inside <= 0.7)).any(),
    }
    return {name: bool(values[name]) for name in ATTRIBUTES}


def _change(values: np.ndarray) -> float:
    return float(values.max() / max(values.min(), 1e-6)) if len(values) > 1 else 1.0
