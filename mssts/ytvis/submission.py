"""Predictions in the official YouTube-VIS submission format, read and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.ytvis.ground_truth import SHORT, GroundTruth, checked_track
from mssts.ytvis.json_input import Notice, Problems, is_finite_number, is_integer, missing_keys, read_json
from mssts.ytvis.tracks import Track, read_tracks

WHAT = "list of predictions in the YouTube-VIS submission format (video_id, category_id, score, segmentations)"
MAX_DETECTIONS = 100
TRACKS_AT_ONCE = 16
KEYS = ("video_id", "category_id", "score", "segmentations")


@dataclass(frozen=True)
class Prediction:
    """One predicted object.

    index: position in the list. area: mean of the non-zero areas of its masks, pixels [code]. track: its masks.
    """

    index: int
    video_id: int
    category_id: int
    score: float
    area: float
    track: Track


class Predictions(tuple[Prediction, ...]):
    """Predictions in the order of their file, and what was accepted with a word."""

    notices: tuple[Notice, ...] = ()


def _prediction(
    record: dict[str, Any], index: int, truth: GroundTruth, track: Track | None, problems: Problems
) -> Prediction | None:
    where, before = f"[{index}]", len(problems.lines)
    video = truth.videos.get(record["video_id"]) if is_integer(record["video_id"]) else None
    if video is None:
        problems.add(where, f"video_id: found {record['video_id']!r}, which is not a video of the annotations")
    category = record["category_id"]
    known = is_integer(category) and category in truth.categories
    if not known:
        existing = ", ".join(f"{identifier} ({name})" for identifier, name in truth.categories.items())
        said = f"category_id: found {category!r}, expected one of {existing}"
        problems.forgive(where, said, "predictions of a category that the annotations do not have: left out")
    _check_score(record["score"], where, problems)
    frames = record["segmentations"]
    irregular = isinstance(frames, list) and video is not None and len(frames) != video.length
    if not isinstance(frames, list):
        problems.add(where, f"segmentations: found {type(frames).__name__}, expected a list with an entry per frame")
    elif irregular:
        found = f"found {len(frames)} frames, but video {video.id} has {video.length}"
        problems.forgive(where, f"segmentations: {found}; write null for a frame without the object", SHORT)
    if len(problems.lines) > before or not known:
        return None
    if problems.lenient:
        frames = _without_falsy(frames, where, problems)
    track = track or checked_track(frames, video, irregular, where, problems)
    return track and Prediction(index, video.id, category, float(record["score"]), track.mean_area, track)


def _check_score(score: Any, where: str, problems: Problems) -> None:
    if is_finite_number(score):
        return
    said = f"score: found {score!r}, expected a finite number"
    if isinstance(score, float | bool):
        problems.forgive(where, said, "scores that are no finite number: NaN ranks last")
    else:
        problems.add(where, said)


def _without_falsy(frames: list[Any], where: str, problems: Problems) -> list[Any]:
    wrong = sum(1 for mask in frames if mask is not None and not mask)
    if wrong:
        problems.warn(where, "empty entries that are not null: read as null", wrong)
    return [mask or None for mask in frames]


def _video_id(entry: tuple[int, Any]) -> Any:
    return entry[1].get("video_id") if isinstance(entry[1], dict) else None


def _tracks(records: list[Any], truth: GroundTruth) -> list[Track] | list[None]:
    """Tracks of records of one video, read together; None for each of them if one needs a closer look."""
    video_id = _video_id((0, records[0]))
    video = truth.videos.get(video_id) if is_integer(video_id) else None
    frames = [record.get("segmentations") if video else None for record in records]
    if not all(isinstance(one, list) and len(one) == video.length for one in frames):
        return [None] * len(records)
    return read_tracks(frames, video.height, video.width) or [None] * len(records)


def _parse(records: Iterable[Any], truth: GroundTruth, problems: Problems) -> Predictions:
    predictions = []
    for _, of_video in groupby(enumerate(records), key=_video_id):
        while batch := list(islice(of_video, TRACKS_AT_ONCE)):
            tracks = _tracks([record for _, record in batch], truth)
            for (index, record), track in zip(batch, tracks, strict=True):
                problem = missing_keys(record, KEYS)
                if problem:
                    problems.add(f"[{index}]", problem)
                    continue
                prediction = _prediction(record, index, truth, track, problems)
                if prediction is not None:
                    predictions.append(prediction)
    problems.raise_if_any()
    if not predictions:
        problems.warn("list", "no prediction at all: AP and AR are 0 (the public evaluator ends with an error)")
    per_group = Counter((one.video_id, one.category_id) for one in predictions)
    for (video, category), count in sorted(per_group.items()):
        if count > MAX_DETECTIONS:
            what = f"predictions beyond the {MAX_DETECTIONS} best of their video and category: not counted"
            problems.warn(f"video {video}, category {category}", what, count - MAX_DETECTIONS)
    found = Predictions(predictions)
    found.notices = problems.notices
    return found


def parse_predictions(
    content: Any, truth: GroundTruth, source: str = "predictions", lenient: bool = False
) -> Predictions:
    """Predictions of the content of a submission file, in its order; the empty list is legal.

    Args:
        content: the parsed JSON: a list of objects with `video_id`, `category_id`, `score` and `segmentations` (for
            each frame of the video null or a compressed run-length mask of the video's size).
        truth: the ground truth that the predictions are for.
        source: name of the file for messages.
        lenient: count what the public evaluator passes over in silence as notices, and do as it does: tracks that
            have not one entry per frame, masks of another size, unknown categories, scores that are not finite. Masks
            whose runs do not cover their frame stay an error: the public code does not end on them.

    Raises:
        InputError: with one line for each problem.
    """
    _check_list(content, source)
    return _parse(content, truth, Problems(source, lenient))


def _check_list(content: Any, source: str) -> None:
    if not isinstance(content, list):
        raise InputError(f"{source}: found {type(content).__name__} at the top, expected the {WHAT}")


def read_predictions(path: Path, truth: GroundTruth, lenient: bool = False) -> Predictions:
    """Predictions of a submission file; see `parse_predictions`. Raises InputError."""
    content = read_json(path, WHAT)
    _check_list(content, str(path))
    content.reverse()
    one_by_one = (content.pop() for _ in range(len(content)))  # what has been read is given back at once
    return _parse(one_by_one, truth, Problems(str(path), lenient))
