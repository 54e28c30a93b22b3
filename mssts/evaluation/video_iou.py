"""IoU of spatio-temporal masks: intersections and unions summed over the frames of a video before dividing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mssts.evaluation import run_length
from mssts.evaluation.ground_truth import Segmentations


def _volumes(tracks: Sequence[Segmentations]) -> np.ndarray:
    """Sum of mask areas over frames, in pixels, (N,) float64."""
    return np.array([run_length.areas([mask for mask in track if mask]).sum() for track in tracks], dtype=np.float64)


def video_iou(predicted: Sequence[Segmentations], annotated: Sequence[Segmentations]) -> np.ndarray:
    """IoU of each predicted with each annotated track of one video.

    Args:
        predicted: P tracks; a track is a tuple of run-length masks of one size, None where absent, one per frame.
        annotated: G tracks of the same length and mask size.

    Returns:
        (P, G) float64 in 0..1: sum of intersections / sum of unions. A frame in which only one of the two is present
        adds to the union; 0 where both are empty in every frame. The numbers of pixels are exact integers.

    Source: [code] YouTube-VIS evaluation; one call per frame for all pairs is ours. pycocotools divides by the area of
    the first mask if the second is a crowd, which gives the intersection back after rounding.
    """
    intersections = np.zeros((len(predicted), len(annotated)))
    if not intersections.size:
        return intersections
    for masks_P, masks_G in zip(zip(*predicted, strict=True), zip(*annotated, strict=True), strict=True):
        rows = [i for i, mask in enumerate(masks_P) if mask]
        columns = [j for j, mask in enumerate(masks_G) if mask]
        if not rows or not columns:
            continue
        present = [masks_P[i] for i in rows]
        covered = coco_mask.iou(present, [masks_G[j] for j in columns], [1] * len(columns))
        intersections[np.ix_(rows, columns)] += np.rint(covered * run_length.areas(present)[:, None])
    unions = _volumes(predicted)[:, None] + _volumes(annotated)[None, :] - intersections
    return np.divide(intersections, unions, out=np.zeros_like(unions), where=unions > 0)
