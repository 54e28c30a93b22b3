"""Ground truth of a YouTube-VIS annotation file, read and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.ytvis import run_length
from mssts.ytvis.json_input import Notice, Problems, is_finite_number, is_integer, missing_keys, read_json
from mssts.ytvis.tracks import Segmentations, Track, named_size, read_irregular_track, read_track

SHORT = "tracks that have not one entry per frame: cut to the shorter of two tracks when these are compared"
OTHER_SIZE = "masks of another size than the video: frames in which two sizes meet count as empty"
LARGEST = 2**20  # pixels of a side, or frames
WHAT = "annotation file in YouTube-VIS format (videos, categories, annotations)"


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

    area: mean of the file's non-null, non-zero areas, pixels [code]. attributes: the challenges that the file records,
    None if it records none.
    """

    id: int
    video_id: int
    category_id: int
    crowd: bool
    area: float
    track: Track
    attributes: dict[str, bool] | None

    @property
    def segmentations(self) -> Segmentations:
        """A run-length mask for each frame, None where the object is absent."""
        return self.track.masks()


@dataclass(frozen=True)
class GroundTruth:
    """Videos and categories in the order of their ids, instances in the order of the file.

    notices: what was accepted with a word. pooled: positions of the instances that count where categories are pooled;
    all of them, with `lenient` some perhaps twice.
    """

    videos: dict[int, Video]
    categories: dict[int, str]
    instances: tuple[Instance, ...]
    notices: tuple[Notice, ...]
    pooled: tuple[int, ...]


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
        elif record["id"] in records and not problems.forgive(
            where, f"id {record['id']} occurs twice; give each entry its own id", f"{key} with one id: the last counts"
        ):
            continue
        else:
            records.pop(record["id"], None)
            built = build(record, where, problems)
            if built is not None:
                records[record["id"]] = built
    return dict(sorted(records.items()))


def _video(record: dict[str, Any], where: str, problems: Problems) -> Video | None:
    for key in ("height", "width", "length"):
        if not is_integer(record[key]) or not 0 < record[key] <= LARGEST:
            problems.add(where, f"{key}: found {record[key]!r:.40}, expected an integer from 1 to {LARGEST}")
            return None
    return Video(record["id"], record["height"], record["width"], record["length"])


def _category(record: dict[str, Any], where: str, problems: Problems) -> str | None:
    if not isinstance(record["name"], str):
        problems.add(where, f"name: found {record['name']!r}, expected text")
        return None
    return record["name"]


def _track(record: dict[str, Any], video: Video, where: str, problems: Problems) -> Track | None:
    frames = record["segmentations"]
    if not isinstance(frames, list):
        problems.add(where, f"segmentations: found {type(frames).__name__}, expected {video.length} entries")
        return None
    irregular = len(frames) != video.length
    if irregular:
        said = f"found {len(frames)} frames, expected {video.length} (length of video {video.id})"
        if not problems.forgive(where, f"segmentations: {said}", SHORT):
            return None
    masks: list[Any] = []
    for frame, segmentation in enumerate(frames):
        if not segmentation:  # null, and [] as some converters write it
            masks.append(None)
            continue
        size = named_size(segmentation) if problems.lenient else None
        mask, problem = run_length.from_annotation(segmentation, *(size or (video.height, video.width)))
        if problem:
            problems.add(where, f"segmentations[{frame}]: {problem}")
            return None
        masks.append(mask)
    return checked_track(masks, video, irregular, where, problems)


def checked_track(frames: list[Any], video: Video, irregular: bool, where: str, problems: Problems) -> Track | None:
    """Track of compressed masks; None after noting the problem. irregular: their number is not the video's length."""
    size = (video.height, video.width)
    track, problem = (None, None) if irregular else read_track(frames, *size)
    if track is None and problems.lenient:
        track, problem = read_irregular_track(frames, size)
        others = sum(1 for mask in track.irregular if mask and tuple(mask["size"]) != size) if track else 0
        if others:
            problems.warn(where, OTHER_SIZE, others)
    if problem:
        problems.add(where, f"video {video.id}, segmentations[{problem[0]}]: {problem[1]}")
    return track


def _area(record: dict[str, Any], track: Track, where: str, problems: Problems) -> float:
    """Mean area in pixels, of the file's `areas`; of the masks where the file has none [ours]."""
    areas = record.get("areas")
    if areas is None:
        return track.mean_area
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
        said = f"video_id: found {record['video_id']!r}, which is not an id in videos"
        problems.forgive(where, said, "annotations of a video that is not in videos: left out")
    category = record["category_id"]
    known = is_integer(category) and category in categories
    if not known:
        said = f"category_id: found {category!r}, expected one of {list(categories)}"
        problems.forgive(where, said, "annotations of a category that is not in categories: left out")
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        problems.add(where, f"iscrowd: found {crowd!r}, expected 0 or 1")
    if record["id"] < 1:
        said = f"id: found {record['id']}, expected 1 or more (the public evaluator reads 0 as no match)"
        problems.forgive(where, said, "annotations with an id below 1: a detection matched to id 0 counts as wrong")
    attributes = _attributes(record, where, problems)
    track = _track(record, video, where, problems) if video is not None else None
    if track is None or not known:
        return None
    area = _area(record, track, where, problems)
    return Instance(record["id"], record["video_id"], category, bool(crowd), area, track, attributes)


def _named(categories: dict[int, str], problems: Problems) -> dict[int, str]:
    """Categories whose names differ: names that occur twice are an error, with `lenient` the id is added to them."""
    names = list(categories.values())
    twice = sorted({name for name in names if names.count(name) > 1})
    for name in twice:
        said = f"name {name!r} occurs twice; give each category its own name"
        problems.forgive("categories", said, "category names that occur twice: shown with their id")
    return {key: f"{name} ({key})" if name in twice else name for key, name in categories.items()}


def _public_order(
    records: list[dict[str, Any]], videos: dict[int, Video], categories: dict[int, str], by_id: dict[int, Instance]
) -> tuple[list[Instance], list[int]]:
    """Instances as the public evaluator lists them: by video, then in the order of the file; and `GroundTruth.pooled`.

    Ids may repeat, and all stand for the last instance of that id; pooled, even where they name an unknown category.
    """
    listed = [record for record in records if record["video_id"] in videos and record["id"] in by_id]
    listed.sort(key=lambda record: record["video_id"])
    instances = [by_id[record["id"]] for record in listed if record["category_id"] in categories]
    position = {instance.id: i for i, instance in enumerate(instances)}
    return instances, [position[record["id"]] for record in listed]


def parse_ground_truth(content: Any, source: str = "annotations", lenient: bool = False) -> GroundTruth:
    """Ground truth of the content of an annotation file.

    Args:
        content: the parsed JSON: an object with `videos`, `categories` and `annotations`.
        source: name of the file for messages.
        lenient: count what the public evaluator passes over in silence as notices, and do as it does.

    Raises:
        InputError: with one line for each problem: missing keys, no videos, categories or annotations (a test set
            without public ground truth has `annotations: null`), unknown or repeated ids, a number of frames that is
            not the length of the video, masks of another size than the video, runs that do not cover the frame.
    """
    problem = missing_keys(content, ("videos", "categories", "annotations"))
    if problem:
        raise InputError(f"{source}: {problem}; expected the {WHAT}")
    if not content["annotations"] and not (lenient and content["annotations"] == []):
        raise InputError(
            f"{source}: annotations: found {content['annotations']!r}, expected a list with at least one entry; "
            "a split without public ground truth cannot be evaluated here"
        )
    problems = Problems(source, lenient)
    videos = _indexed(content, "videos", ("id", "height", "width", "length"), _video, problems)
    categories = _indexed(content, "categories", ("id", "name"), _category, problems)
    categories = _named(categories, problems)
    problems.raise_if_any()

    def build(record: dict[str, Any], where: str, problems: Problems) -> Instance | None:
        return _instance(record, where, videos, categories, problems)

    keys = ("id", "video_id", "category_id", "segmentations")
    by_id: dict[int, Instance] = {}
    if content["annotations"]:
        by_id = _indexed(content, "annotations", keys, build, problems)
    else:
        problems.warn("annotations", "no annotation at all: every number is undefined")
    problems.raise_if_any()
    if lenient:
        instances, pooled = _public_order(content["annotations"], videos, categories, by_id)
    else:
        instances, pooled = [by_id[record["id"]] for record in content["annotations"]], range(len(by_id))
    return GroundTruth(videos, categories, tuple(instances), problems.notices, tuple(pooled))


def read_ground_truth(path: Path, lenient: bool = False) -> GroundTruth:
    """Ground truth of an annotation file; see `parse_ground_truth`. Raises InputError."""
    return parse_ground_truth(read_json(path, WHAT, plain_runs=True), str(path), lenient)
