"""CVAT for video 1.1: an XML file for each task, with a track for each object.

A track has polygons, masks or boxes, one for each frame. `outside="1"` marks frames without the object. The flag
`occluded` becomes the challenge `occlusion` of an object.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from mssts.core.errors import InputError
from mssts.ytvis.converters.document import (
    Converted,
    ConvertedVideo,
    file_names,
    of_array,
    of_polygons,
    require,
    sources,
    union,
)
from mssts.ytvis.json_input import is_name

OCCLUSION = "occlusion"
SHAPES = ("polygon", "mask", "box")


def read_cvat(source: Path, images: Path | None) -> Converted:
    """Read an XML file, or all of a folder. The name of a video is that of its file, or of its folder if it has one."""
    converted = Converted([])
    files = sources(source, ".xml") if source.is_file() or any(source.glob("*.xml")) else ()
    named = {path.stem: path for path in files} or {path.parent.name: path for path in sorted(source.glob("*/*.xml"))}
    require(named, str(source), "no .xml file", "one for each video")
    for name, path in named.items():
        converted.videos.append(_video(name, path, images, converted))
    return converted


def _video(name: str, path: Path, images: Path | None, converted: Converted) -> ConvertedVideo:
    root = _parse(path)
    meta = root.find("meta/task")
    meta = root.find("meta/job") if meta is None else meta
    require(meta is not None, f"{path}: annotations/meta", "no task or job", "a file in format `CVAT for video 1.1`")
    assert meta is not None
    size = root.find("meta/original_size")
    size = meta.find("original_size") if size is None else size
    height, width = (_integer(size, key, f"{path}: original_size", text=True) for key in ("height", "width"))
    length = _integer(meta, "size", f"{path}: meta", text=True)
    first = _integer(meta, "start_frame", f"{path}: meta", text=True) if meta.find("start_frame") is not None else 0
    video = ConvertedVideo(name, height, width, file_names(images, name, length, path))
    for track in root.iterfind("track"):
        where, label = f"{path}: track {track.get('id')}", track.get("label")
        require(is_name(label), f"{where}: label", label, "a name")
        found, occluded = video.object(str(label)), False
        for shape in track:
            if shape.tag not in SHAPES:
                if shape.tag != "attribute":
                    converted.notes[f"shapes other than {', '.join(SHAPES)} are left out"] += 1
                continue
            frame = _integer(shape, "frame", where) - first
            require(0 <= frame < length, f"{where}: frame", frame + first, f"{first} to {first + length - 1}")
            if shape.get("outside") != "1":
                mask = _mask(shape, f"{where}, frame {frame + first}", height, width)
                found.segmentations[frame] = union(found.segmentations[frame], mask)
                occluded |= shape.get("occluded") == "1"
        found.attributes = {OCCLUSION: occluded}
    return video


def _parse(path: Path) -> ElementTree.Element:
    text = path.read_bytes()
    if re.search(rb"<!(DOCTYPE|ENTITY)", text):
        raise InputError(f"{path}: found a document type; expected plain XML as CVAT exports it")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(
            f"{path}: not valid XML ({error}); expected an export in format `CVAT for video 1.1`"
        ) from None
    require(root.tag == "annotations", str(path), root.tag, "an element `annotations`, as CVAT exports it")
    if root.find("image") is not None:
        raise InputError(f"{path}: found an export as `CVAT for images`; export the task as `CVAT for video 1.1`")
    return root


def _integer(element: Any, key: str, where: str, text: bool = False) -> int:
    """An attribute, or the text of a child, as an integer from 0."""
    found = None if element is None else element.findtext(key) if text else element.get(key)
    require(found is not None and found.strip().isdecimal(), f"{where}: {key}", found, "an integer from 0")
    return int(str(found))


def _mask(shape: ElementTree.Element, where: str, height: int, width: int) -> dict[str, Any] | None:
    if shape.tag == "mask":
        left, top, across, down = (_integer(shape, key, where) for key in ("left", "top", "width", "height"))
        runs = _numbers(shape.get("rle"), ",", where)
        whole = all(run >= 0 and run == int(run) for run in runs) and sum(runs) == across * down
        require(whole, f"{where}: rle", f"{sum(runs):g} pixels", f"runs of {across * down} pixels (width x height)")
        require(
            left + across <= width and top + down <= height,
            where,
            (left, top),
            f"a mask in the frame {width} x {height}",
        )
        part = np.repeat(np.arange(len(runs)) % 2, np.array(runs, int)).reshape(down, across)
        mask_HW = np.zeros((height, width), bool)
        mask_HW[top : top + down, left : left + across] = part
        return of_array(mask_HW)
    if shape.tag == "box":
        x1, y1, x2, y2 = (_numbers(shape.get(key), ",", where)[0] for key in ("xtl", "ytl", "xbr", "ybr"))
        return of_polygons([[x1, y1, x2, y1, x2, y2, x1, y2]], height, width, where)
    return of_polygons([_numbers(shape.get("points"), "[,;]", where)], height, width, where)


def _numbers(text: str | None, separator: str, where: str) -> list[float]:
    try:
        return [float(part) for part in re.split(separator, text or "")]
    except ValueError:
        raise InputError(f"{where}: found {text!r:.60}; expected numbers") from None
