"""Annotation files in YouTube-VIS format, and COCO-style stills: the one reader, used by every stage.

A file gets the same verdict from every stage. What a stage needs beyond the format is a parameter of
`read_annotations`: ground truth, the files of the frames, certain categories. Only stages that read frames need
`file_names`; `length` is enough for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from mssts.core.errors import InputError
from mssts.ytvis import run_length
from mssts.ytvis.categories import ExpectedCategories
from mssts.ytvis.file_kinds import FileKind, kind_of
from mssts.ytvis.json_input import (
    A_NAME,
    consume,
    garbage_collection_disabled,
    is_finite_number,
    is_id,
    is_integer,
    is_name,
    listed,
    missing_keys,
    parse_json,
    read_bytes,
    shown,
)
from mssts.ytvis.masks import Polygons, TrackMasks
from mssts.ytvis.problems import Notice, Problems
from mssts.ytvis.track_list import TrackList, TrackPacker, TracksOf
from mssts.ytvis.tracks import MAX_SIDE, Track, Video, check_frames, checked_masks

MAX_LENGTH = 2**20  # frames of a video
MAX_AREA = 10**10  # pixels: the reference evaluator ignores larger objects

Truth = Literal["required", "optional", "absent"]
CheckFrames = Callable[[list["FrameFile"], Problems], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """Names of the keys in an annotation file.

    Attributes:
        videos: List of the videos, or of the stills, which are read as videos of one frame.
        video_id: Key of an annotation that names its video.
        file_names: Key of a video: its frames.
        segmentations: Key of an annotation: one entry per frame.
        areas: Key of an annotation: one area per frame.
        still: Whether the last three hold one entry instead of a list.
        kinds: Kinds of files that have this layout.
    """

    videos: str
    video_id: str
    file_names: str
    segmentations: str
    areas: str
    still: bool
    kinds: tuple[FileKind, ...]

    def frames(self, value: Any) -> Any:
        """The value of one of the last three keys as a list with an entry per frame."""
        return [value] if self.still else value

    def frame_name(self, video_id: int, frame: int) -> str:
        """Name of a frame, for messages."""
        return f"image {video_id}" if self.still else f"video {video_id}, frame {frame}"

    def segmentation_key(self, frame: int) -> str:
        """The key of the segmentation of a frame, for messages."""
        return self.segmentations if self.still else f"{self.segmentations}[{frame}]"

    def area_key(self, frame: int) -> str:
        """The key of the area of a frame, for messages."""
        return self.areas if self.still else f"{self.areas}[{frame}]"

    @property
    def description(self) -> str:
        """The kind of file, for messages."""
        name = "COCO" if self.still else "YouTube-VIS"
        return f"annotation file in {name} format ({self.videos}, categories, annotations)"


VIDEOS = Layout(
    "videos", "video_id", "file_names", "segmentations", "areas", still=False, kinds=(FileKind.YOUTUBE_VIS,)
)
STILLS = Layout(
    "images", "image_id", "file_name", "segmentation", "area", still=True, kinds=(FileKind.COCO, FileKind.COCO_VIDEO)
)


class FrameFile(NamedTuple):
    """The image of a frame.

    Attributes:
        name: Its name, for messages.
        path: The file.
        height: Height of its video in pixels.
        width: Width of its video in pixels.
    """

    name: str
    path: Path
    height: int
    width: int


@dataclass(frozen=True)
class Annotations:
    """The checked content of an annotation file.

    Attributes:
        path: The file.
        videos: {video id: video} in the order of the file.
        categories: {category id: name} in ascending order of the ids.
        tracks: The annotated objects in the order of the file.
        notices: What was accepted although it is unusual.
        pooled: Positions in `tracks` of the objects that count where categories are pooled: all of them; with `lenient`
            some perhaps twice.
    """

    path: Path
    videos: dict[int, Video]
    categories: dict[int, str]
    tracks: TrackList
    notices: tuple[Notice, ...]
    pooled: Sequence[int]

    @cached_property
    def tracks_of(self) -> TracksOf:
        """{video id: its tracks in the order of the file}, for all videos."""
        return TracksOf(self.videos, self.tracks)


def read_annotations(
    path: Path,
    *,
    layout: Layout = VIDEOS,
    lenient: bool = False,
    truth: Truth = "required",
    expected: ExpectedCategories | None = None,
    image_root: Path | None = None,
    check_frames: CheckFrames | None = None,
) -> Annotations:
    """Read and check an annotation file.

    Args:
        path: The file.
        layout: `VIDEOS`, or `STILLS` for COCO-style images.
        lenient: Accept what the reference evaluator silently accepts, treat it as it does, and count each case.
        truth: Whether the file must have annotations. "optional": they are read if there are any. "absent": they are
            not looked at.
        expected: The categories that the file must have; None if it defines its own.
        image_root: Folder of the images. If given, it must exist, and the file must name the frames of each video.
        check_frames: Adds what is wrong with the images in `image_root`, so that all problems are reported at once.

    Raises:
        InputError: With one line for each problem.
    """
    path = Path(path)
    with garbage_collection_disabled():
        content = parse_json(read_bytes(path, layout.description), path, layout.description, uncompressed_runs=True)
        reader = _Reader(layout, Problems(str(path), lenient), image_root)
        return reader.read(content, truth, expected, check_frames)


def has_ground_truth(path: Path) -> bool:
    """Whether an annotation file has annotations, which are not checked. Raises InputError if it cannot be read."""
    content = parse_json(read_bytes(path, VIDEOS.description), path, VIDEOS.description)
    return isinstance(content, dict) and bool(content.get("annotations"))


def parse_annotations(
    content: Any,
    source: str = "annotations",
    *,
    layout: Layout = VIDEOS,
    lenient: bool = False,
    truth: Truth = "required",
    expected: ExpectedCategories | None = None,
) -> Annotations:
    """`read_annotations` of the parsed content of a file; the files of frames are not needed. source: its name."""
    if isinstance(content, dict):
        content = {key: list(value) if isinstance(value, list) else value for key, value in content.items()}
    return _Reader(layout, Problems(source, lenient)).read(content, truth, expected)


class _Reader:
    """Reads one annotation file and collects its problems."""

    def __init__(self, layout: Layout, problems: Problems, image_root: Path | None = None) -> None:
        self.layout = layout
        self.problems = problems
        self.image_root = image_root
        self.videos: dict[int, Video] = {}
        self.categories: dict[int, str] = {}
        self._packer = TrackPacker()
        self._all_annotations: list[tuple[int, Any, Any]] = []  # id, video and category of all annotations, if lenient

    def read(
        self,
        content: Any,
        truth: Truth,
        expected: ExpectedCategories | None,
        check_frames: CheckFrames | None = None,
    ) -> Annotations:
        """The annotations in the content of a file; its lists are emptied to release their memory."""
        layout, problems = self.layout, self.problems
        kind = kind_of(content)
        if kind is not None and kind not in layout.kinds:
            raise InputError(f"{problems.source}: this is {kind.value}; expected the {layout.description}")
        keys = (layout.videos, "categories", "annotations")
        problem = missing_keys(content, keys if truth == "required" else keys[:2])
        if problem:
            raise InputError(f"{problems.source}: {problem}; expected the {layout.description}")
        if self.image_root is not None and not self.image_root.is_dir():
            problems.add(layout.file_names, f"{self.image_root}/: no such folder; expected the images in it")
        self.categories = self._all_categories(content["categories"], expected)
        self.videos = self._indexed(content[layout.videos], layout.videos, ("id", "height", "width"), self._video)
        tracks, pooled = self._all_tracks(None if truth == "absent" else content.get("annotations"), truth)
        if self.image_root is not None and check_frames is not None:
            check_frames(list(self._frame_files(self.image_root)), problems)
        problems.raise_if_any()
        source = Path(problems.source)
        return Annotations(source, self.videos, self.categories, tracks, problems.notices, pooled)

    def _frame_files(self, image_root: Path) -> Iterator[FrameFile]:
        for video in self.videos.values():
            for frame, name in enumerate(video.file_names):
                if not _leaves_folder(name):
                    path = image_root / name
                    where = f"{self.layout.frame_name(video.id, frame)} ({path})"
                    yield FrameFile(where, path, video.height, video.width)

    def _indexed(
        self, records: Any, key: str, keys: tuple[str, ...], build: Callable[[dict[str, Any], str], T | None]
    ) -> dict[int, T]:
        """What is built of each record of a list of the file, by id. build: returns None after a problem."""
        found: dict[int, T] = {}
        if not isinstance(records, list) or not records:
            self.problems.add(key, f"found {shown(records)}, expected a list with an entry")
            return found
        notice = f"several entries of {key} with the same id: the last one is used"
        for position, record in enumerate(consume(records)):
            where = f"{key}[{position}]"
            problem = missing_keys(record, keys)
            if problem:
                self.problems.add(where, problem)
            elif not is_id(record["id"]):
                self.problems.add(where, f"id: found {shown(record['id'])}, expected an integer of at most 64 bits")
            elif record["id"] not in found or self.problems.tolerate(where, f"id {record['id']} occurs twice", notice):
                found.pop(record["id"], None)
                built = build(record, where)
                if built is not None:
                    found[record["id"]] = built
        return found

    def _all_categories(self, records: Any, expected: ExpectedCategories | None) -> dict[int, str]:
        """Categories by ascending id. With `lenient` the id is added to names that occur twice."""
        found = dict(sorted(self._indexed(records, "categories", ("id", "name"), self._category).items()))
        if expected is not None:
            for problem in expected.differences(found):
                self.problems.add("categories", problem)
        repeated = {name for name, count in Counter(found.values()).items() if count > 1}
        for name in sorted(repeated):
            notice = "category names that occur twice: shown with their id"
            self.problems.tolerate("categories", f"name {shown(name)} occurs twice", notice)
        return {key: f"{name} ({key})" if name in repeated else name for key, name in found.items()}

    def _category(self, record: dict[str, Any], where: str) -> str | None:
        if is_name(record["name"]):
            return record["name"]
        self.problems.add(where, f"name: found {shown(record['name'])}, expected {A_NAME}")
        return None

    def _video(self, record: dict[str, Any], where: str) -> Video | None:
        names = self._file_names(record, where)
        numbers = {"height": record["height"], "width": record["width"]}
        if not self.layout.still and "length" in record:
            numbers["length"] = record["length"]
        elif names is None:
            self.problems.add(where, f"missing length (and no {self.layout.file_names} from which to count the frames)")
            return None
        for key, number in numbers.items():
            largest = MAX_LENGTH if key == "length" else MAX_SIDE
            if not is_integer(number) or not 0 < number <= largest:
                self.problems.add(where, f"{key}: found {shown(number)}, expected an integer from 1 to {largest}")
                return None
        length = numbers.get("length", len(names or ()))
        if names is not None and length != len(names):
            message = f"length: found {length}, but there are {len(names)} {self.layout.file_names}"
            notice = "videos whose length differs from the number of their file_names: the length is used"
            self.problems.tolerate(where, message, notice)
        return Video(record["id"], numbers["height"], numbers["width"], length, tuple(names or ()))

    def _file_names(self, record: dict[str, Any], where: str) -> list[str] | None:
        """Names of a video's frames; None if there are none, or none that can be used."""
        key = self.layout.file_names
        if key not in record:
            if self.image_root is not None:
                self.problems.add(where, f"missing {key}; needed to find the frames")
            return None
        names = self.layout.frames(record[key])
        if not isinstance(names, list) or not names or not all(map(is_name, names)):
            message = f"{key}: found {shown(record[key], 60)}, expected the names of the frames"
            self.problems.tolerate(where, message, f"{key} that are not a list of names: ignored")
            return None
        for name in names:
            if _leaves_folder(name):
                message = f"{key}: {name!r:.80} points outside of the image folder"
                self.problems.tolerate(where, message, f"{key} that point outside of the image folder: not opened")
        return names

    def _all_tracks(self, records: Any, truth: Truth) -> tuple[TrackList, Sequence[int]]:
        """The tracks of a file, and `Annotations.pooled`."""
        if not records:
            if truth == "required" and self.problems.lenient and records == []:
                self.problems.notice("annotations", "no annotations: all metrics are undefined")
            elif truth == "required" or records not in (None, []):
                ending = "a split without public ground truth cannot be evaluated or trained on"
                self.problems.add("annotations", f"found {shown(records)}, expected a list with an entry; {ending}")
            return self._packer.packed(), ()
        keys = ("id", self.layout.video_id, "category_id", self.layout.segmentations)
        by_id = self._indexed(records, "annotations", keys, self._track)
        packed = self._packer.packed()
        tracks = packed.take(np.array([*by_id.values()], dtype=np.int64))
        if not self.problems.lines:
            self._check_what_counts(set(tracks.category_id_N[~tracks.crowd_N].tolist()))
        if not self.problems.lenient:
            return tracks, range(len(tracks))
        return self._reference_order(by_id, packed)

    def _check_what_counts(self, categories: set[int]) -> None:
        """Record if metrics leave out some categories, or all. categories: those that have an object, crowds apart."""
        if not categories:
            message = "every object is a crowd (iscrowd: 1), and crowds do not count; expected an object that does"
            self.problems.tolerate("annotations", message, "no object that counts: all metrics are undefined")
            return
        for key in sorted(self.categories.keys() - categories):
            notice = "categories without an object that counts: the means over categories leave them out"
            self.problems.notice(f"category {key}", notice)

    def _reference_order(self, by_id: dict[int, int], packed: TrackList) -> tuple[TrackList, list[int]]:
        """Tracks in the order of the reference evaluator: by video, then as in the file; and `Annotations.pooled`.

        Ids may repeat. All of them stand for the last track of that id; pooled, even where the category is unknown.
        """
        listed = [
            (identifier, video_id, category_id)
            for identifier, video_id, category_id in self._all_annotations
            if identifier in by_id and is_integer(video_id) and video_id in self.videos
        ]
        listed.sort(key=itemgetter(1))
        ids = [key for key, _, category in listed if is_integer(category) and category in self.categories]
        position = {key: i for i, key in enumerate(ids)}
        tracks = packed.take(np.array([by_id[key] for key in ids], dtype=np.int64))
        return tracks, [position[key] for key, _, _ in listed]

    def _track(self, record: dict[str, Any], where: str) -> int | None:
        """Pack the track of an annotation; returns its position, None after a problem."""
        problems, number, category_id = self.problems, record[self.layout.video_id], record["category_id"]
        if problems.lenient:
            self._all_annotations.append((record["id"], number, category_id))
        video = self.videos.get(number) if is_integer(number) else None
        if video is None:
            message = f"{self.layout.video_id}: found {shown(number)}, which is not an id in {self.layout.videos}"
            problems.tolerate(where, message, "annotations of unknown videos: ignored")
        known = is_integer(category_id) and category_id in self.categories
        if not known:
            message = f"category_id: found {shown(category_id)}, expected one of [{listed(self.categories)}]"
            problems.tolerate(where, message, "annotations of unknown categories: ignored")
        crowd = record.get("iscrowd", 0)
        if crowd not in (0, 1):
            problems.add(where, f"iscrowd: found {shown(crowd)}, expected 0 or 1")
        if record["id"] < 1:
            message = f"id: found {record['id']}, expected 1 or more (the reference evaluator treats id 0 as unmatched)"
            problems.tolerate(where, message, "annotations with an id below 1: a match to id 0 counts as wrong")
        attributes = self._attributes(record, where)
        segmentation = self._segmentation(record, video, where) if video is not None else None
        if video is None or segmentation is None or not known:
            return None
        if isinstance(segmentation, TrackMasks) and not segmentation.areas_T.any():
            problems.notice(where, "objects without a pixel in any frame: no detection can match them")
        area = self._area(record, segmentation, video, where)
        track = Track(record["id"], number, category_id, bool(crowd), area, attributes, segmentation)
        return self._packer.append(track)

    def _attributes(self, record: dict[str, Any], where: str) -> dict[str, bool] | None:
        """The recorded challenges; None if no attribute is true or false."""
        attributes = record.get("attributes")
        if attributes is None:
            return None
        if not isinstance(attributes, dict):
            self.problems.add(where, f"attributes: found {type(attributes).__name__}, expected an object")
            return None
        challenges = {name: value for name, value in attributes.items() if isinstance(value, bool)}
        for name in challenges:
            if not is_name(name):
                self.problems.add(where, f"attributes: found the name {shown(name)}, expected {A_NAME}")
        if len(challenges) < len(attributes):
            count = len(attributes) - len(challenges)
            self.problems.notice(where, "attributes whose value is not true or false: ignored", count)
        return challenges or None

    def _segmentation(self, record: dict[str, Any], video: Video, where: str) -> TrackMasks | Polygons | None:
        layout, size = self.layout, (video.height, video.width)
        frames = layout.frames(record[layout.segmentations])
        if not check_frames(frames, video, where, self.problems, layout.segmentations):
            return None
        if layout.still and frames[0] and isinstance(frames[0], list) and not run_length.polygon_problem(frames[0]):
            return Polygons(frames[0], size)
        masks: list[Any] = []
        before = len(self.problems.lines)
        for frame, entry in enumerate(frames):
            if entry is None or entry == [] or entry == {}:  # empty: how some converters write an absent object
                masks.append(None)
                continue
            mask, problem = run_length.from_annotation(entry, *size)
            if problem:
                self.problems.add(where, f"{layout.segmentation_key(frame)}: {problem}")
            masks.append(mask)
        if len(self.problems.lines) > before:
            return None
        return checked_masks(masks, video, where, self.problems, layout.segmentation_key)

    def _area(self, record: dict[str, Any], segmentation: TrackMasks | Polygons, video: Video, where: str) -> float:
        """Mean in pixels of the areas that are neither null nor 0, as in the reference evaluator."""
        layout, problems = self.layout, self.problems
        if record.get(layout.areas) is None:
            return segmentation.mean_area
        areas = layout.frames(record[layout.areas])
        if not isinstance(areas, list):
            problems.add(
                where, f"{layout.areas}: found {type(areas).__name__}, expected a list with a number per frame"
            )
            return 0.0
        if len(areas) != video.length:
            message = f"{layout.areas}: found {len(areas)} areas, but video {video.id} has {video.length} frames"
            problems.tolerate(where, message, "areas without exactly one entry per frame: the mean of those there are")
        pixels, before = video.height * video.width, len(problems.lines)
        largest = MAX_AREA if problems.lenient else pixels
        for frame, area in enumerate(areas):
            if area is None:
                continue
            if not is_finite_number(area) or not 0 <= area <= largest:
                expected = f"a number of pixels from 0 to {largest}, or null where the object is absent"
                problems.add(where, f"{layout.area_key(frame)}: found {shown(area)}, expected {expected}")
            elif area > pixels:
                problems.notice(where, "areas larger than the frame: used as they are")
        if isinstance(segmentation, TrackMasks):
            for frame in np.flatnonzero(segmentation.areas_T[: len(areas)]).tolist():
                if areas[frame] is None:
                    message = f"{layout.area_key(frame)}: found null, but the object has a mask there"
                    problems.tolerate(where, message, "areas that are null where the object has a mask: left out")
        present = [area for area in areas if area] if len(problems.lines) == before else []
        return float(np.mean(present) if len(present) > 1 else sum(present))


def _leaves_folder(name: str) -> bool:
    """Whether the path of a frame leads out of the folder of the images."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or name[1:2] == ":"
