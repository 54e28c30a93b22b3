"""Reading and checking annotation files: YouTube-VIS videos and COCO-style stills. Imports no torch.

All problems of a file are listed in one InputError, so that a user mends them in one go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mssts.core.errors import InputError
from mssts.data.datasets import DATASETS, entry
from mssts.ytvis.segmentation import problem_of, runs_fill

MAX_LISTED = 100
MAX_CATEGORIES_LISTED = 6
Segmentation = dict[str, Any] | list[Any] | None


@dataclass(frozen=True)
class Video:
    """One video, or one still as a video of one frame. height, width in px; file_names relative to the image root."""

    id: int
    height: int
    width: int
    file_names: tuple[str, ...]

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.file_names)


@dataclass(frozen=True)
class Track:
    """One annotated object of a video.

    label: index of the class logit (position of the category sorted by id). segmentations: per frame a run-length
    object, polygons in px, or None where the object is absent. attributes: booleans of SynthVIS, else empty.
    """

    id: int
    category_id: int
    label: int
    iscrowd: bool
    segmentations: tuple[Segmentation, ...]
    attributes: dict[str, bool]


class VideoAnnotations:
    """Checked annotations of one split.

    path: the annotation file. image_root: folder of the videos' frames. categories: (id, name) sorted by id.
    videos: in file order. tracks: video id -> its tracks in file order.
    """

    def __init__(
        self,
        path: Path,
        image_root: Path,
        categories: tuple[tuple[int, str], ...],
        videos: tuple[Video, ...],
        tracks: dict[int, tuple[Track, ...]],
    ) -> None:
        self.path = path
        self.image_root = image_root
        self.categories = categories
        self.videos = videos
        self.tracks = tracks

    @classmethod
    def read(
        cls, json_path: Path, image_root: Path, dataset: str, truth: bool = True, frames: bool = False
    ) -> VideoAnnotations:
        """Read a YouTube-VIS file of the registered dataset `dataset`. Raises InputError listing every problem.

        truth: whether annotations have to be there; without, they are not read, and no video has a track.
        frames: look, too, whether the file of every frame exists and all run lengths fill their frame (seconds).
        """
        return cls(*_read(Path(json_path), Path(image_root), dataset, _VIDEOS, truth, frames))

    def frame_path(self, video: Video, frame: int) -> Path:
        """File of one frame."""
        return self.image_root / video.file_names[frame]

    def frame_name(self, video: Video, frame: int) -> str:
        """A frame in words, for messages."""
        return f"video {video.id}, frame {frame} ({self.frame_path(video, frame)})"


class StillAnnotations(VideoAnnotations):
    """Checked COCO-style annotations: every image is a video of one frame."""

    @classmethod
    def read(
        cls,
        json_path: Path,
        image_root: Path,
        dataset: str,
        own_categories: bool = False,
        translate: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        frames: bool = False,
    ) -> StillAnnotations:
        """Read a COCO-style file with the categories of `dataset`. Raises InputError listing every problem.

        own_categories: take those that the file names. translate: makes of the file's content one whose annotations
            have category ids of `dataset` (its `categories` do not count). frames: as for videos.
        """
        path = Path(json_path)
        content, problems = _load(path, _STILLS)
        if translate:
            content = translate(content)
        if translate or not own_categories:
            expected = entry(dataset).categories
        else:
            expected = tuple(sorted((item.get("id"), item.get("name")) for item in content["categories"]))
        if translate:
            content["categories"] = [{"id": number, "name": name} for number, name in expected]
        return cls(*_checked(content, problems, path, Path(image_root), dataset, expected, _STILLS, frames))

    def frame_name(self, video: Video, frame: int) -> str:
        """A still in words, for messages."""
        return f"image {video.id} ({self.frame_path(video, frame)})"


@dataclass(frozen=True)
class _Layout:
    """What a file calls its records, and how frames and segmentations are taken from them."""

    records: str
    owner: str
    file_names: Callable[[dict[str, Any]], Any]
    segmentations: Callable[[dict[str, Any]], Any]


_VIDEOS = _Layout("videos", "video_id", lambda r: r["file_names"], lambda a: a["segmentations"])
_STILLS = _Layout("images", "image_id", lambda r: [r["file_name"]], lambda a: [a["segmentation"]])


def _read(
    path: Path, image_root: Path, dataset: str, layout: _Layout, truth: bool = True, frames: bool = False
) -> tuple[Any, ...]:
    return _checked(*_load(path, layout, truth), path, image_root, dataset, entry(dataset).categories, layout, frames)


def _checked(
    content: dict[str, Any],
    problems: list[str],
    path: Path,
    image_root: Path,
    dataset: str,
    expected: tuple[tuple[int, str], ...],
    layout: _Layout,
    frames: bool = False,
) -> tuple[Any, ...]:
    if not image_root.is_dir():
        problems.append(f"{image_root}/: no such folder; expected the images there")
    categories = _categories(content["categories"], dataset, expected, problems)
    videos = _videos(content[layout.records], layout, problems)
    tracks = _tracks(content["annotations"], videos, categories, layout, problems)
    if frames:
        names = [name for video in videos.values() for name in video.file_names if not _climbs(name)]
        problems += [f"{image_root / name}: no such frame" for name in names if not (image_root / name).is_file()]
        problems += _runs(videos, tracks)
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:MAX_LISTED])
        more = f"\n  and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        raise InputError(f"{path}: {len(problems)} problem(s):\n{shown}{more}\nMend the file or get it anew.")
    return path, image_root, categories, tuple(videos.values()), {k: tuple(v) for k, v in tracks.items()}


def _load(path: Path, layout: _Layout, truth: bool = True) -> tuple[dict[str, Any], list[str]]:
    """The file's content with the three lists that are needed, and what is wrong with it so far. Raises InputError.

    Without `truth` there is no annotation.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected annotations with {layout.records}. Get or generate it.")
    text = path.read_bytes()
    if not text.strip():
        raise InputError(f"{path}: the file is empty. Get or generate it anew.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: malformed JSON: {error}. Get or generate the file anew.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected an object with {layout.records}.")
    problems = []
    if not truth:
        content["annotations"] = []
    elif content.get("annotations", ()) is None:
        problems.append(
            "annotations: found null. The official validation and test files come without ground truth: use a split of "
            "the training annotations"
        )
        content["annotations"] = []
    for key in (layout.records, "categories", "annotations"):
        value = content.get(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            found = type(value).__name__ if key in content else "nothing"
            raise InputError(f"{path}: {key}: found {found}, expected a list of objects.")
    for key in (layout.records, "annotations") if truth and not problems else (layout.records,):
        if not content[key]:
            raise InputError(f"{path}: {key}: the list is empty; expected at least one. Get the file anew.")
    return content, problems


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _categories(
    found: list[dict[str, Any]], dataset: str, expected: tuple[tuple[int, str], ...], problems: list[str]
) -> tuple[tuple[int, str], ...]:
    names = {item.get("id"): item.get("name") for item in found if isinstance(item.get("id"), int | str)}
    if len(names) != len(found):
        problems.append("categories: an id is missing or stands twice")
    wrong = []
    for category_id, name in expected:
        if category_id not in names:
            wrong.append(f"id {category_id} is missing; expected {name!r} ({dataset})")
        elif names[category_id] != name:
            wrong.append(f"id {category_id} is {names[category_id]!r}, expected {name!r} ({dataset})")
    for category_id in names.keys() - dict(expected).keys():
        wrong.append(f"id {category_id!r} ({names[category_id]!r}) does not belong to {dataset}")
    if len(wrong) > MAX_CATEGORIES_LISTED:
        known = [title for title, one in DATASETS.items() if names.items() <= dict(one.categories).items()]
        whose = f"; these are the categories of {' or '.join(known)}" if known and names else ""
        wrong = [*wrong[:MAX_CATEGORIES_LISTED], f"and {len(wrong) - MAX_CATEGORIES_LISTED} more{whose}"]
    problems += [f"categories: {problem}" for problem in wrong]
    return expected


def _videos(found: list[dict[str, Any]], layout: _Layout, problems: list[str]) -> dict[int, Video]:
    videos: dict[int, Video] = {}
    for position, record in enumerate(found):
        where = f"{layout.records}[{position}] (id {record.get('id')})"
        sizes = [record.get(key) for key in ("height", "width")]
        if not _is_id(record.get("id")):
            problems.append(f"{where}: id: expected a whole number")
            continue
        if record["id"] in videos:
            problems.append(f"{where}: the id stands twice")
            continue
        if not all(_is_id(size) and size > 0 for size in sizes):
            problems.append(f"{where}: height, width: found {sizes}, expected positive whole numbers")
            continue
        try:
            names = layout.file_names(record)
        except KeyError as missing:
            problems.append(f"{where}: {missing.args[0]} is missing")
            continue
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            problems.append(f"{where}: file names: found {str(names)[:60]}, expected a list of names")
            continue
        problems += [f"{where}: {name!r} leads out of the image folder" for name in names if _climbs(name)]
        if record.get("length", len(names)) != len(names):
            problems.append(f"{where}: length is {record['length']}, but there are {len(names)} file names")
        videos[record["id"]] = Video(record["id"], *sizes, tuple(names))
    return videos


def _climbs(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":" or "\0" in name


def _tracks(
    found: list[dict[str, Any]],
    videos: dict[int, Video],
    categories: tuple[tuple[int, str], ...],
    layout: _Layout,
    problems: list[str],
) -> dict[int, list[Track]]:
    # Differs: the public code's logit is the category id, of 42 logits, so that 0 and 41 stand for nothing.
    labels = {category_id: label for label, (category_id, _) in enumerate(categories)}
    tracks: dict[int, list[Track]] = {video_id: [] for video_id in videos}
    seen: set[Any] = set()
    for position, item in enumerate(found):
        where = f"annotations[{position}] (id {item.get('id')}, {layout.owner} {item.get(layout.owner)})"
        if not _is_id(item.get("id")) or item["id"] in seen:
            problems.append(f"{where}: the id is no whole number, or stands twice")
            continue
        seen.add(item["id"])
        video = videos.get(item[layout.owner]) if _is_id(item.get(layout.owner)) else None
        if video is None:
            problems.append(f"{where}: no such {layout.owner} among the {layout.records}")
            continue
        category_id = item.get("category_id")
        if not _is_id(category_id) or category_id not in labels:
            problems.append(f"{where}: category_id: found {category_id!r}, expected one of {sorted(labels)}")
            continue
        segmentations = _segmentations(item, video, layout, where, problems)
        if segmentations is None:
            continue
        attributes = item.get("attributes") if isinstance(item.get("attributes"), dict) else {}
        crowd = bool(item.get("iscrowd", 0))
        tracks[video.id].append(
            Track(item["id"], category_id, labels[category_id], crowd, tuple(segmentations), attributes)
        )
    return tracks


def _runs(videos: dict[int, Video], tracks: dict[int, list[Track]]) -> Iterator[str]:
    """Compressed run lengths that do not fill their frame."""
    for video_id, members in tracks.items():
        height, width = videos[video_id].height, videos[video_id].width
        for track in members:
            for t, segmentation in enumerate(track.segmentations):
                if segmentation is not None and not runs_fill(segmentation, height, width):
                    yield f"annotation {track.id}: frame {t}: the run lengths do not fill {height} x {width} px"


def _segmentations(
    item: dict[str, Any], video: Video, layout: _Layout, where: str, problems: list[str]
) -> list[Segmentation] | None:
    try:
        segmentations = layout.segmentations(item)
    except KeyError as missing:
        problems.append(f"{where}: {missing.args[0]} is missing")
        return None
    if not isinstance(segmentations, list) or len(segmentations) != video.length:
        found = len(segmentations) if isinstance(segmentations, list) else type(segmentations).__name__
        problems.append(f"{where}: segmentations: found {found}, expected {video.length}, one per frame (or null)")
        return None
    wrong = [(t, problem_of(s, video.height, video.width)) for t, s in enumerate(segmentations) if s is not None]
    wrong = [(t, problem) for t, problem in wrong if problem]
    problems += [f"{where}: frame {t}: {problem}" for t, problem in wrong]
    return None if wrong else segmentations
