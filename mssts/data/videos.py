"""Whole videos for inference."""

from __future__ import annotations

import torch

from mssts.config import DataSection
from mssts.data.augmentation import normalise, resize_frames, resized_size
from mssts.data.datasets import VideoSplit
from mssts.data.frames import read_image
from mssts.ytvis.tracks import Video


def read_video(
    split: VideoSplit, video: Video, short_side: int, data_config: DataSection
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Read all frames of a video.

    Args:
        split: The split of the video.
        video: The video.
        short_side: Short side of the frames after resizing in pixels; the long side has no limit [code].
        data_config: Section of the configuration with mean and standard deviation.

    Returns:
        Normalised frames (T, 3, H, W) float32 without padding, and the video's own (height, width) in pixels.

    Raises:
        InputError: If an image is unreadable.
    """
    frames, own_size = [], (video.height, video.width)
    size = resized_size(*own_size, short_side, None)
    for t in range(video.length):
        frame_13HW = read_image(split.frame_path(video, t), *own_size, split.frame_name(video, t))[None]
        frames.append(frame_13HW if size == own_size else resize_frames(frame_13HW, size))
    return normalise(torch.cat(frames), data_config), own_size
