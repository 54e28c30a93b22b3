"""Heads on the decoder's queries: class, box, and the weights of the dynamic mask convolutions."""

from __future__ import annotations

import math

import torch
from torch import nn

from mssts.models.layers import Perceptron
from mssts.ops.masks import parameter_count

PRIOR_PROBABILITY = 0.01  # [code] initial probability of every class, for the focal loss
PRIOR_LOGIT = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)


class ClassHead(nn.Linear):
    """Class logits of an instance query, C -> K [code]."""

    def initialise(self, generator: torch.Generator) -> None:
        """Biases of the focal prior."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        nn.init.constant_(self.bias, PRIOR_LOGIT)


class BoxHead(Perceptron):
    """Change of a reference box in logit space from a box query, C -> 4 [code]."""

    def __init__(self, channels: int) -> None:
        super().__init__((channels, channels, channels, 4))

    def initialise(self, generator: torch.Generator) -> None:
        """Zero output: no change."""
        for layer in self.layers[:-1]:
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)


class MaskParameterHead(Perceptron):
    """Weights, then biases, of an instance's three dynamic convolutions; shared by all decoder layers [code]."""

    def __init__(self, channels: int, mask_channels: int) -> None:
        super().__init__((channels, channels, channels, parameter_count(mask_channels)))

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier uniform weights, zero biases."""
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
