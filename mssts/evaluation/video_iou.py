"""IoU of spatio-temporal masks: intersections and unions summed over the frames of a video before dividing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mssts.evaluation.tracks import Segmentations, Track


def video_iou(predicted: Sequence[Track], annotated: Sequence[Track]) -> np.ndarray:
    """IoU of each predicted with each annotated track of one video.

    Returns:
        (P, G) float64 in 0..1: sum of intersections / sum of unions. A frame in which only one of the two is present
        adds to the union; 0 where both are empty in every frame. The numbers of pixels are exact integers.

    Source: [code] YouTube-VIS evaluation. [ours]: the number of annotated pixels before a place in the video is linear
    between the edges of its runs, so that all predictions are measured against an annotation by one interpolation of
    their own edges.
    """
    ious = np.zeros((len(predicted), len(annotated)))
    regular = [p for p, track in enumerate(predicted) if track.irregular is None]
    if regular and annotated:
        edges = np.concatenate([predicted[p].edges_2N for p in regular]).astype(np.float64)
        counts = [predicted[p].edges_2N.size // 2 for p in regular]
        volumes = np.array([predicted[p].areas_T.sum() for p in regular])
        for g, track in enumerate(annotated):
            if track.irregular is None:
                ious[regular, g] = _regular_column(edges, counts, volumes, track)
    for p, first in enumerate(predicted):
        for g, second in enumerate(annotated):
            if first.irregular is not None or second.irregular is not None:
                ious[p, g] = _irregular_iou(first.masks(), second.masks())
    return ious


def _regular_column(edges_2N: np.ndarray, counts_P: list[int], volumes_P: np.ndarray, track: Track) -> np.ndarray:
    """(P,) IoU of the predictions whose edges stand one after the other with one annotated track."""
    own = track.edges_2N.astype(np.float64)
    if not own.size or not edges_2N.size:
        return np.zeros(len(counts_P))
    before = _pixels_before(own)
    at_edges = np.interp(edges_2N, own, before)
    shares = np.concatenate(([0.0], np.cumsum(at_edges[1::2] - at_edges[::2])))
    borders = np.concatenate(([0], np.cumsum(counts_P)))
    intersections = np.diff(shares[borders])
    unions = volumes_P + before[-1] - intersections
    return np.divide(intersections, unions, out=np.zeros(len(counts_P)), where=unions > 0)


def frame_ious(first: Track, second: Track) -> np.ndarray:
    """(T,) IoU of two tracks of one video in each frame that both have, 0 where one is absent or of another size."""
    frames = min(first.areas_T.size, second.areas_T.size)
    if first.irregular is not None or second.irregular is not None:
        pairs = zip(first.masks(), second.masks(), strict=False)
        return np.array([_irregular_iou((one,), (other,)) for one, other in pairs])
    intersections_T = np.zeros(frames)
    edges, own = first.edges_2N.astype(np.float64), second.edges_2N.astype(np.float64)
    if edges.size and own.size:
        shares = np.diff(np.interp(edges, own, _pixels_before(own)))[::2]
        frame_N = first.edges_2N[::2] // (first.size[0] * first.size[1])
        intersections_T = np.bincount(frame_N, weights=shares, minlength=frames)
    unions_T = first.areas_T + second.areas_T - intersections_T
    return np.divide(intersections_T, unions_T, out=np.zeros(frames), where=unions_T > 0)


def _pixels_before(edges_2N: np.ndarray) -> np.ndarray:
    """(2N,) pixels of the object before each of its edges."""
    covered_N = np.cumsum(edges_2N[1::2] - edges_2N[::2])
    return np.stack([np.concatenate(([0.0], covered_N[:-1])), covered_N], axis=1).reshape(-1)


def _irregular_iou(first: Segmentations, second: Segmentations) -> float:
    """IoU as the public code counts it: the shorter track ends both, frames of different sizes count as empty."""
    intersection = union = 0.0
    for one, other in zip(first, second, strict=False):
        if one and other:
            if list(one["size"]) != list(other["size"]):
                continue
            intersection += float(coco_mask.area(coco_mask.merge([one, other], True)))
            union += float(coco_mask.area(coco_mask.merge([one, other], False)))
        elif one or other:
            union += float(coco_mask.area(one or other))
    return intersection / union if union > 0 else 0.0
