"""Challenge attributes of a SynthVIS instance, measured on the rendered masks instead of read from the scene.

All thresholds are [ours]. The challenges are those of the attention-map figure on the poster, plus fast motion and fog.
"""

from __future__ import annotations

import numpy as np

from mssts.data.synthvis.render import Rendering

# These texts are written into every annotation file: another wording changes the fingerprint of the dataset.
ATTRIBUTES = {
    "scale_variation": "largest mask at least 2.5 times the smallest, over frames that show the object whole",
    "aspect_ratio_change": "width/height of the box changes by a factor of at least 1.6, over the same frames",
    "fast_motion": "the box centre moves by at least 5 % of the frame's short side a frame on average",
    "occlusion": "in some frame an occluder lies on at least 40 % of it or a nearer object hides at least 25 %",
    "fog": "fog lies on at least 30 % of it on average",
    "partial_visibility": "in some frame at most 70 % of the object lies within the frame",
}
MIN_VISIBLE_PX = 10
_WHOLE = 0.93  # smallest visible share of an object that counts as shown whole


def measure_attributes(rendering: Rendering, n: int, boxes_T4: np.ndarray) -> dict[str, bool]:
    """Measure which challenges one object shows.

    Args:
        rendering: The rendered video.
        n: Index of the object in the rendering.
        boxes_T4: (T, 4) boxes x, y, width, height of its visible masks, in px of the frame.

    Returns:
        For each of `ATTRIBUTES` whether the object shows it.
    """
    area_T, area_in_frame_T = rendering.visible_NTHW[n].sum(axis=(1, 2)), rendering.area_in_frame_NT[n]
    present_T = area_T >= MIN_VISIBLE_PX
    inside_T = area_in_frame_T / rendering.full_area_NT[n]
    hidden_T = 1 - area_T / np.maximum(area_in_frame_T, 1)
    whole_T = present_T & (inside_T > _WHOLE) & (hidden_T < 1 - _WHOLE)

    centres_T2 = boxes_T4[:, :2] + boxes_T4[:, 2:] / 2
    steps = np.linalg.norm(np.diff(centres_T2, axis=0), axis=1)[present_T[1:] & present_T[:-1]]
    in_frame_T = area_in_frame_T >= MIN_VISIBLE_PX
    fog = rendering.fogged_share_NT[n, present_T]
    values = {
        "scale_variation": _largest_ratio(area_T[whole_T]) >= 2.5,
        "aspect_ratio_change": _largest_ratio(boxes_T4[whole_T, 2] / np.maximum(boxes_T4[whole_T, 3], 1)) >= 1.6,
        "fast_motion": steps.size and steps.mean() >= 0.05 * min(rendering.visible_NTHW.shape[2:]),
        "occlusion": (present_T & (rendering.occluded_share_NT[n] >= 0.4)).any()
        or (in_frame_T & (hidden_T >= 0.25)).any(),
        "fog": fog.size and fog.mean() >= 0.3,
        "partial_visibility": (present_T & (inside_T <= 0.7)).any(),
    }
    return {name: bool(values[name]) for name in ATTRIBUTES}


def _largest_ratio(values: np.ndarray) -> float:
    """Ratio of the largest to the smallest value; 1 for fewer than two values."""
    return float(values.max() / max(values.min(), 1e-6)) if len(values) > 1 else 1.0
