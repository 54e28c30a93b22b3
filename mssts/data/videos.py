"""Whole videos for inference."""

from __future__ import annotations

import torch

from mssts.config import DataSection
from mssts.data.augmentation import normalise, resize_frames, resized_size
from mssts.data.frames import read_image
from mssts.ytvis.annotations import Video, VideoAnnotations


def read_video(
    annotations: VideoAnnotations, video: Video, short_side: int, settings: DataSection
) -> tuple[torch.Tensor, tuple[int, int]]:
    """All frames (T, 3, H, W) float32, normalised, and the video's own (height, width) in px.

    The short side is resized to `short_side` px, without a limit on the long side [code]; no padding. Raises InputError
    for an unreadable image.
    """
    frames, own_size = [], (video.height, video.width)
    size = resized_size(*own_size, short_side, None)
    for t in range(video.length):
        where = annotations.frame_name(video, t)
        frame_13HW = read_image(annotations.frame_path(video, t), *own_size, where)[None]
        frames.append(frame_13HW if size == own_size else resize_frames(frame_13HW, size))
    return normalise(torch.cat(frames), settings), own_size
