"""Pseudo-clips of still images: the image and warped copies of it in random order [code].

The images are those of a split of stills, or the frames of videos [ours].
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from mssts.config import DataSection
from mssts.data.augmentation import View
from mssts.data.clips import ClipDataset
from mssts.data.datasets import VideoSplit
from mssts.ytvis.tracks import Video

MAX_INSTANCES = 25  # of an image in joint training [code]
ROTATION_DEGREES = 20.0
PERSPECTIVE = 0.08
SHIFT = 0.1
BRIGHTNESS = (0.7, 1.3)
HUE = 0.04
BLUR = 0.02


class StillClipDataset(ClipDataset):
    """Clips of one still image each: the image and T-1 warps of it, shuffled.

    The photometric distortion of video clips is not applied. The warps change brightness, hue and motion blur instead
    [code], hue and blur only if `data_config.photometric` is on [ours].

    Args:
        split: The images as videos of one frame, or videos, each of whose frames is an image.
        frames: As for `ClipDataset`, like the next two.
        data_config: Likewise.
        with_foreign_foreground: Likewise.
        max_instances: Of an image with more instances so many are drawn; None: all are kept.
    """

    def __init__(
        self,
        split: VideoSplit,
        frames: int,
        data_config: DataSection,
        with_foreign_foreground: bool = False,
        max_instances: int | None = None,
    ) -> None:
        super().__init__(split, frames, data_config, with_foreign_foreground)
        self.max_instances = max_instances

    def _choose(self, video: Video, reference: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        chosen = list(range(len(self._store.objects(video))))
        # Differs: the public SeqFormer code passes over images with more than 25 instances in joint training; here 25
        # of them are drawn.
        if self.max_instances is not None and len(chosen) > self.max_instances:
            chosen = sorted(rng.choice(len(chosen), self.max_instances, replace=False).tolist())
        return [reference] * self.frames, chosen

    def _load(self, video: Video, indices: list[int], chosen: list[int], rng: np.random.Generator) -> View:
        image_13HW, masks_N1HW = self._store.clip(video, indices[:1])
        views = [(image_13HW, masks_N1HW[chosen])]
        views += [self._warp(*views[0], rng) for _ in indices[1:]]
        frames, masks = zip(*(views[t] for t in rng.permutation(len(views))), strict=True)
        return torch.cat(frames), torch.cat(masks, dim=1)

    def _distort(self, frames_T3HW: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        return frames_T3HW  # the warps have changed the colours already

    def _warp(self, image_13HW: torch.Tensor, masks_N1HW: torch.Tensor, rng: np.random.Generator) -> View:
        """One warped copy; the area from outside of the image has the mean colour and no mask."""
        # Differs: the public SeqFormer code adds up to 40 of 255 instead of a factor, changes the hue less and the
        # saturation too, blurs a quarter of the copies by 9 or 11 px, draws the perspective from a normal distribution,
        # fills with black, and removes from a mask what another one covers.
        height, width = image_13HW.shape[-2:]
        homography = homography_of_corners(*warp_corners(height, width, rng))
        image_13HW = F.adjust_brightness(tv_tensors.Image(image_13HW), rng.uniform(*BRIGHTNESS))
        hue, blur, direction = rng.uniform(-HUE, HUE), rng.uniform(0, BLUR * width), rng.uniform(0, math.pi)
        if self.data_config.photometric:
            image_13HW = motion_blur(F.adjust_hue(image_13HW, hue), blur, direction)
        fill = [255 * value for value in self.data_config.mean]
        image_13HW = F.perspective(tv_tensors.Image(image_13HW), None, None, fill=fill, coefficients=homography)
        return image_13HW, F.perspective(tv_tensors.Mask(masks_N1HW), None, None, coefficients=homography)


def warp_corners(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a warp of the sizes in the public code: perspective (0.08), rotation (+-20 degrees), shift (10 %) [code].

    It is one homography, which resamples the image only once [ours].

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        rng: Source of the random numbers.

    Returns:
        Corners of the image before and after the warp, (4, 2) x, y in pixels.
    """
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    angle = math.radians(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES))
    size = np.array([width, height], float)
    inwards = np.sign(size / 2 - corners)
    moved = corners + inwards * rng.uniform(0, PERSPECTIVE / 2, (4, 2)) * size
    centre = (size - 1) / 2
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    moved = (moved - centre) @ rotation + centre + rng.uniform(-SHIFT, SHIFT, 2) * size
    return corners, moved


def homography_of_corners(start_42: np.ndarray, end_42: np.ndarray) -> list[float]:
    """Eight coefficients by which torchvision maps points of the output (`end`) to points of the input (`start`)."""
    rows, values = [], []
    for (x, y), (u, v) in zip(start_42, end_42, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    return np.linalg.solve(np.array(rows, float), np.array(values, float)).tolist()


def motion_blur(image_13HW: torch.Tensor, length_px: float, direction: float) -> torch.Tensor:
    """Average along a line through each pixel; no change below 2 pixels.

    Args:
        image_13HW: (1, 3, H, W) uint8.
        length_px: Length of the line in pixels.
        direction: Angle of the line to the x axis in radians.

    Returns:
        (1, 3, H, W) uint8.
    """
    reach = int(length_px // 2)
    if reach < 1:
        return image_13HW
    offsets = torch.arange(-reach, reach + 1)
    rows, columns = (torch.round(offsets * f(direction)).long() + reach for f in (math.sin, math.cos))
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    kernel[rows, columns] = 1.0
    kernel = (kernel / kernel.sum()).expand(3, 1, -1, -1)
    pixels = torch.nn.functional.pad(image_13HW.as_subclass(torch.Tensor).float(), [reach] * 4, mode="replicate")
    return torch.nn.functional.conv2d(pixels, kernel, groups=3).round().clamp(0, 255).to(torch.uint8)
