"""What every converter reads into: videos with objects, and the YouTube-VIS document of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError, shown
from mssts.ytvis import run_length

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
FRAME_NAME = "{video}/{frame:05d}.jpg"  # where the frames are not at hand; `mssts extract-frames` writes these names


@dataclass
class ConvertedObject:
    """One object of a video.

    Attributes:
        category: Name of its category.
        segmentations: Run-length mask with `size` and compressed `counts` per frame; None without the object.
        crowd: Whether it stands for a group of objects.
        attributes: Challenges that it shows, each true or false; None if the source does not say.
    """

    category: str
    segmentations: list[dict[str, Any] | None]
    crowd: bool = False
    attributes: dict[str, bool] | None = None


@dataclass
class ConvertedVideo:
    """One video.

    Attributes:
        name: Name in the source.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        file_names: Files of its frames, relative to the folder of the images.
        objects: Its objects.
        id: Id in the source; None where the source has none.
    """

    name: str
    height: int
    width: int
    file_names: list[str]
    objects: list[ConvertedObject] = field(default_factory=list)
    id: int | None = None

    def object(self, category: str, **more: Any) -> ConvertedObject:
        """Add an object without any mask."""
        self.objects.append(ConvertedObject(category, [None] * len(self.file_names), **more))
        return self.objects[-1]


@dataclass
class Converted:
    """What a converter has read.

    Attributes:
        videos: The videos.
        categories: {id: name} where the source has ids; else they are numbered in the order of their names.
        notes: What was left out or assumed, and how often.
    """

    videos: list[ConvertedVideo]
    categories: dict[int, str] | None = None
    notes: Counter[str] = field(default_factory=Counter)


def document(converted: Converted) -> dict[str, Any]:
    """The content of an annotation file in YouTube-VIS format. An object without any mask is left out, with a note."""
    names = converted.categories or dict(
        enumerate(sorted({o.category for v in converted.videos for o in v.objects}), 1)
    )
    ids = {name: key for key, name in names.items()}
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, video in enumerate(converted.videos, 1):
        key = number if video.id is None else video.id
        size = {"height": video.height, "width": video.width, "length": len(video.file_names)}
        videos.append({"id": key, **size, "file_names": video.file_names})
        for found in video.objects:
            if not any(found.segmentations):
                converted.notes["objects without any mask are left out"] += 1
                continue
            where = {"id": len(annotations) + 1, "video_id": key, "category_id": ids[found.category]}
            masks = found.segmentations
            areas = [int(coco_mask.area(mask)) if mask else None for mask in masks]
            boxes = [coco_mask.toBbox(mask).tolist() if mask else None for mask in masks]
            record = {"iscrowd": int(found.crowd), "segmentations": masks, "areas": areas, "bboxes": boxes}
            record |= {"attributes": found.attributes} if found.attributes is not None else {}
            annotations.append(where | record)
    categories = [{"id": key, "name": name} for key, name in names.items()]
    return {"videos": videos, "categories": categories, "annotations": annotations}


def of_array(mask_HW: np.ndarray) -> dict[str, Any] | None:
    """Run-length mask of a binary mask; None if it is empty."""
    return as_text(coco_mask.encode(np.asfortranarray(mask_HW.astype(np.uint8)))) if mask_HW.any() else None


def of_polygons(polygons: list[list[float]], height: int, width: int, where: str) -> dict[str, Any] | None:
    """Run-length mask of the union of polygons; None if it is empty. Raises InputError for wrong coordinates."""
    if problem := run_length.polygon_problem(polygons):
        raise InputError(f"{where}: {problem}")
    return as_text(run_length.draw_polygons(polygons, height, width))


def as_text(mask: Mapping[str, Any]) -> dict[str, Any] | None:
    """A compressed mask of pycocotools with `counts` as text, as JSON needs it; None if it is empty."""
    if not coco_mask.area(mask):
        return None
    counts = mask["counts"]
    return {"size": list(mask["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def union(first: dict[str, Any] | None, second: dict[str, Any] | None) -> dict[str, Any] | None:
    """The union of two masks of the same frame."""
    return as_text(coco_mask.merge([first, second])) if first and second else first or second


def natural_order(names: Iterable[str]) -> list[str]:
    """Names sorted with their numbers as numbers: frame2 before frame10."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def frame_files(images: Path | None, video: str) -> list[str] | None:
    """Frames of a video, relative to the folder of the images, in natural order.

    They are the images in the folder that has the video's name, or in the folder of the images itself.

    Returns:
        None without a folder of images.

    Raises:
        InputError: If there are none.
    """
    if images is None:
        return None
    for folder in (images / video, images):
        if folder.is_dir():
            found = [path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
            if found:
                return [(folder / name).relative_to(images).as_posix() for name in natural_order(found)]
    raise InputError(
        f"{images / video}: found no images; expected the frames of video {shown(video)} there; "
        "a video has the name of its file or folder"
    )


def file_names(images: Path | None, video: str, length: int, source: Path) -> list[str]:
    """As `frame_files`, but names by `FRAME_NAME` without a folder of images.

    Raises:
        InputError: If there are more or fewer frames than `length`.
    """
    found = frame_files(images, video)
    if found is None:
        return [FRAME_NAME.format(video=video, frame=frame) for frame in range(length)]
    if len(found) != length:
        where = f"{source}: video {shown(video)}"
        raise InputError(f"{where}: found {len(found)} images in {images}; expected {length}")
    return found


def require(condition: object, where: str, found: object, expected: str) -> None:
    """Raise InputError on a value of the source unless a condition holds."""
    if not condition:
        raise InputError(f"{where}: found {shown(found)}; expected {expected}")


def sources(source: Path, suffix: str) -> Sequence[Path]:
    """The file itself, or all files with a suffix in a folder, in natural order. Raises InputError if there is none."""
    if source.is_file():
        return [source]
    names = natural_order(path.name for path in source.glob(f"*{suffix}")) if source.is_dir() else []
    if not names:
        raise InputError(f"{source}: found no {suffix} file; expected one, or a folder of them")
    return [source / name for name in names]
