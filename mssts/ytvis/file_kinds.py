"""Recognises the kind of a file by its keys, so that a file given in the wrong place is told what it is."""

from __future__ import annotations

from enum import Enum
from typing import Any


class FileKind(Enum):
    """Kinds of files that are mistaken for each other; the values are for messages."""

    YOUTUBE_VIS = "an annotation file in YouTube-VIS format"
    COCO = "an annotation file in COCO format, of images"
    COCO_VIDEO = (
        "a COCO-video file (layout of mmtracking and mmdetection: images of a video, and an annotation for each object "
        "in each image); convert it with `mssts convert FILE --from coco-video --output NEW.json`"
    )
    SUBMISSION = "a submission (a list of predictions)"
    COCO_DETECTIONS = "a list of detections in COCO format, of images"


def kind_of(content: Any) -> FileKind | None:
    """The kind of file that has this content; None if its keys do not tell."""
    if isinstance(content, list):
        keys = _first(content).keys()
        if keys >= {"video_id", "segmentations"}:
            return FileKind.SUBMISSION
        return FileKind.COCO_DETECTIONS if "image_id" in keys else None
    if not isinstance(content, dict):
        return None
    if "video_id" in _first(content.get("images")) and "segmentations" not in _first(content.get("annotations")):
        return FileKind.COCO_VIDEO
    if "videos" in content:
        return FileKind.YOUTUBE_VIS
    return FileKind.COCO if "images" in content else None


def _first(records: Any) -> dict[str, Any]:
    """The first entry of a list if it is an object, else an empty one."""
    return records[0] if isinstance(records, list) and records and isinstance(records[0], dict) else {}
