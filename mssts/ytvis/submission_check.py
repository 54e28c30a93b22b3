"""Check of a submission file, ours or of any other method, against the rules of the YouTube-VIS format."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.data.datasets import entry
from mssts.ytvis.annotations import Video, VideoAnnotations
from mssts.ytvis.segmentation import problem_of, runs_fill

RESULTS = "results.json"
KEYS = ("video_id", "category_id", "score", "segmentations")
MAX_PER_VIDEO = 100  # what the evaluator counts of a video and category
RULES = (
    "a zip with results.json at its root, or that JSON by itself; UTF-8",
    "a list of objects, each with video_id, category_id, score and segmentations",
    "video_id: an id of the split's videos; category_id: an id of the dataset's categories; both whole numbers",
    "score: a finite number",
    "segmentations: one entry per frame of the video: null, or a compressed run length of the video's size",
    "the run lengths fill the frame",
    "at least one prediction (the public evaluator ends with an error on none)",
)


def check_submission(file: Path, dataset: str, directory: Path, split: str) -> tuple[list[str], list[str]]:
    """(problems, remarks) of a submission for a split of the dataset in `directory`, in words; every problem is listed.

    A remark is legal but deserves a word. Raises InputError if the dataset itself cannot be read.
    """
    annotations = VideoAnnotations.read(*entry(dataset).files(directory, split), dataset, truth=False)
    try:
        predictions = _content(Path(file))
    except InputError as error:
        return [str(error)], []
    if not isinstance(predictions, list):
        return [f"{file}: found {type(predictions).__name__} at the top, expected a list of objects"], []
    if not predictions:
        return [f"{file}: the list is empty; expected at least one prediction"], []
    videos = {video.id: video for video in annotations.videos}
    categories = dict(annotations.categories)
    problems = [
        f"[{index}]: {problem}"
        for index, record in enumerate(predictions)
        for problem in _problems(record, videos, categories)
    ]
    return problems, _remarks(predictions, videos)


def _content(path: Path) -> Any:
    """The JSON in a file or in the zip around it. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a submission as JSON, or zipped")
    data = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(data)):
        data = _unzipped(path, data)
    elif path.suffix == ".zip":
        raise InputError(f"{path}: not a zip file; zip {RESULTS} again")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None


def _unzipped(path: Path, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if names != [RESULTS]:
                raise InputError(f"{path}: the zip holds {names}, expected {RESULTS} at its root and nothing else")
            return archive.read(RESULTS)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path}: damaged zip: {error}; zip {RESULTS} again") from None


def _problems(record: Any, videos: dict[int, Video], categories: dict[int, str]) -> list[str]:
    """What is wrong with one prediction."""
    if not isinstance(record, dict):
        return [f"found {type(record).__name__}, expected an object with {', '.join(KEYS)}"]
    problems = [f"{key} is missing" for key in KEYS if key not in record]
    number, category, score = (record.get(key) for key in ("video_id", "category_id", "score"))
    video = videos.get(number) if _whole(number) else None
    if "video_id" in record and video is None:
        problems.append(f"video_id: found {number!r}, which is none of the split's {len(videos)} videos")
    if "category_id" in record and not (_whole(category) and category in categories):
        problems.append(f"category_id: found {category!r}, expected one of {min(categories)}..{max(categories)}")
    if "score" in record and not (
        isinstance(score, int | float) and not isinstance(score, bool) and abs(score) < float("inf")
    ):
        problems.append(f"score: found {score!r}, expected a finite number")
    if "segmentations" in record:
        problems += _frame_problems(record["segmentations"], video)
    return problems


def _frame_problems(frames: Any, video: Video | None) -> list[str]:
    if not isinstance(frames, list):
        return [f"segmentations: found {type(frames).__name__}, expected a list with one entry per frame"]
    if video is None:
        return []
    problems = []
    if len(frames) != video.length:
        problems.append(f"segmentations: found {len(frames)} entries, but video {video.id} has {video.length} frames")
    for t, mask in enumerate(frames):
        problem = None if mask is None else _mask_problem(mask, video)
        if problem:
            problems.append(f"segmentations[{t}]: {problem}")
    return problems


def _mask_problem(mask: Any, video: Video) -> str | None:
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        return (
            "expected null or an object with size and a compressed run-length string counts (pycocotools.mask.encode)"
        )
    problem = problem_of(mask, video.height, video.width)
    if problem:
        return problem.removeprefix("segmentation: ")
    if not runs_fill(mask, video.height, video.width):
        return f"counts: the run lengths do not fill {video.height} x {video.width} px"
    return None


def _remarks(predictions: list[Any], videos: dict[int, Video]) -> list[str]:
    """What is legal but deserves a word."""
    records = [record for record in predictions if isinstance(record, dict) and _whole(record.get("video_id"))]
    remarks = []
    predicted = {record["video_id"] for record in records}
    if videos.keys() - predicted:
        remarks.append(f"{len(videos.keys() - predicted)} of {len(videos)} videos have no prediction")
    per_group = Counter((r["video_id"], r["category_id"]) for r in records if _whole(r.get("category_id")))
    crowded = sum(count > MAX_PER_VIDEO for count in per_group.values())
    if crowded:
        remarks.append(
            f"{crowded} times more than {MAX_PER_VIDEO} predictions of one video and category: the rest does not count"
        )
    empty = sum(1 for r in records if isinstance(r.get("segmentations"), list) and not any(r["segmentations"]))
    if empty:
        remarks.append(f"{empty} predictions are null in every frame")
    return remarks


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
