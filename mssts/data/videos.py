"""Videos for inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from mssts.config import DataSection
from mssts.data.augmentation import normalise, resize_frames, resized_size
from mssts.data.datasets import VideoSplit
from mssts.data.frames import read_frame
from mssts.ytvis.tracks import Video


def read_video(
    split: VideoSplit, video: Video, short_side: int, data_config: DataSection
) -> tuple[torch.Tensor, tuple[int, int]]:
    """As `video_frames`, with all frames in one tensor (T, 3, H, W)."""
    frames, size = video_frames(split, video, short_side, data_config)
    return torch.stack(tuple(frames)), size


def video_frames(
    split: VideoSplit, video: Video, short_side: int, data_config: DataSection
) -> tuple[Iterator[torch.Tensor], tuple[int, int]]:
    """Read the frames of a video one by one.

    Args:
        split: The split of the video.
        video: The video.
        short_side: Short side of the frames after resizing in pixels; the long side has no limit [code].
        data_config: Section of the configuration with mean and standard deviation.

    Returns:
        Normalised frames (3, H, W) float32 without padding, and the video's own (height, width) in pixels.

    Raises:
        InputError: If an image is unreadable, when its frame is read.
    """
    frames = (read_frame(split, video, t) for t in range(video.length))
    size = (video.height, video.width)
    return network_frames(frames, size, short_side, data_config), size


def network_frames(
    frames: Iterable[torch.Tensor], size: tuple[int, int], short_side: int, data_config: DataSection
) -> Iterator[torch.Tensor]:
    """Frames as the network takes them, one by one.

    Args:
        frames: (3, H, W) uint8, RGB.
        size: Their height and width in pixels.
        short_side: As for `video_frames`, like the next one.
        data_config: Likewise.

    Yields:
        (3, H, W) float32 without padding.
    """
    resized = resized_size(*size, short_side, None)
    for frame in frames:
        yield normalise(resize_frames(frame, resized), data_config)
