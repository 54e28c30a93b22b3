"""Multi-scale deformable attention within each frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mssts.config import ModelSection
from mssts.models.position import TokenLayout
from mssts.ops.attention import COMPILED, DeformableSampling
from mssts.ops.precision import in_full_precision, no_autocast


class DeformableAttention(nn.Module):
    """Each query samples a few points on every level, around its reference, and mixes them [code].

    There is no output projection: the decoder applies two different ones to the same sampled features.
    """

    def __init__(self, config: ModelSection) -> None:
        super().__init__()
        channels, self.heads, self.levels, self.points = config.hidden_dim, config.heads, config.levels, config.points
        samples = self.heads * self.levels * self.points
        self.sampling_offsets = nn.Linear(channels, samples * 2)
        self.attention_weights = nn.Linear(channels, samples)
        self.value_projection = nn.Linear(channels, channels)
        self.sample = DeformableSampling(config.deformable_sampling)

    def initialise(self, generator: torch.Generator) -> None:
        """One direction per head, point p at a distance of p + 1 cells; equal weights; Xavier values [code]."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions_M2 = torch.stack([angles.cos(), angles.sin()], -1)
        directions_M2 = directions_M2 / directions_M2.abs().amax(-1, keepdim=True)
        distances_P = torch.arange(1, self.points + 1)
        offsets = directions_M2[:, None, None] * distances_P[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        nn.init.xavier_uniform_(self.value_projection.weight, generator=generator)
        nn.init.zeros_(self.value_projection.bias)

    def reference_projections(self) -> list[nn.Module]:
        """Return the layers that predict where attention samples; the optimizer gives them a rate of their own."""
        return [self.sampling_offsets]

    def forward(self, queries_BTQC: Tensor, references: Tensor, tokens_BTSC: Tensor, layout: TokenLayout) -> Tensor:
        """Features sampled by each query.

        Args:
            queries_BTQC: Queries, from which offsets and weights are predicted.
            references: (B, T, Q, L, 2) points or (B, T, Q, L, 4) boxes (cx, cy, w, h), relative to the padded frame;
                each of B, T, L may be 1.
            tokens_BTSC: Tokens that are sampled; padded ones count as zero.
            layout: Positions of the tokens.

        Returns:
            (B, T, Q, C).
        """
        with no_autocast(queries_BTQC.device):
            offsets_BTQX = self.sampling_offsets(in_full_precision(queries_BTQC))
        weights_BTQX = self.attention_weights(queries_BTQC)
        values_BTSC = self._values(tokens_BTSC, layout)
        compiled = self.sample.path(values_BTSC, self.heads) == COMPILED
        arranged = self._queries_first if compiled else self._queries_last
        locations_weights = arranged(offsets_BTQX, weights_BTQX, references, layout)
        return self.sample(values_BTSC, *locations_weights, shapes=layout.shapes)

    def _queries_first(
        self, offsets_BTQX: Tensor, weights_BTQX: Tensor, references: Tensor, layout: TokenLayout
    ) -> tuple[Tensor, Tensor]:
        """Locations (B, T, Q, M, L, P, 2) and weights (B, T, Q, M, L, P), in this order in memory."""

        def of_points(values: Tensor) -> Tensor:
            """(..., L, 2) -> (..., 1, L*P*2): long rows of memory, which a CPU adds many times faster."""
            return values.unsqueeze(-2).expand(*values.shape[:-1], self.points, 2).flatten(-3).unsqueeze(-2)

        boxes = references.shape[-1] == 4
        extents = references[..., 2:] * (0.5 / self.points) if boxes else layout.grid.cells_L2
        offsets = offsets_BTQX.unflatten(-1, (self.heads, -1))
        locations = torch.addcmul(of_points(references[..., :2]), offsets, of_points(extents))
        weights = weights_BTQX.unflatten(-1, (self.heads, -1)).softmax(-1)
        samples = (self.levels, self.points)
        return locations.unflatten(-1, (*samples, 2)), weights.unflatten(-1, samples)

    def _queries_last(
        self, offsets_BTQX: Tensor, weights_BTQX: Tensor, references: Tensor, layout: TokenLayout
    ) -> tuple[Tensor, Tensor]:
        """As `_queries_first`, with Q last in memory: all runs along it, several times faster in grids on a CPU."""
        B, T, Q, _ = weights_BTQX.shape
        split = (B, T, self.heads, self.levels, self.points)
        offsets = offsets_BTQX.transpose(2, 3).contiguous().view(*split, 2, Q)
        weights = weights_BTQX.transpose(2, 3).unflatten(2, (self.heads, -1)).softmax(3)
        locations = self._locations(references.permute(0, 1, 3, 4, 2), offsets, layout)
        return locations.permute(0, 1, 6, 2, 3, 4, 5), weights.view(*split, Q).permute(0, 1, 5, 2, 3, 4)

    def _locations(self, references_BTLxQ: Tensor, offsets_BTMLP2Q: Tensor, layout: TokenLayout) -> Tensor:
        """Offsets are in cells of the level for points, and in 1/P of half the box for boxes [code]."""
        references = references_BTLxQ.contiguous()[:, :, None, :, None]
        if references.shape[-2] == 2:
            return references + offsets_BTMLP2Q * layout.grid.cells_L2[:, None, :, None]
        return references[..., :2, :] + offsets_BTMLP2Q * (references[..., 2:, :] * (0.5 / self.points))

    def _values(self, tokens_BTSC: Tensor, layout: TokenLayout) -> Tensor:
        """(B, T, S, C), zero where padded."""
        values = self.value_projection(tokens_BTSC)
        if layout.padding_BS is None:
            return values
        return values.masked_fill(layout.padding_BS[:, None, :, None], 0.0)
