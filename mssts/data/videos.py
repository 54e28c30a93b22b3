"""Whole videos for inference."""

from __future__ import annotations

import torch

from mssts.config import DataSection
from mssts.data.augmentation import normalise, resize_frames, resized_size
from mssts.data.datasets import VideoSplit
from mssts.data.frames import read_frame
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
    size = resized_size(video.height, video.width, short_side, None)
    frames = [resize_frames(read_frame(split, video, t), size) for t in range(video.length)]
    return normalise(torch.stack(frames), data_config), (video.height, video.width)
