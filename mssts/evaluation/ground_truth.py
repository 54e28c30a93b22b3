"""Ground truth of a YouTube-VIS annotation file, read and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssts.evaluation import run_length
from mssts.evaluation.json_input import Problems, is_finite_number, is_integer, missing_keys, read_json
from mssts.structures import InputError

WHAT = "annotation file in YouTube-VIS format (videos, categories, annotations)"
Segmentations = tuple[dict[str, Any] | None, ...]


@dataclass(frozen=True)
class Video:
    """One video: its frame size in pixels and its number of frames."""

    id: int
    height: int
    width: int
    length: int


@dataclass(frozen=True)
class Instance:
    """One annotated object.

    area: mean of the file's non-null, non-zero areas, pixels [code]. segmentations: a run-length mask for each
    frame, None where the object is absent. attributes: the challenges that the file records, None if it records none.
    """

    id: int
    video_id: int
    category_id: int
    crowd: bool
    area: float
    segmentations: Segmentations
    attributes: dict[str, bool] | None


@dataclass(frozen=True)
class GroundTruth:
    """Videos and categories in the order of their ids, instances in the order of the file."""

    videos: dict[int, Video]
    categories: dict[int, str]
    instances: tuple[Instance, ...]


def _indexed(content: dict, key: str, keys: tuple[str, ...], build: Callable, problems: Problems) -> dict[int, Any]:
    """Records of one list of the file, by id in ascending order."""
    records: dict[int, Any] = {}
    if not isinstance(content[key], list) or not content[key]:
        problems.add(key, f"found {content[key]!r:.40}, expected a list with at least one entry")
        return records
    for position, record in enumerate(content[key]):
        where = f"{key}[{position}]"
        problem = missing_keys(record, keys)
        if problem:
            problems.add(where, problem)
        elif not is_integer(record["id"]):
            problems.add(where, f"id: found {record['id']!r}, expected an integer")
        elif record["id"] in records:
            problems.add(where, f"id {record['id']} occurs twice; give each entry its own id")
        else:
            built = build(record, where, problems)
            if built is not None:
                records[record["id"]] = built
    return dict(sorted(records.items()))


def _video(record: dict[str, Any], where: str, problems: Problems) -> Video | None:
    for key in ("height", "width", "length"):
        if not is_integer(record[key]) or record[key] <= 0:
            problems.add(where, f"{key}: found {record[key]!r}, expected an integer above 0")
            return None
    return Video(record["id"], record["height"], record["width"], record["length"])


def _category(record: dict[str, Any], where: str, problems: Problems) -> str | None:
    if not isinstance(record["name"], str):
        problems.add(where, f"name: found {record['name']!r}, expected text")
        return None
    return record["name"]


def _segmentations(record: dict[str, Any], video: Video, where: str, problems: Problems) -> Segmentations | None:
    frames = record["segmentations"]
    if not isinstance(frames, list) or len(frames) != video.length:
        found = f"{len(frames)} frames" if isinstance(frames, list) else type(frames).__name__
        problems.add(where, f"segmentations: found {found}, expected {video.length} (length of video {video.id})")
        return None
    masks: list[dict[str, Any] | None] = []
    for frame, segmentation in enumerate(frames):
        if not segmentation:  # null, and [] as some converters write it
            masks.append(None)
            continue
        mask, problem = run_length.read_any(segmentation, video.height, video.width)
        if problem:
            problems.add(where, f"segmentations[{frame}]: {problem}")
            return None
        masks.append(mask)
    return tuple(masks)


def _area(record: dict[str, Any], masks: Segmentations, where: str, problems: Problems) -> float:
    """Mean area in pixels, of the file's `areas`; of the masks where the file has none [ours]."""
    areas = record.get("areas")
    if areas is None:
        return run_length.mean_nonempty_area(list(run_length.areas([mask for mask in masks if mask])))
    if not isinstance(areas, list) or not all(area is None or is_finite_number(area) for area in areas):
        problems.add(where, "areas: expected a list with a number or null for each frame")
        return 0.0
    return run_length.mean_nonempty_area(areas)


def _attributes(record: dict[str, Any], where: str, problems: Problems) -> dict[str, bool] | None:
    attributes = record.get("attributes")
    if attributes is None:
        return None
    if not isinstance(attributes, dict) or not all(isinstance(value, bool) for value in attributes.values()):
        problems.add(where, "attributes: expected an object of names with true or false")
        return None
    return attributes


def _instance(
    record: dict[str, Any], where: str, videos: dict[int, Video], categories: dict[int, str], problems: Problems
) -> Instance | None:
    video = videos.get(record["video_id"]) if is_integer(record["video_id"]) else None
    if video is None:
        problems.add(where, f"video_id: found {record['video_id']!r}, which is not an id in videos")
    category = record["category_id"]
    if not is_integer(category) or category not in categories:
        problems.add(where, f"category_id: found {category!r}, expected one of {list(categories)}")
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        problems.add(where, f"iscrowd: found {crowd!r}, expected 0 or 1")
    if record["id"] < 1:
        problems.add(where, f"id: found {record['id']}, expected 1 or more (the reference reads 0 as no match)")
    attributes = _attributes(record, where, problems)
    masks = _segmentations(record, video, where, problems) if video is not None else None
    if masks is None:
        return None
    area = _area(record, masks, where, problems)
    return Instance(record["id"], record["video_id"], category, bool(crowd), area, masks, attributes)


def parse_ground_truth(content: Any, source: str = "annotations") -> GroundTruth:
    """Ground truth of the content of an annotation file.

    Args:
        content: the parsed JSON: an object with `videos`, `categories` and `annotations`.
        source: name of the file for messages.

    Raises:
        InputError: with one line for each problem: missing keys, no videos, categories or annotations (a test set
            without public ground truth has `annotations: null`), unknown or repeated ids, a number of frames that is
            not the length of the video, masks of another size than the video, runs that do not cover the frame.
    """
    problem = missing_keys(content, ("videos", "categories", "annotations"))
    if problem:
        raise InputError(f"{source}: {problem}; expected the {WHAT}")
    if not content["annotations"]:
        raise InputError(
            f"{source}: annotations: found {content['annotations']!r}, expected a list with at least one entry; "
            "a split without public ground truth cannot be evaluated here"
        )
    problems = Problems(source)
    videos = _indexed(content, "videos", ("id", "height", "width", "length"), _video, problems)
    categories = _indexed(content, "categories", ("id", "name"), _category, problems)
    for name in sorted({name for name in categories.values() if list(categories.values()).count(name) > 1}):
        problems.add("categories", f"name {name!r} occurs twice; give each category its own name")
    problems.raise_if_any()

    def build(record: dict[str, Any], where: str, problems: Problems) -> Instance | None:
        return _instance(record, where, videos, categories, problems)

    keys = ("id", "video_id", "category_id", "segmentations")
    file_order = [record.get("id") for record in content["annotations"] if isinstance(record, dict)]
    by_id = _indexed(content, "annotations", keys, build, problems)
    problems.raise_if_any()
    return GroundTruth(videos, categories, tuple(by_id[identifier] for identifier in file_order))


def read_ground_truth(path: Path) -> GroundTruth:
    """Ground truth of an annotation file; see `parse_ground_truth`. Raises InputError."""
    return parse_ground_truth(read_json(path, WHAT), str(path))
