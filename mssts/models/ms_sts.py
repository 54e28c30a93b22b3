"""MS-STS attention module: over time within each scale, then from each scale to the next coarser one [poster] [fig].

Our reading of the figure [ours]: a sine encoding of the frame's position in the clip, scaled to 0..1, is added to the
tokens; the scales of a layer share their weights; the output projection to C channels starts at zero. The figure leaves
open how the scales of a pair attend; `InterScaleAttention` and its two siblings are three readings. Tokens are held
as (B, S, T, D): the T tokens of a location are adjacent in memory, and a level is at the same time a channels-last map
of T*D channels, which is resampled without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssts.config import ModelSection
from mssts.models.layers import FeedForward, merge_heads, module_list, split_heads
from mssts.models.observable import ObservableAttention
from mssts.models.position import Shapes, TokenLayout, frame_encoding
from mssts.ops.attention import ScaledDotProduct
from mssts.ops.precision import in_full_precision


class ScaleAttention(nn.Module):
    """x + Attn(LN(x)), then x + FFN(LN(x)); subclasses define the attention, and declare it for figures."""

    observable: Sequence[ObservableAttention]

    def __init__(self, model: ModelSection, pre_norm: bool = True) -> None:
        super().__init__()
        config = model.encoder.ms_sts
        width, self.heads = config.width, config.heads
        self.norm1 = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.input_projection = nn.Linear(width, 3 * width)
        self.output_projection = nn.Linear(width, width)
        self.dropout = nn.Dropout(model.dropout)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, config.feedforward_dim, model.dropout)

    def forward(self, x_BSTD: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """(B, S, T, D) -> (B, S, T, D)."""
        return self.add(x_BSTD, self.attention(self.input_projection(self.norm1(x_BSTD)), shapes, padding_BS))

    def add(self, x_BSTD: Tensor, attended: Tensor) -> Tensor:
        """Add attended values, in the memory order of x, and then the feed-forward network's output."""
        x_BSTD = x_BSTD + self.dropout(self.output_projection(attended)).view(x_BSTD.shape)
        return x_BSTD + self.feed_forward(self.norm2(x_BSTD))

    def attention(self, projected_BSTE: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """Attended values of joint queries, keys and values (E = 3D), in the memory order of (B, S, T, D)."""
        raise NotImplementedError


class IntraScaleAttention(ScaleAttention):
    """Attention over the T tokens at each location of one scale.

    A padded location is padded in every frame, so that no valid token ever attends to one. The figure draws no norm
    before this attention [fig].
    """

    def __init__(self, model: ModelSection) -> None:
        super().__init__(model, pre_norm=model.encoder.ms_sts.intra_scale_pre_norm)
        self.attend = ScaledDotProduct()
        self.observable = [ObservableAttention(self.attend)]

    def attention(self, projected_BSTE: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """As `ScaleAttention.attention`. The inputs of `attend` are (B*S, heads, T, d)."""
        return merge_heads(self.attend(*split_heads(projected_BSTE.flatten(0, 1), 3, self.heads)))


class InterScaleAttention(ScaleAttention):
    """Attention over the T tokens of a location and those of the next coarser scale there.

    Keys and values of the coarser scale are projected first and then resampled bilinearly to the finer grid: both are
    linear, and this order is cheaper. The coarsest scale attends to itself only.
    """

    def __init__(self, model: ModelSection) -> None:
        super().__init__(model)
        self.attend_pair = ScaledDotProduct()
        self.attend_coarsest = ScaledDotProduct()
        self.observable = [
            ObservableAttention(self.attend_pair, levels=slice(None, -1), next_coarser=True),
            ObservableAttention(self.attend_coarsest, levels=slice(-1, None)),
        ]

    def attention(self, projected_BSTE: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """As `ScaleAttention.attention`.

        The queries of `attend_pair` are (B*(S - S_coarsest), heads, T, d), with 2T keys, own scale first; those of
        `attend_coarsest` are (B*S_coarsest, heads, T, d), with T keys.
        """
        clips, width = projected_BSTE.shape[0], projected_BSTE.shape[-1] // 3
        coarser = coarser_on_finer_grid(projected_BSTE[..., width:], shapes, padding_BS)
        fine = coarser.shape[1]
        queries, keys, values = split_heads(projected_BSTE[:, :fine].flatten(0, 1), 3, self.heads)
        coarser_keys, coarser_values = split_heads(coarser.flatten(0, 1), 2, self.heads)
        pair = self.attend_pair(queries, torch.cat([keys, coarser_keys], 2), torch.cat([values, coarser_values], 2))
        coarsest = self.attend_coarsest(*split_heads(projected_BSTE[:, fine:].flatten(0, 1), 3, self.heads))
        return torch.cat([merge_heads(level).unflatten(0, (clips, -1)) for level in (pair, coarsest)], 1)


class TwoWayInterScaleAttention(ScaleAttention):
    """Attention among the T tokens of a location and those of the next coarser scale there, which are queries as well.

    The coarser tokens are resampled to the finer grid, attend there, and are resampled back. A scale between two others
    takes part in two pairs and gets the mean of both results.
    """

    def __init__(self, model: ModelSection) -> None:
        super().__init__(model)
        self.attend_pair = ScaledDotProduct()
        self.attend_back = ScaledDotProduct()
        self.observable = [ObservableAttention(self.attend_pair, levels=slice(None, -1), next_coarser=True)]

    def attention(self, projected_BSTE: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """As `ScaleAttention.attention`. The queries of both modules are (B*(S - S_coarsest), heads, T, d), 2T keys."""
        clips = projected_BSTE.shape[0]
        coarser = coarser_on_finer_grid(projected_BSTE, shapes, padding_BS)
        own = projected_BSTE[:, : coarser.shape[1]]
        queries, keys, values = split_heads(own.flatten(0, 1), 3, self.heads)
        coarser_queries, coarser_keys, coarser_values = split_heads(coarser.flatten(0, 1), 3, self.heads)
        pairs = torch.cat([keys, coarser_keys], 2), torch.cat([values, coarser_values], 2)
        finer, back = (
            split_levels(merge_heads(attended).unflatten(0, (clips, -1)), shapes[:-1])
            for attended in (self.attend_pair(queries, *pairs), self.attend_back(coarser_queries, *pairs))
        )
        paddings = split_levels(padding_BS, shapes)
        returned = list(map(resample, back, shapes, shapes[1:], paddings))
        between = [(as_finer + as_coarser) / 2 for as_finer, as_coarser in zip(finer[1:], returned, strict=False)]
        return torch.cat([finer[0], *between, returned[-1]], 1)


class CascadedInterScaleAttention(ScaleAttention):
    """From coarse to fine: each scale attends to itself and to the result of the next coarser one."""

    def __init__(self, model: ModelSection) -> None:
        super().__init__(model)
        self.attend = module_list(ScaledDotProduct() for _ in range(model.levels))
        self.observable = [
            ObservableAttention(attend, slice(level, level + 1), next_coarser=level + 1 < model.levels)
            for level, attend in enumerate(self.attend)
        ]

    def forward(self, x_BSTD: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """(B, S, T, D) -> (B, S, T, D). The queries of level l are (B*H_l*W_l, heads, T, d), with 2T keys."""
        levels, paddings = split_levels(x_BSTD, shapes), split_levels(padding_BS, shapes)
        results: list[Tensor] = []  # coarsest first
        for level in reversed(range(len(shapes))):
            projected = self.input_projection(self.norm1(levels[level]))
            queries, keys, values = split_heads(projected.flatten(0, 1), 3, self.heads)
            if results:
                coarser = self.input_projection(self.norm1(results[-1]))[..., projected.shape[-1] // 3 :]
                coarser = resample(coarser, shapes[level + 1], shapes[level], paddings[level + 1])
                coarser_keys, coarser_values = split_heads(coarser.flatten(0, 1), 2, self.heads)
                keys, values = torch.cat([keys, coarser_keys], 2), torch.cat([values, coarser_values], 2)
            results.append(self.add(levels[level], merge_heads(self.attend[level](queries, keys, values))))
        return torch.cat(results[::-1], 1)


class MsSts(nn.Module):
    """Narrow, attend over time and scales, widen; `widen` starts at zero: nothing is added at step 0 [ours].

    Args:
        channels: C of the tokens.
        width: D inside the module.
        own_frame_only: Capacity control: no frame attends to another [ours].
        stages: Intra-scale attention, then inter-scale attention, or one of them.
    """

    def __init__(self, channels: int, width: int, own_frame_only: bool, stages: dict[str, ScaleAttention]) -> None:
        super().__init__()
        self.narrow = nn.Linear(channels, width)
        self.own_frame_only = own_frame_only
        self.stages = nn.ModuleDict(stages)
        self.widen = nn.Linear(width, channels)

    def initialise(self, generator: torch.Generator) -> None:
        """Zero output, so that step 0 equals the baseline; the defaults elsewhere."""
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, tokens_BTSC: Tensor, layout: TokenLayout) -> Tensor:
        """(B, T, S, C) -> (B, T, S, C)."""
        B, T, S, C = tokens_BTSC.shape
        frames_T1C = frame_encoding(T, C, tokens_BTSC.device)[:, None]
        x_BTSD = self.narrow(tokens_BTSC + layout.encodings_B1SC + frames_T1C)
        padding_BS = layout.padding_BS
        if self.own_frame_only:  # each frame becomes a clip of one frame
            x_BTSD = x_BTSD.flatten(0, 1)[:, None]
            padding_BS = None if padding_BS is None else padding_BS.repeat_interleave(T, 0)
        x_BSTD = x_BTSD.transpose(1, 2).contiguous()
        for stage in self.stages.values():
            x_BSTD = stage(x_BSTD, layout.shapes, padding_BS)
        return self.widen(x_BSTD.transpose(1, 2).reshape(B, T, S, -1))

    def observable_attention(self) -> Sequence[ObservableAttention]:
        """The attention of all stages; none where it is confined to the token's own frame."""
        stages = [] if self.own_frame_only else self.stages.values()
        return [declared for stage in stages for declared in cast(ScaleAttention, stage).observable]


def split_levels(x_BS: Tensor | None, shapes: Shapes) -> Sequence[Any]:
    """Levels of tokens (B, S, ...), each (B, H_l*W_l, ...); a None for each level if there is no tensor."""
    return [None] * len(shapes) if x_BS is None else x_BS.split([height * width for height, width in shapes], 1)


def coarser_on_finer_grid(tokens_BSTK: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
    """Tokens of the next coarser scale at each location of all scales but the coarsest, (B, S - S_coarsest, T, K)."""
    levels, paddings = split_levels(tokens_BSTK, shapes), split_levels(padding_BS, shapes)
    return torch.cat(list(map(resample, levels[1:], shapes[1:], shapes, paddings[1:])), 1)


def resample(maps_BPTK: Tensor, shape: tuple[int, int], target: tuple[int, int], padding_BP: Tensor | None) -> Tensor:
    """Resample maps bilinearly to another grid, (B, P, T, K) -> (B, P', T, K); padding has no weight."""
    T, K = maps_BPTK.shape[2:]
    if padding_BP is None:
        return _bilinear(maps_BPTK.flatten(2), shape, target).unflatten(-1, (T, K))
    valid_BP1 = in_full_precision((~padding_BP)[..., None].to(maps_BPTK.dtype))
    weights = _bilinear(valid_BP1, shape, target).clamp(min=1e-6)
    resampled = _bilinear(maps_BPTK.flatten(2) * valid_BP1, shape, target) / weights
    return resampled.unflatten(-1, (T, K)).to(maps_BPTK.dtype)


def _bilinear(maps_BPK: Tensor, shape: tuple[int, int], target: tuple[int, int]) -> Tensor:
    maps_BKHW = maps_BPK.unflatten(1, shape).permute(0, 3, 1, 2)
    resized = F.interpolate(maps_BKHW, size=target, mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1).flatten(1, 2)
