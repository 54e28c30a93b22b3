"""How strongly instances show challenges, measured once more, as `mssts.evaluation.attributes` defines it.

What fog and occluders cover is taken from the generator, which alone knows it.
"""

from __future__ import annotations

from functools import cache
from itertools import groupby

import numpy as np

from mssts.config import resolve
from mssts.data.synthvis.covers import rendered_covers
from tests.report.traced.evaluation import Evaluation, box_around, pixels
from tests.report.traced.study import STUDY

ORDER = ("scale_variation", "aspect_ratio_change", "partial_visibility", "occlusion", "fast_motion", "fog")


def shown_most(evaluation: Evaluation, others: list[Evaluation]) -> list[tuple[str, float, int]]:
    """For each challenge the instance that shows it most, none twice: challenge, measure and position.

    Args:
        evaluation: A submission, for its ground truth.
        others: Of submissions that must all have found the instance, at an IoU of 0.5 and whatever its category.
    """
    left = [n for n in range(len(evaluation.instances)) if evaluation.counts(n)]
    for one in others:
        found = set(one.ranking(None).matched_TN[0].tolist())
        left = [n for n in left if n in found]
    strengths, cases = _strengths(evaluation), []
    for challenge in ORDER:
        showing = [n for n in left if evaluation.counts(n, challenge)]
        if showing:
            most = max(showing, key=lambda n: (strengths[n][challenge], -n))
            left.remove(most)
            cases.append((challenge, strengths[most][challenge], most))
    return cases


@cache
def _strengths(evaluation: Evaluation) -> list[dict[str, float]]:
    synthetic = resolve(STUDY).data.synthetic
    found = []
    for video_id, tracks in groupby(evaluation.instances, key=lambda one: one["video_id"]):
        [video] = [one for one in evaluation.videos if one["id"] == video_id]
        size = video["length"], video["height"], video["width"]
        masks = [pixels(track["segmentations"], size) for track in tracks]
        covers = rendered_covers(synthetic, "synthvis", "valid", video_id)
        boxes = [np.array([box_around(mask_HW) for mask_HW in mask_THW], float) for mask_THW in masks]
        for number, (mask_THW, cover) in enumerate(zip(masks, covers, strict=True)):
            others = [box_T4 for other, box_T4 in enumerate(boxes) if other != number]
            strength = _measured(mask_THW.sum(axis=(1, 2)), boxes[number], others, size)
            seen_T = mask_THW.any(axis=(1, 2))
            strength["fog"] = cover.fogged_T[seen_T].mean()
            strength["occlusion"] = max(strength["occlusion"], cover.occluded_T[seen_T].max())
            found.append(strength)
    return found


def _measured(
    area_T: np.ndarray, box_T4: np.ndarray, others: list[np.ndarray], size: tuple[int, int, int]
) -> dict[str, float]:
    frames = np.flatnonzero(area_T)
    box_area_T, ratio_T = box_T4[:, 2] * box_T4[:, 3], box_T4[:, 2] / np.maximum(box_T4[:, 3], 1)
    centre_T2 = box_T4[:, :2] + box_T4[:, 2:] / 2
    moves = [
        np.linalg.norm(centre_T2[t + 1] - centre_T2[t]) / np.sqrt(box_area_T[t]) for t in frames if t + 1 in frames
    ]
    at_border = [
        t
        for t in frames
        if min(box_T4[t, :2]) <= 0 or box_T4[t, 0] + box_T4[t, 2] >= size[2] or box_T4[t, 1] + box_T4[t, 3] >= size[1]
    ]
    covered = [_covered(box_T4[t], other_T4[t]) for other_T4 in others for t in frames if other_T4[t, 2]]
    return {
        "scale_variation": box_area_T[frames].max() / box_area_T[frames].min(),
        "aspect_ratio_change": ratio_T[frames].max() / ratio_T[frames].min(),
        "fast_motion": max(moves, default=0.0),
        "partial_visibility": max((1 - area_T[t] / area_T.max() for t in at_border), default=0.0),
        "occlusion": 1.0 if np.ptp(frames) + 1 > len(frames) else max(covered, default=0.0),
    }


def _covered(box_4: np.ndarray, other_4: np.ndarray) -> float:
    """Share of a box that another one covers."""
    low, high = np.maximum(box_4[:2], other_4[:2]), np.minimum(box_4[:2] + box_4[2:], other_4[:2] + other_4[2:])
    return float(np.prod(np.maximum(high - low, 0)) / (box_4[2] * box_4[3]))
