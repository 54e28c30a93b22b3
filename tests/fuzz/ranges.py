"""Documented ranges of files that were accepted, checked independently of mssts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MAX_SIDE, MAX_ID = 2**20, 2**63 - 1


def _content(path: Path) -> Any:
    """Content of a JSON file; None if it is encoded in another way."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError):
        return None


def of_annotations(path: Path) -> list[str]:
    """Values outside of their range in an annotation file."""
    content, problems = _content(path), []
    if content is None:
        return []
    videos = {video["id"]: video for video in content["videos"]}
    categories = {category["id"] for category in content["categories"]}
    for video in content["videos"]:
        sides = [video[key] for key in ("height", "width", "length") if key in video]
        if not all(1 <= side <= MAX_SIDE for side in sides):
            problems.append(f"sides {sides}")
    for track in content["annotations"]:
        video = videos.get(track["video_id"])
        if video is None or track["category_id"] not in categories or not 1 <= track["id"] <= MAX_ID:
            problems.append(f"ids of {track!r:.200}")
            continue
        pixels, frames, areas = video["height"] * video["width"], track["segmentations"], track.get("areas")
        length = video["length"] if "length" in video else len(video["file_names"])
        if len(frames) != length or (areas is not None and len(areas) != length):
            problems.append(f"{len(frames)} masks and areas {areas} in {length} frames")
        if not all(area is None or 0 <= area <= pixels for area in areas or ()):
            problems.append(f"areas {areas} in frames of {pixels} pixels")
        numbers = [n for frame in frames if isinstance(frame, list) for polygon in frame for n in polygon]
        if not all(abs(n) <= 2 * MAX_SIDE for n in numbers):
            problems.append(f"polygon {numbers}")
    return problems


def of_submission(path: Path) -> list[str]:
    """Values outside of their range in a submission."""
    return [f"[{n}]: {one!r:.200}" for n, one in enumerate(_content(path) or []) if not math.isfinite(one["score"])]
