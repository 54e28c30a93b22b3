"""Splits the videos of an annotation file into a part to train on and a part that is held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from mssts.core.errors import InputError
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.tracks import Video

VIDEOS_PER_SIDE = 2  # of a category, if there are enough
RULE = "lowest SHA-256 of the video's folder name, then swaps for categories with fewer than two videos on a side"


def video_name(video: Video) -> str:
    """Name of a video: the folder of its frames, which is the same in every copy of a dataset."""
    return video.file_names[0].rpartition("/")[0]


def local_split(annotations: Annotations, share: float) -> dict[str, Any]:
    """Choose the videos that are held out; the choice depends only on the names and categories of the videos [ours].

    The videos whose names have the lowest SHA-256 are held out. Then, for each category of which a side has fewer than
    two videos although there are four, a video of it is swapped in for one that no category depends on.

    Args:
        annotations: The annotations to split; each video needs a folder of its own.
        share: Share of the videos to hold out; their number is rounded.

    Returns:
        `train` and `valid`: sorted names of the videos; `rule`: the rule in words; `exceptions`: {category: {side:
        number of videos}} where a side has fewer than two; `digest`: SHA-256 of both lists of names.

    Raises:
        InputError: If two videos lie in one folder.
    """
    categories = {
        video_name(video): {track.category_id for track in annotations.tracks_of[video.id]}
        for video in annotations.videos.values()
    }
    if len(categories) != len(annotations.videos):
        raise InputError(f"{annotations.path}: two videos share a folder; each video needs its own folder.")
    order = sorted(categories, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = round(share * len(order))
    sides = {"valid": order[:count], "train": order[count:]}
    total = Counter(number for numbers in categories.values() for number in numbers)
    for number in sorted(number for number in total if total[number] >= 2 * VIDEOS_PER_SIDE):
        _balance(number, sides, categories, total)
    exceptions = {}
    for number, category in annotations.categories.items():
        found = {side: sum(number in categories[name] for name in sides[side]) for side in sides}
        if min(found.values()) < VIDEOS_PER_SIDE:
            exceptions[category] = found
    sides = {side: sorted(members) for side, members in sides.items()}
    digest = hashlib.sha256("\n".join(["valid", *sides["valid"], "train", *sides["train"]]).encode()).hexdigest()
    return sides | {"rule": RULE, "exceptions": exceptions, "digest": digest}


def part_of(content: dict[str, Any], names: set[str], annotations: Annotations) -> dict[str, Any]:
    """The parsed content of an annotation file, reduced to the videos of the given names.

    Args:
        content: The content of the file.
        names: Names of the videos to keep.
        annotations: The checked annotations of the same file.
    """
    ids = {video.id for video in annotations.videos.values() if video_name(video) in names}
    return content | {
        "videos": [video for video in content["videos"] if video["id"] in ids],
        "annotations": [item for item in content["annotations"] if item["video_id"] in ids],
    }


def _balance(number: int, sides: dict[str, list[str]], categories: dict[str, set[int]], total: Counter[int]) -> None:
    """Swap videos until each side has two of category `number`, as far as no other category suffers."""
    for side, other in (("valid", "train"), ("train", "valid")):
        while sum(number in categories[name] for name in sides[side]) < VIDEOS_PER_SIDE:
            entering = (name for name in sides[other] if number in categories[name])
            leaving = (name for name in reversed(sides[side]) if number not in categories[name])
            enters = next((name for name in entering if _is_spare(name, sides[other], categories, total)), None)
            leaves = next((name for name in leaving if _is_spare(name, sides[side], categories, total)), None)
            if enters is None or leaves is None:
                return
            sides[other][sides[other].index(enters)] = leaves
            sides[side][sides[side].index(leaves)] = enters


def _is_spare(name: str, side: list[str], categories: dict[str, set[int]], total: Counter[int]) -> bool:
    """Whether a video may leave its side: each category that it shows keeps two videos there."""
    return all(
        total[number] < 2 * VIDEOS_PER_SIDE or sum(number in categories[member] for member in side) > VIDEOS_PER_SIDE
        for number in categories[name]
    )
