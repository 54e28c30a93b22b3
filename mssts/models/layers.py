"""Layers that several modules share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssts.ops.attention import ScaledDotProduct

CACHED = 2**19  # hidden values that a CPU keeps in its cache between two layers
M = TypeVar("M", bound=nn.Module)


def module_list(modules: Iterable[M]) -> Sequence[M]:
    """An `nn.ModuleList`, typed as a sequence of its modules: torch's annotations lose their class."""
    return cast("Sequence[M]", nn.ModuleList(modules))


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between them and dropout after each [code]."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        rows = CACHED // self.linear1.out_features
        if torch.is_grad_enabled() or x.device.type != "cpu" or x[..., 0].numel() <= 2 * rows:
            return self._all(x)
        return torch.cat([self._all(part) for part in x.flatten(0, -2).split(rows)]).view_as(x)

    def _all(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))


class SelfAttention(nn.Module):
    """Multi-head attention among the queries of a set; positions are added to queries and keys only [code]."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.input_projection = nn.Linear(channels, 3 * channels)
        self.output_projection = nn.Linear(channels, channels)
        self.attend = ScaledDotProduct(dropout)

    def initialise(self, generator: torch.Generator) -> None:
        """Xavier uniform weights, zero biases [code]."""
        for projection in (self.input_projection, self.output_projection):
            nn.init.xavier_uniform_(projection.weight, generator=generator)
            nn.init.zeros_(projection.bias)

    def forward(self, x_FNC: Tensor, positions_NC: Tensor) -> Tensor:
        """Attend within each of F sets of N queries.

        Args:
            x_FNC: (F, N, C).
            positions_NC: Positional encodings, shared by all sets.

        Returns:
            (F, N, C).
        """
        C = x_FNC.shape[-1]
        weight_2CC, weight_CC = self.input_projection.weight.split((2 * C, C))
        bias_2C, bias_C = self.input_projection.bias.split((2 * C, C))
        queries_keys = F.linear(x_FNC + positions_NC, weight_2CC, bias_2C)
        values = F.linear(x_FNC, weight_CC, bias_C)
        queries, keys = split_heads(queries_keys, 2, self.heads)
        (values,) = split_heads(values, 1, self.heads)
        return self.output_projection(merge_heads(self.attend(queries, keys, values)))


class Perceptron(nn.Module):
    """Linear layers with a ReLU between them [code]."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = module_list(nn.Linear(before, after) for before, after in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., widths[0]) -> (..., widths[-1])."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def split_heads(x: Tensor, projections: int, heads: int) -> tuple[Tensor, ...]:
    """Joint projections (F, N, projections*M*d) -> one tensor (F, M, N, d) per projection."""
    F_, N, _ = x.shape
    return x.view(F_, N, projections, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def merge_heads(x: Tensor) -> Tensor:
    """(F, M, N, d) -> (F, N, M*d)."""
    return x.transpose(1, 2).flatten(2)
