"""Palette PNGs of DAVIS and YouTube-VOS: one image per frame, whose pixel values are the numbers of the objects.

The source is the folder `Annotations`, with a folder of PNG files for each video. 0 is the background, 255 (DAVIS) is
not annotated. YouTube-VOS has the categories of the objects in `meta.json` beside the folder; DAVIS has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mssts.core.errors import InputError, shown
from mssts.ytvis.converters.document import Converted, ConvertedVideo, frame_files, natural_order, of_array, require
from mssts.ytvis.json_input import is_name, parse_json, read_bytes

META = "meta.json"
UNNAMED = "object"
NOT_ANNOTATED = 255


def read_palette(source: Path, images: Path | None) -> Converted:
    """Read a folder of palette PNGs. A frame without a PNG is left out."""
    folders = natural_order(path.name for path in source.iterdir() if path.is_dir()) if source.is_dir() else []
    if not folders:
        raise InputError(f"{source}: found no folders; expected one for each video, with a PNG file for each frame")
    meta = source.parent / META
    categories = _categories(meta) if meta.is_file() else {}
    converted = Converted([])
    for name in folders:
        masks = natural_order(path.name for path in (source / name).glob("*.png"))
        require(masks, str(source / name), "no PNG files", "one for each frame")
        converted.videos.append(_video(source / name, masks, images, categories.get(name, {}), converted))
    return converted


def _video(
    folder: Path, masks: list[str], images: Path | None, categories: dict[str, str], converted: Converted
) -> ConvertedVideo:
    labels = [_labels(folder / name) for name in masks]
    height, width = labels[0].shape
    video = ConvertedVideo(folder.name, height, width, _names(folder, masks, images))
    found = {}
    for frame, labels_HW in enumerate(labels):
        require(labels_HW.shape == (height, width), str(folder / masks[frame]), labels_HW.shape, f"{(height, width)}")
        if (labels_HW == NOT_ANNOTATED).any():
            converted.notes[f"frames with pixels of value {NOT_ANNOTATED}, which are read as background"] += 1
        for number in np.unique(labels_HW[(labels_HW != 0) & (labels_HW != NOT_ANNOTATED)]).tolist():
            if number not in found:
                found[number] = video.object(categories.get(str(number), UNNAMED))
            found[number].segmentations[frame] = of_array(labels_HW == number)
    return video


def _labels(path: Path) -> np.ndarray:
    """Numbers of the objects, (H, W) uint8."""
    try:
        with Image.open(path) as image:
            require(image.mode in ("P", "L"), str(path), f"mode {image.mode}", "a PNG with a palette or grey values")
            return np.array(image)
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: unreadable PNG ({error})") from None


def _names(folder: Path, masks: list[str], images: Path | None) -> list[str]:
    """Frames of the masks: the images of the same stem, or JPEG files of that name where no folder is given."""
    found = frame_files(images, folder.name)
    if found is None:
        return [f"{folder.name}/{Path(name).stem}.jpg" for name in masks]
    by_stem = {Path(name).stem: name for name in found}
    missing = [name for name in masks if Path(name).stem not in by_stem]
    require(not missing, str(folder), missing[:3], f"an image of the same name in {images} for each PNG")
    return [by_stem[Path(name).stem] for name in masks]


def _categories(meta: Path) -> dict[str, dict[str, str]]:
    """{video: {number of the object: category}} of a meta.json."""
    content: Any = parse_json(read_bytes(meta, "list of objects"), meta, "list of objects")
    try:
        found = {
            video: {number: entry["category"] for number, entry in objects["objects"].items()}
            for video, objects in content["videos"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{meta}: expected videos -> name -> objects -> number -> category, as in YouTube-VOS"
        ) from None
    for video, objects in found.items():
        for number, category in objects.items():
            require(is_name(category), f"{meta}: {shown(video)}, object {shown(number)}: category", category, "a name")
    return found
