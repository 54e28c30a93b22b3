"""LabelMe: a folder for each video, with a JSON file for each frame.

`label` is the category. `group_id` tells the objects of a video apart; it may be left out where a video shows one
object of a category. Shapes of the same label and group in one frame are parts of one object.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from mssts.core.errors import InputError, shown
from mssts.ytvis.converters.document import (
    IMAGE_SUFFIXES,
    Converted,
    ConvertedObject,
    ConvertedVideo,
    natural_order,
    of_array,
    of_polygons,
    require,
    union,
)
from mssts.ytvis.json_input import is_finite_number, is_integer, is_name, missing_keys, parse_json, read_bytes

CIRCLE_POINTS = 64
WITHOUT_AREA = ("point", "points", "line", "linestrip")


def read_labelme(source: Path, images: Path | None) -> Converted:
    """Read folders of LabelMe files; the source is one such folder, or holds one for each video."""
    own = source.is_dir() and any(source.glob("*.json"))
    names = natural_order(path.parent.name for path in source.glob("*/*.json")) if source.is_dir() and not own else []
    folders = [source] if own else [source / name for name in dict.fromkeys(names)]
    if not folders:
        raise InputError(f"{source}: found no LabelMe files; expected folders of videos, with a JSON file per frame")
    converted = Converted([])
    for folder in folders:
        place = "" if own else folder.name  # of the frames, in the folder of the images
        video = _video(folder, (images or source) / place, images is not None, converted)
        video.file_names = [(PurePosixPath(place) / name).as_posix() for name in video.file_names]
        converted.videos.append(video)
    return converted


def _video(folder: Path, image_folder: Path, given: bool, converted: Converted) -> ConvertedVideo:
    files = {path.stem: path for path in folder.glob("*.json")}
    contents = {stem: _content(path) for stem, path in files.items()}
    frames = {stem: PurePosixPath(content["imagePath"].replace("\\", "/")).name for stem, content in contents.items()}
    found = image_folder.iterdir() if image_folder.is_dir() else ()
    images = [path.name for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
    if images or given:  # a frame without objects has no JSON file
        missing = sorted(set(frames.values()) - set(images))
        if missing:
            raise InputError(f"{folder}: imagePath: found {shown(missing[0])}; expected an image in {image_folder}")
        frames |= {Path(name).stem: name for name in images if name not in frames.values()}
    stems = natural_order(frames)
    sizes = {(content["imageHeight"], content["imageWidth"]) for content in contents.values()}
    require(len(sizes) == 1, f"{folder}: sizes of the images", sorted(sizes), "one size (height, width) per video")
    video = ConvertedVideo(folder.name, *sizes.pop(), [frames[stem] for stem in stems])
    objects: dict[tuple[str, Any], ConvertedObject] = {}
    for frame, stem in enumerate(stems):
        for number, shape in enumerate(contents[stem]["shapes"] if stem in contents else ()):
            _add(shape, frame, f"{files[stem]}: shapes[{number}]", video, objects, converted)
    return video


def _add(
    shape: Any,
    frame: int,
    where: str,
    video: ConvertedVideo,
    objects: dict[tuple[str, Any], ConvertedObject],
    converted: Converted,
) -> None:
    """Add a shape to the object of its label and group."""
    if problem := missing_keys(shape, ("label", "points")):
        raise InputError(f"{where}: {problem}")
    label, group = shape["label"], shape.get("group_id")
    require(is_name(label), f"{where}.label", label, "a name")
    require(group is None or is_integer(group), f"{where}.group_id", group, "an integer or null")
    if shape.get("shape_type") in WITHOUT_AREA:
        converted.notes[f"shapes without an area ({', '.join(WITHOUT_AREA)}) are left out"] += 1
        return
    found = objects.get((label, group)) or video.object(label)
    objects[label, group] = found
    before = found.segmentations[frame]
    if before and group is None:
        raise InputError(
            f"{where}: found a second {shown(label)} without group_id in this frame; expected a group_id that is the "
            "same for an object in all frames and differs between objects"
        )
    found.segmentations[frame] = union(before, _mask(shape, where, video.height, video.width))


def _mask(shape: dict[str, Any], where: str, height: int, width: int) -> dict[str, Any] | None:
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    valid = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_finite_number, point)) for point in points
    )
    require(valid, f"{where}.points", points, "a list of [x, y]")
    if kind == "polygon":
        require(len(points) > 2, f"{where}.points", f"{len(points)} points", "at least 3")
        return of_polygons([[value for point in points for value in point]], height, width, where)
    require(len(points) == 2, f"{where}.points", f"{len(points)} points", f"2 points of a {kind}")
    (left, top), (right, bottom) = points
    if kind == "rectangle":
        return of_polygons([[left, top, right, top, right, bottom, left, bottom]], height, width, where)
    if kind == "circle":  # centre, and a point on the circle
        radius = math.hypot(right - left, bottom - top)
        angles = [2 * math.pi * i / CIRCLE_POINTS for i in range(CIRCLE_POINTS)]
        outline = [value for a in angles for value in (left + radius * math.cos(a), top + radius * math.sin(a))]
        return of_polygons([outline], height, width, where)
    require(kind == "mask", f"{where}.shape_type", kind, "polygon, rectangle, circle or mask")
    return of_array(_pasted(shape.get("mask"), round(left), round(top), where, height, width))


def _pasted(encoded: Any, left: int, top: int, where: str, height: int, width: int) -> np.ndarray:
    """The mask of a frame (H, W) with a base64-encoded PNG of a part of it at (left, top)."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            part = np.array(image.convert("L")) > 0
    except (TypeError, binascii.Error, OSError, Image.DecompressionBombError):
        raise InputError(f"{where}.mask: expected a PNG image in base64") from None
    inside = min(left, top) >= 0 and left + part.shape[1] <= width and top + part.shape[0] <= height
    require(inside, f"{where}.mask", f"{part.shape} at {(top, left)}", f"a part of the image, {(height, width)}")
    mask_HW = np.zeros((height, width), bool)
    mask_HW[top : top + part.shape[0], left : left + part.shape[1]] = part
    return mask_HW


def _content(path: Path) -> dict[str, Any]:
    what = "LabelMe file of a frame"
    content = parse_json(read_bytes(path, what), path, what)
    if problem := missing_keys(content, ("shapes", "imagePath", "imageHeight", "imageWidth")):
        raise InputError(f"{path}: {problem}")
    require(is_name(content["imagePath"]), f"{path}: imagePath", content["imagePath"], "the name of an image")
    for key in ("imageHeight", "imageWidth"):
        require(is_integer(content[key]) and content[key] > 0, f"{path}: {key}", content[key], "pixels above 0")
    require(isinstance(content["shapes"], list), f"{path}: shapes", type(content["shapes"]).__name__, "a list")
    return content
