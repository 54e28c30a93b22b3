"""Videos, and the tracks of objects in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mssts.ytvis import run_length
from mssts.ytvis.masks import Polygons, TrackMasks, irregular_track, read_track
from mssts.ytvis.problems import Problems

MAX_SIDE = 2**14  # pixels; sizes of masks are computed in 32 bits by pycocotools
LENGTH_MISMATCH = "tracks without exactly one entry per frame: two tracks are compared up to the end of the shorter one"
SIZE_MISMATCH = "masks whose size is not that of the video: frames with masks of two sizes count as empty"


@dataclass(frozen=True, slots=True)
class Video:
    """One video, or one still as a video of one frame.

    Attributes:
        id: Id in the file.
        height: Height of a frame in pixels.
        width: Width of a frame in pixels.
        length: Number of frames.
        file_names: Files of the frames, relative to the folder of the images; empty if the file does not name them.
    """

    id: int
    height: int
    width: int
    length: int
    file_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One annotated object of a video.

    Attributes:
        id: Id in the file.
        video_id: Id of its video.
        category_id: Id of its category.
        crowd: Whether it stands for a group of objects.
        area: Mean of the areas in the file that are neither null nor 0, in pixels [code]; of its masks if the file has
            no areas [ours].
        attributes: The challenges that the file records for it, each true or false; None if it records none.
        segmentation: Its masks, or its polygons in a still.
    """

    id: int
    video_id: int
    category_id: int
    crowd: bool
    area: float
    attributes: dict[str, bool] | None
    segmentation: TrackMasks | Polygons

    @property
    def masks(self) -> TrackMasks:
        """Its masks in all frames; polygons are drawn at each call."""
        return self.segmentation if isinstance(self.segmentation, TrackMasks) else self.segmentation.draw()


def check_frames(frames: Any, video: Video, where: str, problems: Problems, key: str = "segmentations") -> bool:
    """Record what is wrong if `frames` is not a list with an entry per frame; returns whether it can be read."""
    if not isinstance(frames, list):
        problems.add(where, f"{key}: found {type(frames).__name__}, expected a list with an entry per frame")
        return False
    if len(frames) == video.length:
        return True
    message = f"{key}: found {len(frames)} frames, but video {video.id} has {video.length}"
    return problems.tolerate(where, f"{message}; write null for a frame without the object", LENGTH_MISMATCH)


def checked_masks(
    frames: list[Any], video: Video, where: str, problems: Problems, key: Callable[[int], str]
) -> TrackMasks | None:
    """Masks of an object; None after recording what is wrong.

    Args:
        frames: A run-length mask or None per frame of the video; with `lenient` any number of masks of any size.
        video: The video.
        where: Place of the object in the file, for messages.
        problems: Collects what is wrong.
        key: Gives the key of a frame's mask, for messages.
    """
    size = (video.height, video.width)
    masks = read_track(frames, *size) if len(frames) == video.length else None
    if masks is not None:
        return masks
    sizes = [_named_size(mask) or size if problems.lenient else size for mask in frames]
    before = len(problems.lines)
    for frame, mask in enumerate(frames):
        problem = run_length.mask_problem(mask, *sizes[frame]) if mask is not None else None
        if problem is not None:
            problems.add(where, f"{key(frame)}: {problem}")
    if len(problems.lines) > before:
        return None
    assert problems.lenient, "masks without a problem were refused"
    others = sum(mask is not None and tuple(own) != size for mask, own in zip(frames, sizes, strict=True))
    if others:
        problems.notice(where, SIZE_MISMATCH, others)
    return irregular_track(frames, sizes, size)


def _named_size(mask: Any) -> list[int] | None:
    """The valid `size` that a run-length mask names, else None."""
    size = mask.get("size") if isinstance(mask, dict) else None
    valid = (
        isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side <= MAX_SIDE for side in size)
    )
    return size if valid else None
