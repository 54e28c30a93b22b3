"""Frames and masks of videos as tensors, kept in memory if a whole split fits."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import get_worker_info

from mssts.core.errors import InputError
from mssts.core.files import verify_digest
from mssts.data.datasets import VideoSplit
from mssts.data.fingerprints import ADVICE
from mssts.data.images import STORED_PIXELS, ImageProblem, read_image
from mssts.ytvis.tracks import Track, Video

CACHE_BYTES = 512 * 2**20


def read_frame(split: VideoSplit, video: Video, frame: int) -> torch.Tensor:
    """Read one frame of a video.

    Returns:
        (3, H, W) uint8, RGB.

    Raises:
        InputError: For what `mssts.data.images.read_image` refuses, and for a frame that was changed after its digest
            was recorded.
    """
    path = split.frame_path(video, frame)
    if path in split.digests:
        verify_digest(path, split.digests[path], ADVICE)
    try:
        pixels_HW3, not_turned = read_image(path, video.height, video.width)
    except ImageProblem as problem:
        raise InputError(f"{split.frame_name(video, frame)}: {problem}") from None
    worker = get_worker_info()
    if not_turned and (worker is None or worker.id == 0):
        _warn_of_stored_pixels(split.image_root)
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1).contiguous()


def frame_pixels(split: VideoSplit, video: Video, frame: int) -> np.ndarray:
    """As `read_frame`, (H, W, 3) uint8."""
    return read_frame(split, video, frame).permute(1, 2, 0).numpy()


def evenly_spaced(length: int, count: int) -> list[int]:
    """Positions of `count` of `length` items, or of all if there are fewer, evenly spread from first to last."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


@cache
def _warn_of_stored_pixels(image_root: Path) -> None:
    """Warn once about a folder of images."""
    print(f"warning: {image_root}: {STORED_PIXELS}", file=sys.stderr)


class FrameStore:
    """Decoded frames and masks of a split; each video is decoded only once if the whole split fits into CACHE_BYTES."""

    def __init__(self, split: VideoSplit) -> None:
        self.split = split
        tracks = Counter(split.annotations.tracks.video_id_N.tolist())
        size = sum(v.length * v.height * v.width * (3 + tracks[v.id]) for v in split.videos)
        self._keep = size <= CACHE_BYTES
        self._decoded: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def objects(self, video: Video) -> list[Track]:
        """The tracks of a video, without crowds."""
        return [track for track in self.split.annotations.tracks_of[video.id] if not track.crowd]

    def clip(self, video: Video, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Read the frames of a clip and the masks of its objects, of which there has to be one.

        Args:
            video: The video.
            indices: Positions of T frames in the video.

        Returns:
            Frames (T, 3, H, W) uint8, and masks (N, T, H, W) bool of `objects(video)`.

        Raises:
            InputError: If an image is unreadable.
        """
        if not self._keep:
            return self._decode(video, indices)
        if video.id not in self._decoded:
            self._decoded[video.id] = self._decode(video, range(video.length))
        frames_T3HW, masks_NTHW = self._decoded[video.id]
        return frames_T3HW[indices], masks_NTHW[:, indices]

    def masks(self, video: Video, indices: Sequence[int]) -> torch.Tensor:
        """The masks that `clip` returns, without reading frames."""
        return torch.from_numpy(np.stack([track.masks.decode(indices) for track in self.objects(video)]))

    def _decode(self, video: Video, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        frames = {frame: read_frame(self.split, video, frame) for frame in dict.fromkeys(indices)}
        return torch.stack([frames[frame] for frame in indices]), self.masks(video, indices)
