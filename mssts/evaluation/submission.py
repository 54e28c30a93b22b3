"""Predictions in the official YouTube-VIS submission format, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssts.evaluation import run_length
from mssts.evaluation.ground_truth import GroundTruth, Segmentations
from mssts.evaluation.json_input import Problems, is_finite_number, is_integer, missing_keys, read_json
from mssts.structures import InputError

WHAT = "list of predictions in the YouTube-VIS submission format (video_id, category_id, score, segmentations)"
KEYS = ("video_id", "category_id", "score", "segmentations")


@dataclass(frozen=True)
class Prediction:
    """One predicted object.

    index: position in the list. area: mean of the non-zero areas of its masks, pixels [code]. segmentations: a
    run-length mask for each frame, None where the object is predicted absent.
    """

    index: int
    video_id: int
    category_id: int
    score: float
    area: float
    segmentations: Segmentations


def _prediction(record: dict[str, Any], index: int, truth: GroundTruth, problems: Problems) -> Prediction | None:
    where, before = f"[{index}]", len(problems.lines)
    video = truth.videos.get(record["video_id"]) if is_integer(record["video_id"]) else None
    if video is None:
        problems.add(where, f"video_id: found {record['video_id']!r}, which is not a video of the annotations")
    category = record["category_id"]
    if not is_integer(category) or category not in truth.categories:
        existing = ", ".join(f"{identifier} ({name})" for identifier, name in truth.categories.items())
        problems.add(where, f"category_id: found {category!r}, expected one of {existing}")
    if not is_finite_number(record["score"]):
        problems.add(where, f"score: found {record['score']!r}, expected a finite number")
    frames = record["segmentations"]
    if not isinstance(frames, list):
        problems.add(where, f"segmentations: found {type(frames).__name__}, expected a list with an entry per frame")
    elif video is not None and len(frames) != video.length:
        found = f"found {len(frames)} frames, but video {video.id} has {video.length}"
        problems.add(where, f"segmentations: {found}; write null for a frame without the object")
    if len(problems.lines) > before:
        return None
    masks: list[dict[str, Any] | None] = []
    for frame, segmentation in enumerate(frames):
        mask, problem = None, None
        if segmentation is not None:
            mask, problem = run_length.read_compressed(segmentation, video.height, video.width)
        if problem:
            problems.add(where, f"video {video.id}, segmentations[{frame}]: {problem}")
            return None
        masks.append(mask)
    area = run_length.mean_nonempty_area(list(run_length.areas([mask for mask in masks if mask])))
    return Prediction(index, video.id, category, float(record["score"]), area, tuple(masks))


def parse_predictions(content: Any, truth: GroundTruth, source: str = "predictions") -> tuple[Prediction, ...]:
    """Predictions of the content of a submission file, in its order; the empty list is legal.

    Args:
        content: the parsed JSON: a list of objects with `video_id`, `category_id`, `score` and `segmentations` (for
            each frame of the video null or a compressed run-length mask of the video's size).
        truth: the ground truth that the predictions are for.
        source: name of the file for messages.

    Raises:
        InputError: with one line for each problem (the reference evaluator passes over most of them in silence).
    """
    if not isinstance(content, list):
        raise InputError(f"{source}: found {type(content).__name__} at the top, expected the {WHAT}")
    problems = Problems(source)
    predictions = []
    for index, record in enumerate(content):
        problem = missing_keys(record, KEYS)
        if problem:
            problems.add(f"[{index}]", problem)
            continue
        prediction = _prediction(record, index, truth, problems)
        if prediction is not None:
            predictions.append(prediction)
    problems.raise_if_any()
    return tuple(predictions)


def read_predictions(path: Path, truth: GroundTruth) -> tuple[Prediction, ...]:
    """Predictions of a submission file; see `parse_predictions`. Raises InputError."""
    return parse_predictions(read_json(path, WHAT), truth, str(path))
