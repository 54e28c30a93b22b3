"""Augmentation of clips with torchvision's v2 functions. All random numbers come from the generator that is passed.

`frames_T3HW` are uint8 and `masks_NTHW` bool, both as tv_tensors, so that masks are resampled to the nearest pixel.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mssts.config import DataSection

CROP_SHORT_SIDES = (400, 500, 600)
CROP_SIDES = (384, 600)
View = tuple[torch.Tensor, torch.Tensor]


def augment(
    frames_T3HW: torch.Tensor, masks_NTHW: torch.Tensor, data_config: DataSection, rng: np.random.Generator
) -> View:
    """Flip, crop and resize all frames of a clip in the same way [code]; returns frames and masks of the new size."""
    frames_T3HW, masks_NTHW = tv_tensors.Image(frames_T3HW), tv_tensors.Mask(masks_NTHW)
    if rng.random() < data_config.flip:
        frames_T3HW, masks_NTHW = F.horizontal_flip(frames_T3HW), F.horizontal_flip(masks_NTHW)
    if data_config.crop and rng.random() < 0.5:
        frames_T3HW, masks_NTHW = _crop(frames_T3HW, masks_NTHW, rng)
    short_side = int(rng.choice(data_config.short_sides))
    return resize(frames_T3HW, masks_NTHW, short_side, data_config.max_long_side)


def photometric_distortion(frames_T3HW: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation, hue and order of channels, drawn for each frame separately [code]."""
    return torch.stack([_distort(frame, rng) for frame in frames_T3HW])


def _distort(frame_3HW: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    brightness, contrast, saturation = rng.uniform(0.875, 1.125), rng.uniform(0.5, 1.5), rng.uniform(0.5, 1.5)
    hue = rng.uniform(-0.05, 0.05)
    apply = rng.random(5) < 0.5
    contrast_first = rng.random() < 0.5
    order = rng.permutation(3).tolist()
    # Differs: the public SeqFormer code adds up to 32 of 255 to every pixel; here brightness is a factor of that size.
    if apply[0]:
        frame_3HW = F.adjust_brightness(frame_3HW, brightness)
    if apply[1] and contrast_first:
        frame_3HW = F.adjust_contrast(frame_3HW, contrast)
    if apply[2]:
        frame_3HW = F.adjust_saturation(frame_3HW, saturation)
    if apply[3]:
        frame_3HW = F.adjust_hue(frame_3HW, hue)
    if apply[1] and not contrast_first:
        frame_3HW = F.adjust_contrast(frame_3HW, contrast)
    return frame_3HW[order] if apply[4] else frame_3HW


def _crop(frames_T3HW: torch.Tensor, masks_NTHW: torch.Tensor, rng: np.random.Generator) -> View:
    """Resize the short side to one of CROP_SHORT_SIDES, then crop a window with sides within CROP_SIDES pixels."""
    frames_T3HW, masks_NTHW = resize(frames_T3HW, masks_NTHW, int(rng.choice(CROP_SHORT_SIDES)), None)
    sizes = frames_T3HW.shape[-2:]
    height, width = (int(rng.integers(CROP_SIDES[0], min(side, CROP_SIDES[1]) + 1)) for side in sizes)
    top, left = int(rng.integers(sizes[0] - height + 1)), int(rng.integers(sizes[1] - width + 1))
    return F.crop(frames_T3HW, top, left, height, width), F.crop(masks_NTHW, top, left, height, width)


def resized_size(height: int, width: int, short_side: int, max_long_side: int | None) -> tuple[int, int]:
    """Size of a frame after resizing; the aspect ratio is kept, the long side rounded down to whole pixels [code].

    Args:
        height: Height before in pixels.
        width: Width before in pixels.
        short_side: Short side after in pixels; shorter if the long side would exceed `max_long_side`.
        max_long_side: Limit of the long side in pixels; None for no limit.

    Returns:
        (height, width) after.
    """
    short, long = min(height, width), max(height, width)
    if max_long_side is not None and short_side * long > max_long_side * short:
        short_side = max(1, round(max_long_side * short / long))
    long_side = short_side * long // short
    return (short_side, long_side) if height <= width else (long_side, short_side)


def resize(frames_T3HW: torch.Tensor, masks_NTHW: torch.Tensor, short_side: int, max_long_side: int | None) -> View:
    """Resize frames (antialiased) and masks (nearest); both are returned unchanged if the size is right already."""
    height, width = frames_T3HW.shape[-2:]
    size = resized_size(height, width, short_side, max_long_side)
    return resize_frames(frames_T3HW, size), resize_masks(masks_NTHW, size)


def resize_frames(frames_T3HW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize frames to (height, width) pixels, bilinear and antialiased; frames of that size are returned unchanged."""
    return F.resize(frames_T3HW, list(size), antialias=True)


def resize_masks(masks_NTHW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize masks to (height, width) pixels, to the nearest pixel; masks of that size are returned unchanged."""
    return F.resize(tv_tensors.Mask(masks_NTHW), list(size))


def normalise(frames_T3HW: torch.Tensor, data_config: DataSection) -> torch.Tensor:
    """Normalise uint8 frames by the mean and standard deviation (in 0..1) of the configuration; returns float32."""
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (data_config.mean, data_config.std))
    return (frames_T3HW.as_subclass(torch.Tensor) - mean) / std
