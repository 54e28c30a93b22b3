"""Temporal attention over the box queries of one instance, in the decoder [fig]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mssts.models.layers import merge_heads, split_heads
from mssts.models.position import frame_encoding
from mssts.ops.attention import ScaledDotProduct


class TemporalAttention(nn.Module):
    """x + W_o Attn(LN(x) + frame encoding) over the T box queries of an instance; W_o starts at zero [ours]."""

    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.input_projection = nn.Linear(channels, 3 * width)
        self.attend = ScaledDotProduct()
        self.output_projection = nn.Linear(width, channels)

    def initialise(self, generator: torch.Generator) -> None:
        """Zero output, so that step 0 equals the baseline; the defaults elsewhere."""
        nn.init.zeros_(self.output_projection.weight)
        nn.init.zeros_(self.output_projection.bias)

    def forward(self, boxes_BTNC: Tensor) -> Tensor:
        """(B, T, N, C) -> (B, T, N, C). The inputs of `attend` are (B*N, heads, T, d)."""
        B, T, N, C = boxes_BTNC.shape
        encoded = self.norm(boxes_BTNC) + frame_encoding(T, C, boxes_BTNC.device)[:, None]
        projected = self.input_projection(encoded).transpose(1, 2).flatten(0, 1)
        attended = merge_heads(self.attend(*split_heads(projected, 3, self.heads)))
        return boxes_BTNC + self.output_projection(attended).view(B, N, T, C).transpose(1, 2)
