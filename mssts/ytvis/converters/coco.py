"""COCO-video (mmtracking, mmdetection) from and to YouTube-VIS, and images in COCO format as videos of one frame.

COCO-video [mmtracking] lists the frames of all videos under `images`, each with `video_id` and `frame_id`, and one
annotation for each object in each frame; `instance_id` (or `track_id`) tells which of them are one object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.ytvis import run_length
from mssts.ytvis.converters.document import Converted, ConvertedObject, ConvertedVideo, as_text, require
from mssts.ytvis.file_kinds import FileKind, kind_of
from mssts.ytvis.json_input import is_id, is_integer, is_name, missing_keys, parse_json, read_bytes

IDENTITIES = ("instance_id", "track_id")


def read_coco_video(source: Path, images: Path | None) -> Converted:
    """Read a COCO-video file. Ids of videos and categories are kept, so that a submission still fits."""
    content = _content(source, FileKind.COCO_VIDEO, ("videos", "images", "categories", "annotations"))
    frames: dict[int, list[dict[str, Any]]] = {}
    for number, image in enumerate(content["images"]):
        where = f"{source}: images[{number}]"
        _require_keys(image, ("id", "video_id", "frame_id", "file_name", "height", "width"), where)
        require(is_integer(image["frame_id"]), f"{where}.frame_id", image["frame_id"], "an integer")
        frames.setdefault(image["video_id"], []).append(image)
    videos: dict[int, ConvertedVideo] = {}
    places: dict[int, tuple[int, int]] = {}  # image id -> (video id, frame)
    for number, entry in enumerate(content["videos"]):
        where = f"{source}: videos[{number}]"
        _require_keys(entry, ("id",), where)
        key = entry["id"]
        own = sorted(frames.get(key, []), key=lambda image: image["frame_id"])
        require(own, where, key, "an id that some of `images` have as `video_id`")
        numbers = [image["frame_id"] for image in own]
        require(len(set(numbers)) == len(numbers), f"{where}: frame_id of its images", numbers, "each number once")
        sizes = {(image["height"], image["width"]) for image in own}
        require(len(sizes) == 1, f"{where}: sizes of its images", sorted(sizes), "one size (height, width)")
        names = [image["file_name"] for image in own]
        videos[key] = ConvertedVideo(str(entry.get("name", key)), *sizes.pop(), names, id=key)
        places |= {image["id"]: (key, frame) for frame, image in enumerate(own)}
    categories = _categories(content["categories"], source)
    objects: dict[tuple[int, Any], ConvertedObject] = {}
    for number, annotation in enumerate(content["annotations"]):
        where = f"{source}: annotations[{number}]"
        _require_keys(annotation, ("image_id", "category_id", "segmentation"), where)
        identity = next((annotation[name] for name in IDENTITIES if name in annotation), None)
        require(is_id(identity), f"{where}: {' or '.join(IDENTITIES)}", identity, "an integer, the same in all frames")
        require(annotation["image_id"] in places, f"{where}.image_id", annotation["image_id"], "the id of an image")
        category = annotation["category_id"]
        require(category in categories, f"{where}.category_id", category, "the id of a category")
        key, frame = places[annotation["image_id"]]
        video = videos[key]
        found = objects.get((key, identity)) or video.object(
            categories[category], crowd=bool(annotation.get("iscrowd"))
        )
        objects[key, identity] = found
        require(found.category == categories[category], f"{where}.category_id", category, f"that of {found.category}")
        require(found.segmentations[frame] is None, where, identity, "each object once in a frame")
        found.segmentations[frame] = _mask(annotation["segmentation"], video.height, video.width, where)
    return Converted(list(videos.values()), categories)


def read_coco_images(source: Path, images: Path | None) -> Converted:
    """Read images in COCO format, each as a video of one frame."""
    content = _content(source, FileKind.COCO, ("images", "categories", "annotations"))
    categories, videos = _categories(content["categories"], source), {}
    for number, image in enumerate(content["images"]):
        _require_keys(image, ("id", "file_name", "height", "width"), f"{source}: images[{number}]")
        names = [image["file_name"]]
        videos[image["id"]] = ConvertedVideo(names[0], image["height"], image["width"], names, id=image["id"])
    for number, annotation in enumerate(content["annotations"]):
        where = f"{source}: annotations[{number}]"
        _require_keys(annotation, ("image_id", "category_id", "segmentation"), where)
        require(annotation["image_id"] in videos, f"{where}.image_id", annotation["image_id"], "the id of an image")
        category, video = annotation["category_id"], videos[annotation["image_id"]]
        require(category in categories, f"{where}.category_id", category, "the id of a category")
        found = video.object(categories[category], crowd=bool(annotation.get("iscrowd")))
        found.segmentations[0] = _mask(annotation["segmentation"], video.height, video.width, where)
    return Converted(list(videos.values()), categories)


def coco_video(content: dict[str, Any]) -> dict[str, Any]:
    """The COCO-video document of a YouTube-VIS document, with a mask for each object in each frame that shows it."""
    images: list[dict[str, Any]] = []
    numbers: dict[tuple[int, int], int] = {}
    for video in content["videos"]:
        for frame, name in enumerate(video["file_names"]):
            numbers[video["id"], frame] = len(images) + 1
            size = {"height": video["height"], "width": video["width"]}
            images.append(
                {"id": len(images) + 1, "video_id": video["id"], "frame_id": frame, "file_name": name, **size}
            )
    annotations: list[dict[str, Any]] = []
    for track in content["annotations"]:
        shared = {"video_id": track["video_id"], "category_id": track["category_id"], "instance_id": track["id"]}
        shared["iscrowd"] = track.get("iscrowd", 0)
        for frame, mask in enumerate(track["segmentations"]):
            if mask:
                where = {"id": len(annotations) + 1, "image_id": numbers[track["video_id"], frame]}
                shape = {"segmentation": mask, "bbox": track["bboxes"][frame], "area": track["areas"][frame]}
                annotations.append(where | shared | shape)
    videos = [
        {"id": video["id"], "name": str(Path(video["file_names"][0]).parent), "width": video["width"]}
        | {"height": video["height"]}
        for video in content["videos"]
    ]
    return {"videos": videos, "images": images, "categories": content["categories"], "annotations": annotations}


def _content(source: Path, kind: FileKind, keys: tuple[str, ...]) -> dict[str, Any]:
    content = parse_json(read_bytes(source, kind.value), source, kind.value)
    if kind_of(content) is not kind:
        found = kind_of(content)
        raise InputError(
            f"{source}: found {found.value if found else 'an unknown kind of file'}; expected {kind.value}"
        )
    _require_keys(content, keys, str(source))
    for key in keys:
        require(isinstance(content[key], list), f"{source}: {key}", type(content[key]).__name__, "a list")
    return content


def _require_keys(record: Any, keys: tuple[str, ...], where: str) -> None:
    if problem := missing_keys(record, keys):
        raise InputError(f"{where}: {problem}")
    for key in {"id", "video_id", "image_id", "category_id"} & set(keys):
        require(is_id(record[key]), f"{where}.{key}", record[key], "an integer")
    for key in {"height", "width"} & set(keys):
        require(is_integer(record[key]) and record[key] > 0, f"{where}.{key}", record[key], "pixels above 0")
    if "file_name" in keys:
        require(is_name(record["file_name"]), f"{where}.file_name", record["file_name"], "the name of a file")


def _categories(entries: list[Any], source: Path) -> dict[int, str]:
    for number, entry in enumerate(entries):
        _require_keys(entry, ("id", "name"), f"{source}: categories[{number}]")
        require(is_name(entry["name"]), f"{source}: categories[{number}].name", entry["name"], "a name")
    return {entry["id"]: entry["name"] for entry in entries}


def _mask(segmentation: Any, height: int, width: int, where: str) -> dict[str, Any] | None:
    """The compressed mask of polygons or run lengths; None if it is empty."""
    if not segmentation:
        return None
    mask, problem = run_length.from_annotation(segmentation, height, width)
    if problem := problem or run_length.mask_problem(mask, height, width):
        raise InputError(f"{where}.segmentation: {problem}")
    return as_text(run_length.compressed(mask))
