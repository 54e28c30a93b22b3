"""Encoder: parallel attention branches on the same tokens, summed, in every layer."""

from __future__ import annotations

from torch import Tensor, nn

from mssts.models.deformable_attention import DeformableAttention
from mssts.models.layers import FeedForward
from mssts.models.position import TokenPlaces


class DeformableBranch(nn.Module):
    """Deformable self-attention of the tokens within each frame [code]."""

    def __init__(self, attention: DeformableAttention, output_projection: nn.Linear) -> None:
        super().__init__()
        self.attention = attention
        self.output_projection = output_projection

    def forward(self, tokens_BTSC: Tensor, places: TokenPlaces) -> Tensor:
        """(B, T, S, C) -> (B, T, S, C)."""
        queries = tokens_BTSC + places.codes_B1SC
        return self.output_projection(self.attention(queries, places.grid.references_B1SL2, tokens_BTSC, places))


class EncoderLayer(nn.Module):
    """Sum of parallel branches, residual, norm, feed-forward, residual, norm [fig] [code]."""

    def __init__(self, branches: nn.ModuleDict, feed_forward: FeedForward, channels: int, dropout: float) -> None:
        super().__init__()
        self.branches = branches
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.LayerNorm(channels)
        self.feed_forward = feed_forward
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, tokens_BTSC: Tensor, places: TokenPlaces) -> Tensor:
        """(B, T, S, C) -> (B, T, S, C)."""
        attended = sum(branch(tokens_BTSC, places) for branch in self.branches.values())
        tokens = self.norm1(tokens_BTSC + self.dropout(attended))
        return self.norm2(tokens + self.feed_forward(tokens))


class Encoder(nn.Module):
    """Encoder layers, one after the other."""

    def __init__(self, layers: list[EncoderLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, tokens_BTSC: Tensor, places: TokenPlaces) -> Tensor:
        """Projected features -> memory, (B, T, S, C) both."""
        for layer in self.layers:
            tokens_BTSC = layer(tokens_BTSC, places)
        return tokens_BTSC
