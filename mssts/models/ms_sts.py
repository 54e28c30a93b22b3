"""MS-STS attention module: over time within each scale, then from each scale to the next coarser one [poster] [fig].

How the figure is read [ours]: the frame's place in the clip, scaled to 0..1, joins the tokens as a sine code; weights
are shared by the scales of a layer; the widening to C starts at zero. Tokens are held as (B, S, T, D): the T tokens
of a location lie side by side, and a level is at the same time a channels-last map of T*D channels, resampled without a
copy.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssts.models.layers import FeedForward, merge_heads, split_heads
from mssts.models.position import Shapes, TokenPlaces, frame_code
from mssts.ops.attention import ScaledDotProduct


class IntraScaleAttention(nn.Module):
    """x + Attn(LN(x)) over the T tokens at each location of one scale; then x + FFN(LN(x))."""

    def __init__(self, width: int, heads: int, feed_forward: FeedForward, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.input_projection = nn.Linear(width, 3 * width)
        self.attend = ScaledDotProduct()
        self.output_projection = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = feed_forward

    def forward(self, x_BSTD: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """(B, S, T, D) -> (B, S, T, D). Hook on `attend`: (B*S, heads, T, d).

        A padded location is padded in every frame, so that no valid token ever looks at it.
        """
        projected = self.input_projection(self.norm1(x_BSTD)).flatten(0, 1)
        attended = merge_heads(self.attend(*split_heads(projected, 3, self.heads)))
        x_BSTD = x_BSTD + self.dropout(self.output_projection(attended)).view(x_BSTD.shape)
        return x_BSTD + self.feed_forward(self.norm2(x_BSTD))


class InterScaleAttention(nn.Module):
    """x + Attn(LN(x)) over the T tokens of a location and those of the next coarser scale there; then x + FFN(LN(x)).

    Keys and values of the coarser scale are projected first and resampled bilinearly to the finer grid after: both are
    linear, and it is cheaper. The coarsest scale sees itself only.
    """

    def __init__(self, width: int, heads: int, feed_forward: FeedForward, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.input_projection = nn.Linear(width, 3 * width)
        self.attend_pair = ScaledDotProduct()
        self.attend_coarsest = ScaledDotProduct()
        self.output_projection = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = feed_forward

    def forward(self, x_BSTD: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """(B, S, T, D) -> (B, S, T, D).

        Hooks: `attend_pair` has queries (B*(S - S_coarsest), heads, T, d) and 2T keys, own scale first;
        `attend_coarsest` (B*S_coarsest, heads, T, d) and T keys.
        """
        projected = self.input_projection(self.norm1(x_BSTD))
        coarser = self._coarser(projected, shapes, padding_BS)
        fine = coarser.shape[1]
        queries, keys, values = split_heads(projected[:, :fine].flatten(0, 1), 3, self.heads)
        coarser_keys, coarser_values = split_heads(coarser.flatten(0, 1), 2, self.heads)
        pair = self.attend_pair(queries, torch.cat([keys, coarser_keys], 2), torch.cat([values, coarser_values], 2))
        coarsest = self.attend_coarsest(*split_heads(projected[:, fine:].flatten(0, 1), 3, self.heads))
        attended_BSTD = torch.cat([_by_clip(pair, x_BSTD.shape[0]), _by_clip(coarsest, x_BSTD.shape[0])], 1)
        x_BSTD = x_BSTD + self.dropout(self.output_projection(attended_BSTD))
        return x_BSTD + self.feed_forward(self.norm2(x_BSTD))

    def _coarser(self, projected: Tensor, shapes: Shapes, padding_BS: Tensor | None) -> Tensor:
        """Keys and values of the next coarser scale at each location of all but the coarsest, (B, S', T, 2D)."""
        sizes = [height * width for height, width in shapes]
        levels = projected[..., projected.shape[-1] // 3 :].split(sizes, 1)
        paddings = [None] * len(sizes) if padding_BS is None else padding_BS.split(sizes, 1)
        coarser = [
            resample(levels[level + 1], shapes[level + 1], shapes[level], paddings[level + 1])
            for level in range(len(sizes) - 1)
        ]
        return torch.cat(coarser, 1)


class WholeClip(nn.Module):
    """Every frame may look at every frame of its clip."""

    def gather(self, x_BTSD: Tensor, padding_BS: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens side by side with those that they may look at: (B, T, S, D) -> (B, S, T, D), padding unchanged."""
        return x_BTSD.transpose(1, 2).contiguous(), padding_BS

    def scatter(self, x_BSTD: Tensor, clips: int) -> Tensor:
        """The way back, (B, S, T, D) -> (B, T, S, D)."""
        return x_BSTD.transpose(1, 2)


class OwnFrame(nn.Module):
    """Capacity control: each frame becomes a clip of one frame, so that none looks at another [ours]."""

    def gather(self, x_BTSD: Tensor, padding_BS: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, T, S, D) -> (B*T, S, 1, D), padding repeated for each frame."""
        frames = x_BTSD.shape[1]
        padding = None if padding_BS is None else padding_BS.repeat_interleave(frames, 0)
        return x_BTSD.flatten(0, 1)[:, :, None], padding

    def scatter(self, x_BSTD: Tensor, clips: int) -> Tensor:
        """The way back, (B*T, S, 1, D) -> (B, T, S, D)."""
        return x_BSTD[:, :, 0].unflatten(0, (clips, -1))


class MsSts(nn.Module):
    """Narrow, attend over time and scales, widen; the widening starts at zero: nothing is added at step 0 [ours].

    reach: which frames may look at each other, WholeClip or OwnFrame. stages: intra-scale, then inter-scale attention.
    """

    def __init__(self, channels: int, width: int, reach: nn.Module, stages: dict[str, nn.Module]) -> None:
        super().__init__()
        self.narrow = nn.Linear(channels, width)
        self.reach = reach
        self.stages = nn.ModuleDict(stages)
        self.widen = nn.Linear(width, channels)

    def initialise(self, generator: torch.Generator) -> None:
        """Zero output; the rest as everywhere."""
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, tokens_BTSC: Tensor, places: TokenPlaces) -> Tensor:
        """(B, T, S, C) -> (B, T, S, C)."""
        B, T, _, C = tokens_BTSC.shape
        frames_T1C = frame_code(T, C, tokens_BTSC.device)[:, None]
        x_BTSD = self.narrow(tokens_BTSC + places.codes_B1SC + frames_T1C)
        x_BSTD, padding_BS = self.reach.gather(x_BTSD, places.padding_BS)
        for stage in self.stages.values():
            x_BSTD = stage(x_BSTD, places.shapes, padding_BS)
        return self.widen(self.reach.scatter(x_BSTD, B))


def resample(maps_BPTK: Tensor, shape: tuple[int, int], finer: tuple[int, int], padding_BP: Tensor | None) -> Tensor:
    """Maps on a grid, bilinearly on a finer one, (B, P, T, K) -> (B, P', T, K); padding has no weight."""
    T, K = maps_BPTK.shape[2:]
    if padding_BP is None:
        return _bilinear(maps_BPTK.flatten(2), shape, finer).unflatten(-1, (T, K))
    valid_BP1 = (~padding_BP)[..., None].to(maps_BPTK.dtype)
    weights = _bilinear(valid_BP1, shape, finer).clamp(min=1e-6)
    return (_bilinear(maps_BPTK.flatten(2) * valid_BP1, shape, finer) / weights).unflatten(-1, (T, K))


def _bilinear(maps_BPK: Tensor, shape: tuple[int, int], finer: tuple[int, int]) -> Tensor:
    maps_BKHW = maps_BPK.unflatten(1, shape).permute(0, 3, 1, 2)
    resized = F.interpolate(maps_BKHW, size=finer, mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1).flatten(1, 2)


def _by_clip(attended: Tensor, clips: int) -> Tensor:
    """(B*S, M, T, d) -> (B, S, T, M*d)."""
    return merge_heads(attended).unflatten(0, (clips, -1))
