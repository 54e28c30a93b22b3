"""Attention operations without parameters. Forward hooks on them observe attention."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from mssts.ops.precision import in_full_precision

SHORT = 18  # queries times keys up to which a CPU computes attention faster without the fused kernel


class ScaledDotProduct(nn.Module):
    """softmax(Q K^T / sqrt(d)) V.

    Args:
        dropout: Probability of dropping an attention weight in training.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend over the last but one dimension.

        Args:
            queries: (..., Q, d).
            keys: (..., K, d).
            values: (..., K, d).
            mask: Bool, broadcast to (..., Q, K), True where a query may attend; None allows everything.

        Returns:
            (..., Q, d).
        """
        dropout = self.dropout if self.training else 0.0
        short = queries.shape[-2] * keys.shape[-2] <= SHORT and queries.device.type == "cpu"
        if short and mask is None and not dropout:
            return _short_attention(queries, keys, values)
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)


def _short_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention over a few tokens, many times: the other dimensions come last, so that each operation runs along them.

    The fused kernel of a CPU multiplies tiny matrices one by one, which takes more than twice as long.
    """
    batch = queries.shape[:-2]
    queries, keys, values = (
        in_full_precision(x).movedim((-2, -1), (0, 1)).flatten(2).contiguous() for x in (queries, keys, values)
    )
    scores_QKF = (queries[:, None] * keys).sum(2) / math.sqrt(queries.shape[1])
    weighted = scores_QKF.softmax(1)[:, :, None] * values
    return weighted.sum(1).permute(2, 0, 1).unflatten(0, batch)


class DeformableSampling(nn.Module):
    """Weighted sum of feature values that are sampled bilinearly at a few locations."""

    def forward(self, values: tuple[Tensor, ...], locations_BTQMLP2: Tensor, weights_BTQMLP: Tensor) -> Tensor:
        """Sample each level within each frame.

        Args:
            values: For each level (B*T*M, D, H_l, W_l), M heads of D channels.
            locations_BTQMLP2: x, y relative to the padded frame (0..1 inside, zero is sampled outside), for Q queries,
                L levels and P points.
            weights_BTQMLP: Attention weights, summing to 1 over L and P.

        Returns:
            (B, T, Q, M*D).
        """
        B, T, Q, M, L, P = weights_BTQMLP.shape
        # Queries last, as `DeformableAttention` has them in memory: nothing is copied here. In the backward pass the
        # detour through one dimension brings the gradient into this order at once.
        points = (2 * locations_BTQMLP2 - 1).permute(0, 1, 3, 4, 5, 6, 2).reshape(B * T * M, -1)
        grids = points.view(B * T * M, L, P, 2, Q).permute(1, 0, 2, 4, 3)
        weights = weights_BTQMLP.permute(4, 0, 1, 3, 5, 2).reshape(L, B * T * M, 1, P, Q)
        levels = zip(values, grids.unbind(0), weights.unbind(0), strict=True)
        sampled = ((_bilinear(value, grid) * weight).sum(2) for value, grid, weight in levels)
        mixed = sum(sampled, start=weights.new_zeros(()))
        return mixed.view(B, T, -1, Q).transpose(2, 3)


def _bilinear(maps: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
