"""Challenge attributes of instances, and AP on the instances that have one.

The `attributes` that an annotation records as true or false are used. If there are none, they are measured on the boxes
around the annotated masks, so that any dataset in YouTube-VIS format can be broken down [ours]. The thresholds of the
first three are customary in benchmarks of tracking and video segmentation (a factor of two; a move by the own size):

- `scale_variation`: largest / smallest box area >= 2.
- `aspect_ratio_change`: largest / smallest ratio of width to height >= 2.
- `fast_motion`: from one frame to the next the centre of the box moves by >= 1 time the square root of its area.
- `occlusion`: boxes of another object of the video cover >= half of the box in some frame; or the object is absent
  between two frames in which it is present.
- `partial_visibility`: in some frame the box touches the border of the frame and the mask has <= half of the largest
  area that it has in the video.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mssts.evaluation.average_precision import ap_metrics, none_if_nan
from mssts.evaluation.matching import ATTRIBUTE_VIEW, MatchRecords
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.tracks import Track, Video

THRESHOLDS = {
    "scale_variation": 2.0,
    "aspect_ratio_change": 2.0,
    "fast_motion": 1.0,
    "occlusion": 0.5,
    "partial_visibility": 0.5,
}


def _boxes_and_areas(instance: Track, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (T, 4) x, y, width, height and mask areas (T,) in pixels; NaN in frames without a pixel."""
    areas = np.full(frames, np.nan)
    known = instance.masks.areas_T[:frames]
    areas[: known.size] = np.where(known > 0, known, np.nan)
    return instance.masks.boxes(frames), areas


def _covered(boxes_N4: np.ndarray, other_N4: np.ndarray) -> np.ndarray:
    """Share of each box that the other object's box covers, (N,); 0 where that one is absent."""
    low = np.maximum(boxes_N4[:, :2], other_N4[:, :2])
    high = np.minimum(boxes_N4[:, :2] + boxes_N4[:, 2:], other_N4[:, :2] + other_N4[:, 2:])
    width_N, height_N = np.fmax(high - low, 0).T  # fmax: 0 in place of NaN
    return width_N * height_N / (boxes_N4[:, 2] * boxes_N4[:, 3])


def _measures(
    boxes_T4: np.ndarray, areas_T: np.ndarray, others: Sequence[np.ndarray], video: Video
) -> dict[str, float]:
    present_T = ~np.isnan(areas_T)
    frames = np.flatnonzero(present_T)
    if not frames.size:
        return dict.fromkeys(THRESHOLDS, 0.0)
    boxes, areas = boxes_T4[present_T], areas_T[present_T]
    box_areas, ratios = boxes[:, 2] * boxes[:, 3], boxes[:, 2] / boxes[:, 3]
    moves = np.diff(boxes_T4[:, :2] + boxes_T4[:, 2:] / 2, axis=0)
    relative_moves = np.sqrt((moves**2).sum(axis=1)) / np.sqrt(boxes_T4[:-1, 2] * boxes_T4[:-1, 3])
    vanishes = frames[-1] - frames[0] + 1 > frames.size
    covered = max((_covered(boxes, other_T4[present_T]).max() for other_T4 in others), default=0.0)
    touches = ((boxes[:, :2] <= 0) | (boxes[:, :2] + boxes[:, 2:] >= (video.width, video.height))).any(axis=1)
    hidden = 1 - areas / areas.max()
    return {
        "scale_variation": float(box_areas.max() / box_areas.min()),
        "aspect_ratio_change": float(ratios.max() / ratios.min()),
        "fast_motion": float(np.fmax.reduce(relative_moves, initial=0.0)),
        "occlusion": 1.0 if vanishes else float(covered),
        "partial_visibility": float(hidden[touches].max(initial=0.0)),
    }


def attribute_measures(truth: Annotations) -> dict[int, dict[str, float]]:
    """How strongly each instance shows each challenge, in the unit of `THRESHOLDS`; see the module's docstring.

    Returns:
        {annotation id: {attribute: measure >= 0}}; all are 0 where an instance never has a pixel.
    """
    measures = {}
    for video_id, instances in truth.tracks_of.items():
        video = truth.videos[video_id]
        tracks = [_boxes_and_areas(instance, video.length) for instance in instances]
        for position, (instance, (boxes, areas)) in enumerate(zip(instances, tracks, strict=True)):
            others = [other for index, (other, _) in enumerate(tracks) if index != position]
            measures[instance.id] = _measures(boxes, areas, others, video)
    return measures


def challenge_attributes(truth: Annotations) -> dict[int, dict[str, bool]]:
    """Whether each instance shows each challenge.

    Returns:
        {annotation id: {attribute: bool}}: the recorded attributes of an annotation if it has any, else
        `attribute_measures` at or above `THRESHOLDS`.
    """
    measured = {}
    if any(instance.attributes is None for instance in truth.tracks):
        measured = attribute_measures(truth)
    return {
        instance.id: dict(instance.attributes)
        if instance.attributes is not None
        else {name: measured[instance.id][name] >= least for name, least in THRESHOLDS.items()}
        for instance in truth.tracks
    }


def attribute_metrics(records: MatchRecords) -> dict[str, dict[str, float | int | None]]:
    """AP on the videos that show an attribute, for each attribute of the match records.

    In these videos, the instances without the attribute are ignored, and so are detections matched to them. Unmatched
    detections count, as it is unknown what they refer to: compare models within an attribute, not attributes.

    Returns:
        {attribute: {"AP", "AP75", "AP_agnostic" (0..1, None without an instance), "instances" (without crowds)}}.
    """
    result: dict[str, dict[str, float | int | None]] = {}
    for view, name in enumerate(records.views):
        if not name.startswith(ATTRIBUTE_VIEW):
            continue
        instances_V = records.pooled.positives_AV[view]
        metrics = ap_metrics(records, view, (instances_V > 0).astype(float)[None])
        values = {metric: none_if_nan(value_R[0]) for metric, value_R in metrics.items()}
        result[name.removeprefix(ATTRIBUTE_VIEW)] = {**values, "instances": int(instances_V.sum())}
    return result
