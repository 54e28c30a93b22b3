"""Predictions in the official YouTube-VIS submission format: the one reader, and the check before submitting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.ytvis.annotations import VIDEOS, Annotations
from mssts.ytvis.file_kinds import FileKind, kind_of
from mssts.ytvis.json_input import (
    consume,
    garbage_collection_disabled,
    is_finite_number,
    is_integer,
    listed,
    missing_keys,
    parse_json,
    read_bytes,
    shown,
)
from mssts.ytvis.masks import TrackMasks
from mssts.ytvis.problems import Notice, Problems
from mssts.ytvis.tracks import check_frames, checked_masks
from mssts.ytvis.zip_input import unzipped

WHAT = "list of predictions in the YouTube-VIS submission format (video_id, category_id, score, segmentations)"
ZIPPED = "results.json"
MAX_DETECTIONS = 100
KEYS = ("video_id", "category_id", "score", "segmentations")
RULES = (
    f"a zip with {ZIPPED} at its root and nothing else, or that JSON file; UTF-8 without a byte order mark",
    "a list of objects, each with video_id, category_id, score and segmentations",
    "video_id: an id of the split's videos; category_id: an id of the dataset's categories; both integers",
    "score: a finite number",
    "segmentations: one entry per frame of the video: null, or a compressed run-length mask of the video's size",
    "the run lengths of a mask add up to height x width",
    "at least one prediction (the reference evaluator fails on an empty list)",
)


@dataclass(frozen=True)
class Prediction:
    """One predicted object.

    Attributes:
        index: Its position in the list.
        video_id: Id of its video.
        category_id: Id of its category.
        score: Confidence; finite, or with `lenient` any number.
        area: Mean of the areas of its masks that are not 0, in pixels [code].
        masks: Its masks in all frames.
    """

    index: int
    video_id: int
    category_id: int
    score: float
    area: float
    masks: TrackMasks


@dataclass(frozen=True)
class Submission:
    """The checked content of a submission file.

    Attributes:
        predictions: The predictions in the order of the file.
        notices: What was accepted although it is unusual.
        entries: Number of entries of the list, with those that are ignored (`lenient` only).
    """

    predictions: tuple[Prediction, ...]
    notices: tuple[Notice, ...]
    entries: int


def read_submission(path: Path, annotations: Annotations, lenient: bool = False) -> Submission:
    """Read and check a submission file: JSON, or a zip with `results.json`. See `parse_submission`."""
    with garbage_collection_disabled():
        content = submission_content(Path(path))
        return _parse(consume(content), len(content), annotations, Problems(str(path), lenient))


def parse_submission(
    content: Any, annotations: Annotations, source: str = "predictions", lenient: bool = False
) -> Submission:
    """Check the parsed content of a submission file.

    Args:
        content: A list of objects with `video_id`, `category_id`, `score` and `segmentations` (for each frame of the
            video null or a compressed run-length mask of the video's size). An empty list is legal.
        annotations: What the predictions are for.
        source: Name of the file, for messages.
        lenient: Accept what the reference evaluator silently accepts, treat it as it does, and count each case: tracks
            that have not one entry per frame, masks of another size, unknown categories, scores that are not finite.
            Masks whose runs do not cover their frame stay an error: the reference evaluator hangs on these.

    Raises:
        InputError: With one line for each problem.
    """
    _check_list(content, source)
    return _parse(content, len(content), annotations, Problems(source, lenient))


def check_submission(path: Path, annotations: Annotations) -> tuple[list[str], list[str]]:
    """Check a submission file against all `RULES`.

    Args:
        path: JSON, or a zip with `results.json`.
        annotations: The split that it is for; its ground truth is not needed.

    Returns:
        (problems, notes): a message for each problem; without problems, notes about what is legal but unusual.
    """
    problems = Problems(str(path))
    try:
        content = submission_content(Path(path))
    except InputError as error:
        return [str(error)], []
    if not content:
        return [f"{path}: the list is empty; expected at least one prediction"], []
    with garbage_collection_disabled():
        predictions = _predictions(consume(content), annotations, problems)
    notes = [f"{notice.what} ({notice.count} times, first: {notice.first})" for notice in problems.notices]
    missing = len(annotations.videos) - len({prediction.video_id for prediction in predictions})
    if missing:
        notes.append(f"{missing} of {len(annotations.videos)} videos have no prediction")
    empty = sum(not prediction.masks.present_T.any() for prediction in predictions)
    if empty:
        notes.append(f"{empty} predictions are null in every frame")
    return problems.lines, [] if problems.lines else notes


def submission_content(path: Path) -> list[Any]:
    """The list in a JSON file or in the zip around it. Raises InputError."""
    text = read_bytes(path, WHAT)
    if text.startswith(b"PK"):
        text = unzipped(text, ZIPPED, str(path))
    elif path.suffix == ".zip":
        raise InputError(f"{path}: not a zip file; zip {ZIPPED} again")
    content = parse_json(text, path, WHAT)
    _check_list(content, str(path))
    return content


def _check_list(content: Any, source: str) -> None:
    kind = kind_of(content)
    if kind is not None and kind is not FileKind.SUBMISSION:
        raise InputError(f"{source}: this is {kind.value}; expected the {WHAT}")
    if not isinstance(content, list):
        raise InputError(f"{source}: found {type(content).__name__} at the top, expected the {WHAT}")


def _parse(records: Iterable[Any], entries: int, annotations: Annotations, problems: Problems) -> Submission:
    predictions = _predictions(records, annotations, problems)
    problems.raise_if_any()
    if not predictions:
        problems.notice("list", "no predictions: AP and AR are 0 (the reference evaluator fails on an empty list)")
    return Submission(tuple(predictions), problems.notices, entries)


def _predictions(records: Iterable[Any], annotations: Annotations, problems: Problems) -> list[Prediction]:
    """The valid ones of the records; problems and notices are recorded."""
    found = (_prediction(record, index, annotations, problems) for index, record in enumerate(records))
    predictions = [prediction for prediction in found if prediction is not None]
    per_group = Counter((prediction.video_id, prediction.category_id) for prediction in predictions)
    for (video_id, category_id), count in sorted(per_group.items()):
        if count > MAX_DETECTIONS:
            what = f"predictions beyond the top {MAX_DETECTIONS} of a video and category: ignored"
            problems.notice(f"video {video_id}, category {category_id}", what, count - MAX_DETECTIONS)
    return predictions


def _prediction(record: Any, index: int, annotations: Annotations, problems: Problems) -> Prediction | None:
    """One prediction; None after recording what is wrong."""
    where, before = f"[{index}]", len(problems.lines)
    problem = missing_keys(record, KEYS)
    if problem:
        problems.add(where, problem)
        return None
    video_id, category_id, score, frames = (record[key] for key in KEYS)
    video = annotations.videos.get(video_id) if is_integer(video_id) else None
    if video is None:
        expected = f"not one of the {len(annotations.videos)} video ids of the annotations"
        problems.add(where, f"video_id: found {shown(video_id)}, which is {expected}")
    known = is_integer(category_id) and category_id in annotations.categories
    if not known:
        existing = listed(f"{identifier} ({name})" for identifier, name in annotations.categories.items())
        message = f"category_id: found {shown(category_id)}, expected one of {existing}"
        problems.tolerate(where, message, "predictions of unknown categories: ignored")
    _check_score(score, where, problems)
    if video is not None:
        check_frames(frames, video, where, problems)
    if video is None or not known or len(problems.lines) > before:
        return None
    if problems.lenient:
        empty = sum(1 for mask in frames if mask is not None and not mask)
        if empty:
            problems.notice(where, "empty entries that are not null: read as null", empty)
        frames = [mask or None for mask in frames]
    masks = checked_masks(frames, video, where, problems, VIDEOS.segmentation_key)
    if masks is None:
        return None
    return Prediction(index, video_id, category_id, float(score), masks.mean_area, masks)


def _check_score(score: Any, where: str, problems: Problems) -> None:
    if is_finite_number(score):
        return
    message = f"score: found {shown(score)}, expected a finite number"
    if isinstance(score, float | bool):
        problems.tolerate(where, message, "scores that are not finite: NaN is ranked last")
    else:
        problems.add(where, message)
