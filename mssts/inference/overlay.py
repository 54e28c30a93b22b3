"""Pictures of tracks: masks with one colour per object over the frames, as a video, a sheet, and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torchvision.ops import masks_to_boxes
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from mssts.core.files import atomic_write
from mssts.data.frames import evenly_spaced

COLOURS = (  # Okabe and Ito's, which people with any kind of colour vision can tell apart
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
OPACITY = 0.5
MOST_OBJECTS = 255  # of a PNG with a palette, whose pixels are 0 where no object is
SHEET_FRAMES = 12
SHEET_COLUMNS = 4
SHEET_WIDTH = 1600  # pixels
GAP = 4  # pixels between two frames of a sheet


class Drawable(Protocol):
    """What can be drawn: an object with a mask in every frame."""

    def mask(self, frame: int) -> np.ndarray:
        """Its mask in a frame, (H, W) bool."""


@dataclass(frozen=True)
class Layer:
    """An object to draw.

    Attributes:
        track: The object.
        label: Text at its box.
        colour: RGB, 0..255.
    """

    track: Drawable
    label: str
    colour: tuple[int, int, int]


def layers(tracks: Sequence[Drawable], labels: Sequence[str]) -> list[Layer]:
    """Give each object a colour, the same in all frames; after seven objects the colours repeat."""
    return [
        Layer(track, label, COLOURS[number % len(COLOURS)])
        for number, (track, label) in enumerate(zip(tracks, labels, strict=True))
    ]


def draw(frame_HW3: np.ndarray, shown: Sequence[Layer], frame: int) -> np.ndarray:
    """Draw objects over a frame. Where masks overlap, the first object is on top, as in `write_labels`.

    Args:
        frame_HW3: uint8, RGB.
        shown: The objects.
        frame: Position of the frame in the video.

    Returns:
        (H, W, 3) uint8.
    """
    image_3HW = torch.from_numpy(np.ascontiguousarray(frame_HW3)).permute(2, 0, 1)
    visible = [(layer, mask) for layer in shown if (mask := layer.track.mask(frame)).any()]
    if not visible:
        return frame_HW3
    masks_NHW = torch.from_numpy(np.stack([mask for _, mask in visible]))
    colours = [layer.colour for layer, _ in visible]
    on_top_NHW = masks_NHW & (masks_NHW.cumsum(0) == 1)  # torchvision paints pixels of several masks black
    image_3HW = draw_segmentation_masks(image_3HW, on_top_NHW, OPACITY, colours)
    labels = [layer.label for layer, _ in visible]
    image_3HW = draw_bounding_boxes(image_3HW, masks_to_boxes(masks_NHW), labels, colours)
    return image_3HW.permute(1, 2, 0).numpy()


def sheet(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Up to twelve frames, evenly spaced, beside and below each other, (H, W, 3) uint8."""
    chosen = evenly_spaced(len(frames), SHEET_FRAMES)
    columns = min(SHEET_COLUMNS, len(chosen))
    width = SHEET_WIDTH // columns
    height = max(1, round(width * frames[0].shape[0] / frames[0].shape[1]))
    rows = -(-len(chosen) // columns)
    page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for place, number in enumerate(chosen):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        small = Image.fromarray(frames[number]).resize((width, height), Image.Resampling.BILINEAR)
        page[top : top + height, left : left + width] = np.asarray(small)
    return page


def write_png(path: Path, pixels_HW3: np.ndarray) -> None:
    """Write an RGB image."""
    with atomic_write(path, "wb") as file:
        Image.fromarray(pixels_HW3).save(file, "PNG")


def write_labels(path: Path, shown: Sequence[Layer], frame: int, size: tuple[int, int]) -> None:
    """Write the masks of a frame as a PNG with a palette: the value of a pixel is the number of its object, from 1.

    There may be up to `MOST_OBJECTS`. Where they overlap, the first one is on top. `mssts convert --from palette` reads
    these files.
    """
    labels_HW = np.zeros(size, np.uint8)
    for number, layer in reversed(list(enumerate(shown, 1))):
        labels_HW[layer.track.mask(frame)] = number
    image = Image.fromarray(labels_HW)
    palette = [(0, 0, 0), *(layer.colour for layer in shown)]
    image.putpalette([value for colour in palette for value in colour])
    with atomic_write(path, "wb") as file:
        image.save(file, "PNG")
