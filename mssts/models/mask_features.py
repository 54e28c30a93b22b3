"""Mask features of each frame at stride 8, from the encoder's memory."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskFeatures(nn.Module):
    """Top-down sum of the levels at strides 32, 16 and 8, then convolutions that reduce the channels [code]."""

    def __init__(self, channels: int, mask_channels: int) -> None:
        super().__init__()
        self.merge = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        widths = pairwise((channels, channels // 4, mask_channels))
        self.reduce = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in widths)

    def initialise(self, generator: torch.Generator) -> None:
        """Kaiming uniform weights (a = 1), zero biases [code]."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_uniform_(layer.weight, a=1, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Memory (F, C, H_l, W_l) at strides 8, 16, 32 -> (F, mask_channels, H_8, W_8)."""
        fine, middle, coarse = levels
        features = F.relu(self.merge[0](coarse))
        for level, merge in ((middle, self.merge[1]), (fine, self.merge[2])):
            features = F.relu(merge(level + F.interpolate(features, size=level.shape[-2:], mode="nearest")))
        for reduce in self.reduce:
            features = F.relu(reduce(features))
        return features
