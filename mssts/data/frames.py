"""Frames and masks of videos as tensors, kept in memory where a whole dataset fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mssts.core.errors import InputError
from mssts.ytvis.annotations import Track, Video, VideoAnnotations
from mssts.ytvis.segmentation import decode

CACHE_BYTES = 512 * 2**20


def read_image(path: Path, height: int, width: int, where: str) -> torch.Tensor:
    """RGB image (3, height, width) uint8. Raises InputError, naming `where`, if unreadable or of another size."""
    try:
        with Image.open(path) as image:
            pixels_HW3 = np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise InputError(f"{where}: no such file. Get or generate the images anew.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{where}: unreadable image ({error}). Get or generate it anew.") from None
    if pixels_HW3.shape[:2] != (height, width):
        found = " x ".join(str(side) for side in pixels_HW3.shape[:2])
        raise InputError(f"{where}: the image has {found} px, the annotations say {height} x {width} (height x width).")
    return torch.from_numpy(pixels_HW3).permute(2, 0, 1).contiguous()


class FrameStore:
    """Decoded frames and masks of a split; a video is decoded once if the whole split fits into CACHE_BYTES."""

    def __init__(self, annotations: VideoAnnotations) -> None:
        self.annotations = annotations
        tracks = annotations.tracks
        size = sum(v.length * v.height * v.width * (3 + len(tracks[v.id])) for v in annotations.videos)
        self._keep = size <= CACHE_BYTES
        self._frames: dict[int, torch.Tensor] = {}
        self._masks: dict[int, torch.Tensor] = {}

    def objects(self, video: Video) -> list[Track]:
        """The tracks of a video that are no crowd."""
        return [track for track in self.annotations.tracks[video.id] if not track.iscrowd]

    def frames(self, video: Video, indices: list[int]) -> torch.Tensor:
        """Frames (T, 3, H, W) uint8 at the given places of a video. Raises InputError for an unreadable one."""
        if not self._keep:
            return self._decode_frames(video, indices)
        if video.id not in self._frames:
            self._frames[video.id] = self._decode_frames(video, list(range(video.length)))
        return self._frames[video.id][indices]

    def masks(self, video: Video, indices: list[int]) -> torch.Tensor:
        """Masks (N, T, H, W) bool of `objects(video)` at the given places. Raises InputError for bad run lengths."""
        if not self._keep:
            return self._decode_masks(video, indices)
        if video.id not in self._masks:
            self._masks[video.id] = self._decode_masks(video, list(range(video.length)))
        return self._masks[video.id][:, indices]

    def _decode_frames(self, video: Video, indices: list[int]) -> torch.Tensor:
        decoded: dict[int, torch.Tensor] = {}
        for frame in indices:
            if frame not in decoded:
                path, where = self.annotations.frame_path(video, frame), self.annotations.frame_name(video, frame)
                decoded[frame] = read_image(path, video.height, video.width, where)
        return torch.stack([decoded[frame] for frame in indices])

    def _decode_masks(self, video: Video, indices: list[int]) -> torch.Tensor:
        tracks = self.objects(video)
        masks = np.zeros((len(tracks), len(indices), video.height, video.width), bool)
        for n, track in enumerate(tracks):
            for t, frame in enumerate(indices):
                where = f"{self.annotations.path}: annotation {track.id}, {self.annotations.frame_name(video, frame)}"
                masks[n, t] = decode(track.segmentations[frame], video.height, video.width, where)
        return torch.from_numpy(masks)
