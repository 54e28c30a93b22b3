"""Positions of tokens: positional encodings of location and frame, level embeddings, reference points, padding."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 10000.0  # [code]
EPSILON = 1e-6  # [code]

Shapes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Grid:
    """Locations of the S tokens of a frame. B is 1 where nothing is padded, and broadcasts over clips.

    Attributes:
        shapes: (H_l, W_l) of each of the L levels; S is the sum of H_l * W_l, level by level, row by row.
        sines_BSC: Sine encoding of the location.
        levels_S: Level of each token.
        references_B1SL2: x, y of each token on each level, relative to the padded frame.
        valid_ratios_BL2: Share of width and height of each level that is not padding.
        cells_L2: Width and height of a cell of each level, relative to the padded frame.
    """

    shapes: Shapes
    sines_BSC: Tensor
    levels_S: Tensor
    references_B1SL2: Tensor
    valid_ratios_BL2: Tensor
    cells_L2: Tensor


@dataclass(frozen=True)
class TokenLayout:
    """What attention modules need to know about the positions of the tokens.

    Attributes:
        grid: Locations of the tokens.
        encodings_B1SC: Positional encoding: sine encoding of the location plus embedding of the level.
        padding_BS: True where padded; None if nothing is.
    """

    grid: Grid
    encodings_B1SC: Tensor
    padding_BS: Tensor | None

    @property
    def shapes(self) -> Shapes:
        """(H_l, W_l) of each level."""
        return self.grid.shapes

    @property
    def level_sizes(self) -> list[int]:
        """Number of tokens of each level."""
        return [height * width for height, width in self.grid.shapes]


class TokenGeometry(nn.Module):
    """Layout of the tokens of a clip, with one learned embedding per level [code]."""

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self.level_embedding = nn.Parameter(torch.zeros(levels, channels))

    def initialise(self, generator: torch.Generator) -> None:
        """Standard normal embeddings [code]."""
        nn.init.normal_(self.level_embedding, generator=generator)

    def forward(self, shapes: Shapes, padding_BHW: Tensor | None) -> TokenLayout:
        """Layout on grids of these shapes.

        Args:
            shapes: (H_l, W_l) of each level.
            padding_BHW: Bool at the resolution of the input, True where padded; None if nothing is.
        """
        channels, device = self.level_embedding.shape[1], self.level_embedding.device
        if padding_BHW is None:
            grid, padding_BS = unpadded_grid(shapes, channels, device), None
        else:
            # [code] nearest value of the mask of the input
            paddings = [F.interpolate(padding_BHW[:, None].float(), size=shape)[:, 0].bool() for shape in shapes]
            grid, padding_BS = padded_grid(paddings, channels), torch.cat([p.flatten(1) for p in paddings], 1)
        encodings_BSC = grid.sines_BSC + F.embedding(grid.levels_S, self.level_embedding)
        return TokenLayout(grid, encodings_BSC[:, None], padding_BS)


@functools.lru_cache(maxsize=64)
def unpadded_grid(shapes: Shapes, channels: int, device: torch.device) -> Grid:
    """Grid of frames without padding. It is the same for all clips of one size, and therefore cached."""
    with torch.inference_mode(False):  # a cached tensor may be needed for training later
        paddings = [torch.zeros(1, height, width, dtype=torch.bool, device=device) for height, width in shapes]
        return padded_grid(paddings, channels)


def padded_grid(paddings_BHW: list[Tensor], channels: int) -> Grid:
    """Grid of frames with padding.

    Args:
        paddings_BHW: For each level a bool mask, True where padded.
        channels: Channels of the sine encoding.
    """
    device = paddings_BHW[0].device
    shapes = tuple((padding.shape[1], padding.shape[2]) for padding in paddings_BHW)
    ratios_BL2 = torch.stack([valid_ratio(padding) for padding in paddings_BHW], 1)
    levels = [torch.full((height * width,), level, device=device) for level, (height, width) in enumerate(shapes)]
    cells = [torch.full((1,), 1 / side, device=device) for height, width in shapes for side in (width, height)]
    return Grid(
        shapes=shapes,
        sines_BSC=torch.cat([location_encodings(padding, channels) for padding in paddings_BHW], 1),
        levels_S=torch.cat(levels),
        references_B1SL2=token_references(shapes, ratios_BL2)[:, None],
        valid_ratios_BL2=ratios_BL2,
        cells_L2=torch.cat(cells).view(-1, 2),
    )


def valid_ratio(padding_BHW: Tensor) -> Tensor:
    """Share of width and height that is not padding, (B, 2), from the first row and column [code]."""
    valid = ~padding_BHW
    return torch.stack([valid[:, 0].float().mean(1), valid[:, :, 0].float().mean(1)], -1)


def token_references(shapes: Shapes, ratios_BL2: Tensor) -> Tensor:
    """Centre of each token, mapped to every level by the valid ratios, (B, S, L, 2) [code]."""
    centres = []
    for level, (height, width) in enumerate(shapes):
        y = (torch.arange(height, device=ratios_BL2.device) + 0.5) / height
        x = (torch.arange(width, device=ratios_BL2.device) + 0.5) / width
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).view(1, -1, 2)
        centres.append(grid / ratios_BL2[:, None, level])
    return torch.cat(centres, 1)[:, :, None] * ratios_BL2[:, None]


def location_encodings(padding_BHW: Tensor, channels: int) -> Tensor:
    """Sine encodings of the locations of a level, (B, H*W, C): y in the first half of the channels, then x [code]."""
    valid = ~padding_BHW
    y = valid.cumsum(1, dtype=torch.float32)
    x = valid.cumsum(2, dtype=torch.float32)
    y = (y - 0.5) / (y[:, -1:] + EPSILON)
    x = (x - 0.5) / (x[:, :, -1:] + EPSILON)
    return torch.cat([sine_encoding(y, channels // 2), sine_encoding(x, channels // 2)], -1).flatten(1, 2)


def sine_encoding(positions: Tensor, channels: int) -> Tensor:
    """Sines and cosines of positions in 0..1 at falling frequencies, alternating: (...) -> (..., C), C even [code]."""
    index = torch.arange(channels // 2, dtype=torch.float32, device=positions.device)
    periods = TEMPERATURE ** (2 * index / channels)
    angles = (positions * 2 * math.pi)[..., None] / periods
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


@functools.lru_cache(maxsize=64)
def frame_encoding(frames: int, channels: int, device: torch.device) -> Tensor:
    """Sine encoding of the position of each frame in the clip, the first at 0 and the last at 1, (T, C) [ours]."""
    with torch.inference_mode(False):  # a cached tensor may be needed for training later
        return sine_encoding(torch.linspace(0, 1, frames, device=device), channels)
