"""Splits the videos of an annotation file into a part to train on and a part that is held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from mssts.core.errors import InputError
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.tracks import Video

VIDEOS_PER_SIDE = 2  # of a category, if there are enough
OPPOSITE = {"valid": "train", "train": "valid"}
RULE = (
    "lowest SHA-256 of the video's folder name, then swaps for a side without an object, and for categories with fewer "
    "than two videos on a side"
)


def video_names(annotations: Annotations) -> dict[int, str]:
    """{video id: name}, which is the same in every copy of a dataset.

    It is the folder of the frames; where videos share a folder, the first frame.

    Raises:
        InputError: If two videos have the same first frame.
    """
    videos = annotations.videos.values()
    names = {video.id: video.file_names[0].rpartition("/")[0] for video in videos}
    if len(set(names.values())) == len(names):
        return names
    own: dict[str, Video] = {}
    for video in videos:
        first = own.setdefault(video.file_names[0], video)
        if first is not video:
            raise InputError(
                f"{annotations.path}: the videos {first.id} and {video.id} both begin with {video.file_names[0]!r}; "
                "expected a first frame of its own for each video, which decides whether the video is held out"
            )
    return {video.id: name for name, video in own.items()}


def local_split(annotations: Annotations, share: float, seed: int = 0) -> dict[str, Any]:
    """Choose the videos that are held out; the choice depends only on the names and categories of the videos [ours].

    The videos whose names have the lowest SHA-256 are held out. A side without an object gets a video that shows one.
    Then, for each category of which a side has fewer than two videos although there are four, a video of it is swapped
    in for one that no category depends on. Crowds are no objects.

    Args:
        annotations: The annotations to split.
        share: Share of the videos to hold out; their number is rounded, and each side gets at least one.
        seed: Another number chooses other videos.

    Returns:
        `train` and `valid`: sorted names of the videos; `rule`: the rule in words; `exceptions`: {category: {side:
        number of videos}} where a side has fewer than two; `digest`: SHA-256 of both lists of names.

    Raises:
        InputError: If two videos have the same first frame, there is only one video, or a side has no object.
    """
    path = annotations.path
    own = {name: annotations.videos[key] for key, name in video_names(annotations).items()}
    if len(own) < 2:
        raise InputError(
            f"{path}: found {len(own)} video, expected 2 or more: the local split trains on some and holds out the "
            "others. Add videos, or cut the video in two."
        )
    categories = {
        name: {track.category_id for track in annotations.tracks_of[video.id] if not track.crowd}
        for name, video in own.items()
    }
    salt = f"{seed}/" if seed else ""
    order = sorted(categories, key=lambda name: hashlib.sha256(f"{salt}{name}".encode()).hexdigest())
    count = min(max(round(share * len(order)), 1), len(order) - 1)
    sides = {"valid": order[:count], "train": order[count:]}
    for side, other in OPPOSITE.items():
        if not any(categories[name] for name in sides[side]):
            entering = [name for name in sides[other] if categories[name]]
            if len(entering) < 2:
                raise InputError(
                    f"{path}: found objects other than crowds in {len(entering)} video(s), expected them in 2 or more: "
                    "the local split trains on some videos and evaluates on the others. Annotate more videos."
                )
            _swap(sides, other, entering[0], side, sides[side][-1])
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
    ids = {key for key, name in video_names(annotations).items() if name in names}
    return content | {
        "videos": [video for video in content["videos"] if video["id"] in ids],
        "annotations": [item for item in content["annotations"] if item["video_id"] in ids],
    }


def _balance(number: int, sides: dict[str, list[str]], categories: dict[str, set[int]], total: Counter[int]) -> None:
    """Swap videos until each side has two of category `number`, as far as no other category suffers."""
    for side, other in OPPOSITE.items():
        while sum(number in categories[name] for name in sides[side]) < VIDEOS_PER_SIDE:
            entering = (name for name in sides[other] if number in categories[name])
            leaving = (name for name in reversed(sides[side]) if number not in categories[name])
            enters = next((name for name in entering if _is_spare(name, sides[other], categories, total)), None)
            leaves = next((name for name in leaving if _is_spare(name, sides[side], categories, total)), None)
            if enters is None or leaves is None:
                return
            _swap(sides, other, enters, side, leaves)


def _swap(sides: dict[str, list[str]], side: str, name: str, other: str, other_name: str) -> None:
    """Exchange a video of one side for a video of the other."""
    sides[side][sides[side].index(name)] = other_name
    sides[other][sides[other].index(other_name)] = name


def _is_spare(name: str, side: list[str], categories: dict[str, set[int]], total: Counter[int]) -> bool:
    """Whether a video may leave its side: each category that it shows keeps two videos there."""
    return all(
        total[number] < 2 * VIDEOS_PER_SIDE or sum(number in categories[member] for member in side) > VIDEOS_PER_SIDE
        for number in categories[name]
    )
