"""Frames and masks of videos as tensors, kept in memory if a whole split fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mssts.core.errors import InputError
from mssts.data.datasets import VideoSplit
from mssts.ytvis.tracks import Track, Video

CACHE_BYTES = 512 * 2**20


def read_image(path: Path, height: int, width: int, where: str) -> torch.Tensor:
    """Read an image.

    Args:
        path: The file.
        height: Expected height in pixels.
        width: Expected width in pixels.
        where: Name of the image, for messages.

    Returns:
        (3, height, width) uint8, RGB.

    Raises:
        InputError: If the image is unreadable or of another size.
    """
    try:
        with Image.open(path) as image:
            pixels_HW3 = np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{where}: no such file. Get or generate the images again.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{where}: unreadable image ({error}). Get or generate it again.") from None
    if pixels_HW3.shape[:2] != (height, width):
        found = " x ".join(str(side) for side in pixels_HW3.shape[:2])
        raise InputError(f"{where}: the image has {found} px, the annotations say {height} x {width} (height x width).")
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1).contiguous()


class FrameStore:
    """Decoded frames and masks of a split; each video is decoded only once if the whole split fits into CACHE_BYTES."""

    def __init__(self, split: VideoSplit) -> None:
        self.split = split
        tracks_of = split.annotations.tracks_of
        size = sum(v.length * v.height * v.width * (3 + len(tracks_of[v.id])) for v in split.videos)
        self._keep = size <= CACHE_BYTES
        self._frames: dict[int, torch.Tensor] = {}
        self._masks: dict[int, torch.Tensor] = {}

    def objects(self, video: Video) -> list[Track]:
        """The tracks of a video, without crowds."""
        return [track for track in self.split.annotations.tracks_of[video.id] if not track.crowd]

    def frames(self, video: Video, indices: list[int]) -> torch.Tensor:
        """Frames (T, 3, H, W) uint8 at the given positions of a video. Raises InputError for an unreadable one."""
        if not self._keep:
            return self._decode_frames(video, indices)
        if video.id not in self._frames:
            self._frames[video.id] = self._decode_frames(video, list(range(video.length)))
        return self._frames[video.id][indices]

    def masks(self, video: Video, indices: list[int]) -> torch.Tensor:
        """Masks (N, T, H, W) bool of `objects(video)` at the given positions."""
        if not self._keep:
            return self._decode_masks(video, indices)
        if video.id not in self._masks:
            self._masks[video.id] = self._decode_masks(video, list(range(video.length)))
        return self._masks[video.id][:, indices]

    def _decode_frames(self, video: Video, indices: list[int]) -> torch.Tensor:
        decoded: dict[int, torch.Tensor] = {}
        for frame in indices:
            if frame not in decoded:
                path, where = self.split.frame_path(video, frame), self.split.frame_name(video, frame)
                decoded[frame] = read_image(path, video.height, video.width, where)
        return torch.stack([decoded[frame] for frame in indices])

    def _decode_masks(self, video: Video, indices: list[int]) -> torch.Tensor:
        tracks = self.objects(video)
        masks = np.zeros((len(tracks), len(indices), video.height, video.width), bool)
        for n, track in enumerate(tracks):
            masks[n] = track.masks.decode(indices)
        return torch.from_numpy(masks)
