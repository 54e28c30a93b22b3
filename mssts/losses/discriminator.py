"""The discriminator of the foreground-background loss.

Shape letters: M alternative masks, F frames, C feature channels; h, w: size of a map at its own stride.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

STRIDE = 8  # pixels, of the finest encoder features
LEVELS = 3  # strides 8, 16 and 32 [code]
SLOPE = 0.2  # of the leaky ReLUs


class Discriminator(nn.Module):
    """PatchGAN over frames, encoder features and one mask; one logit per patch of 32 x 32 pixels [code] [ours].

    Image, features and mask are combined at stride 8; after each downsampling the features of that stride are added
    through a 1x1 convolution. The first convolution, over the concatenation of all inputs, is written as a sum of two,
    so that image and features are processed once for several masks.

    [ours] The mask is averaged to stride 8 like the image. A finer view of it teaches how outlines look; this one
    still tells where the foreground is, and an outline that is off by a pixel changes the verdict little. Between
    levels the maximum is taken.

    Args:
        channels: Channels at stride 8; the coarser strides have twice as many.
        feature_channels: C of the encoder features.
        generator: Source of the initial weights.
    """

    def __init__(self, channels: int, feature_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = [channels] + [2 * channels] * (LEVELS - 1)
        pairs = list(pairwise(widths))
        self.scene = skip_init(nn.Conv2d, 3 + feature_channels, channels, 3, padding=1)
        self.mask = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), skip_init(nn.Conv2d, 1, channels, 3, padding=1, bias=False)
        )
        self.laterals = nn.ModuleList(skip_init(nn.Conv2d, feature_channels, width, 1) for width, _ in pairs)
        self.blocks = nn.ModuleList(skip_init(nn.Conv2d, i, o, 3, padding=1) for i, o in pairs)
        self.head = skip_init(nn.Conv2d, widths[-1], 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=SLOPE, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, frames_F3hw: Tensor, features: tuple[Tensor, ...], masks_MF1hw: Tensor) -> Tensor:
        """Logits of "this mask is the foreground of these frames" for M alternative masks of F frames.

        Args:
            frames_F3hw: Frames averaged to stride 8.
            features: (F, C, h, w) at strides 8, 16, 32; fewer levels work.
            masks_MF1hw: Foreground at stride 4, 0..1.

        Returns:
            (M, F, 1, h, w) at stride 32.
        """
        masks = len(masks_MF1hw)
        scene = self.scene(torch.cat((frames_F3hw, features[0]), dim=1))
        x = F.leaky_relu(scene.repeat(masks, 1, 1, 1) + self.mask(masks_MF1hw.flatten(0, 1)), SLOPE)
        for level, (lateral, block) in enumerate(zip(self.laterals, self.blocks, strict=True), start=1):
            x = F.max_pool2d(x, 2, ceil_mode=True)
            if level < len(features):
                x = x + lateral(features[level]).repeat(masks, 1, 1, 1)
            x = F.leaky_relu(block(x), SLOPE)
        return self.head(x).unflatten(0, (masks, -1))
