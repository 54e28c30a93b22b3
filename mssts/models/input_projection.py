"""From backbone outputs to feature levels of one width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with 32 groups at 256 channels [code], and with groups of 8 channels elsewhere [ours]."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)


class InputProjection(nn.Module):
    """1x1 convolution and group norm on each backbone output; each further level is a stride-2 convolution [code]."""

    def __init__(self, backbone_channels: tuple[int, ...], channels: int, levels: int) -> None:
        super().__init__()
        self.outputs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1), group_norm(channels)) for width in backbone_channels
        )
        widths = [backbone_channels[-1]] + [channels] * (levels - len(backbone_channels) - 1)
        self.further = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 3, stride=2, padding=1), group_norm(channels))
            for width in widths[: levels - len(backbone_channels)]
        )

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier uniform weights, zero biases [code]."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Project the backbone outputs and append the further levels.

        The first further level is made from the last *backbone* output, not from its projection [code].

        Args:
            features: (F, C_l, H_l, W_l) at strides 8, 16, 32.

        Returns:
            L levels (F, C, H_l, W_l).
        """
        levels = [projection(feature) for projection, feature in zip(self.outputs, features, strict=True)]
        last = features[-1]
        for projection in self.further:
            last = projection(last)
            levels.append(last)
        return levels
