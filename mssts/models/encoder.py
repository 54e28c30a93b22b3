"""Encoder: in every layer, parallel branches on the same tokens, summed."""

from __future__ import annotations

from torch import Tensor, nn

from mssts.config import ModelSection
from mssts.models.deformable_attention import DeformableAttention
from mssts.models.layers import FeedForward, module_list
from mssts.models.position import TokenLayout


class DeformableBranch(nn.Module):
    """Deformable self-attention of the tokens within each frame [code]."""

    def __init__(self, config: ModelSection) -> None:
        super().__init__()
        self.attention = DeformableAttention(config)
        self.output_projection = nn.Linear(config.hidden_dim, config.hidden_dim)

    def forward(self, tokens_BTSC: Tensor, layout: TokenLayout) -> Tensor:
        """(B, T, S, C) -> (B, T, S, C)."""
        queries = tokens_BTSC + layout.encodings_B1SC
        return self.output_projection(self.attention(queries, layout.grid.references_B1SL2, tokens_BTSC, layout))


class EncoderLayer(nn.Module):
    """Sum of parallel branches, residual, norm, feed-forward, residual, norm [fig] [code].

    Args:
        deformable: The branch of the baseline.
        additions: The branches that a variant adds, by name.
    """

    def __init__(self, config: ModelSection, deformable: nn.Module, additions: dict[str, nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({"deformable": deformable, **additions})
        self._additions = tuple(additions)
        self.dropout = nn.Dropout(config.dropout)
        self.norm1 = nn.LayerNorm(config.hidden_dim)
        self.feed_forward = FeedForward(config.hidden_dim, config.feedforward_dim, config.dropout)
        self.norm2 = nn.LayerNorm(config.hidden_dim)

    def additions(self) -> list[nn.Module]:
        """Return the branches that the baseline lacks."""
        return [self.branches[name] for name in self._additions]

    def forward(self, tokens_BTSC: Tensor, layout: TokenLayout) -> Tensor:
        """(B, T, S, C) -> (B, T, S, C)."""
        attended = sum(branch(tokens_BTSC, layout) for branch in self.branches.values())
        tokens = self.norm1(tokens_BTSC + self.dropout(attended))
        return self.norm2(tokens + self.feed_forward(tokens))


class Encoder(nn.Module):
    """Encoder layers, one after the other."""

    def __init__(self, layers: list[EncoderLayer]) -> None:
        super().__init__()
        self.layers = module_list(layers)

    def forward(self, tokens_BTSC: Tensor, layout: TokenLayout) -> Tensor:
        """Projected features -> memory, both (B, T, S, C)."""
        for layer in self.layers:
            tokens_BTSC = layer(tokens_BTSC, layout)
        return tokens_BTSC
