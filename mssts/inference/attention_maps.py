"""Where a query and a pixel look: maps from forward hooks on the attention modules, which have no parameters.

Legend: T frames, S tokens of a frame over L levels, Q queries, M heads, P points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mssts.models import MsStsVis, Output
from mssts.ops.attention import DeformableSampling, ScaledDotProduct

MAP_STRIDE = 4


@dataclass
class Seen:
    """What the hooks saw in one forward pass, by module name, in order of execution.

    samplings: (locations (B, T, Q, M, L, P, 2), weights (B, T, Q, M, L, P)) of deformable attention.
    attentions: softmax weights (..., M, T, keys) of scaled dot products. shapes: (H_l, W_l) of the levels.
    """

    samplings: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    attentions: dict[str, Tensor] = field(default_factory=dict)
    shapes: tuple[tuple[int, int], ...] = ()


def attention_weights(queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(d)), (..., Q, K), as ScaledDotProduct uses it; mask True where a query may look."""
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1)


@contextmanager
def watched(model: nn.Module) -> Iterator[Seen]:
    """Record every deformable sampling and the encoder's scaled dot products of the forward passes in the block."""
    seen = Seen()

    def sampling(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            values, locations, weights = inputs
            seen.samplings[name] = (locations, weights)
            seen.shapes = tuple(tuple(value.shape[-2:]) for value in values)

        return hook

    def attention(name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            queries, keys, _, *mask = inputs
            seen.attentions[name] = attention_weights(queries, keys, *mask)

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, DeformableSampling):
            handles.append(module.register_forward_hook(sampling(name)))
        elif isinstance(module, ScaledDotProduct) and name.startswith("encoder."):
            handles.append(module.register_forward_hook(attention(name)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def look(model: MsStsVis, frames_T3HW: Tensor) -> tuple[Output, Seen]:
    """One forward pass over a video in eval mode, and what its attention modules saw."""
    with torch.inference_mode(), watched(model) as seen:
        output = model(frames_T3HW[None])
    return output, seen


def splat(locations_N2: Tensor, weights_N: Tensor, size: tuple[int, int]) -> Tensor:
    """Weights put bilinearly on the four cells around each location, (H, W).

    locations_N2: x, y relative to the frame, 0..1 inside. A cell's centre lies at (index + 0.5) / size. What falls
    outside is lost, as it is in the model's sampling.
    """
    height, width = size
    x, y = (locations_N2 * locations_N2.new_tensor([width, height]) - 0.5).unbind(-1)
    left, top = x.floor(), y.floor()
    result = weights_N.new_zeros(height * width)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = left + dx, top + dy
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            cells = (row * width + column)[inside].long()
            result.index_add_(0, cells, (weights_N * share)[inside])
    return result.view(height, width)


def query_map(seen: Seen, query: int, size: tuple[int, int]) -> Tensor:
    """Deformable cross-attention of a query in each frame, (T, H, W), summing to 1 over the clip.

    Summed over heads, points, levels and decoder layers. size: (H, W) of the map.
    """
    layers = [record for name, record in seen.samplings.items() if name.startswith("decoder.")]
    frames = layers[0][1].shape[1]
    maps = torch.zeros(frames, *size)
    for locations, weights in layers:
        for frame in range(frames):
            maps[frame] += splat(
                locations[0, frame, query].reshape(-1, 2).cpu(), weights[0, frame, query].reshape(-1).cpu(), size
            )
    return maps / maps.sum().clamp(min=torch.finfo(maps.dtype).tiny)


def temporal_weights(seen: Seen, frame: int, place: tuple[float, float]) -> list[tuple[Tensor, Tensor]]:
    """What the tokens at a place of a frame take from the frames of the clip, for each level (own, coarser), (T,) each.

    Mean over heads, over encoder layers and over the stages of the module; over all levels and both parts it sums
    to L. place: x, y relative to the frame. Empty for a model without the MS-STS module.
    """
    records = list(seen.attentions.items())
    if not records:
        return []
    tokens = token_indices(seen.shapes, place)
    finer_tokens = sum(height * width for height, width in seen.shapes[:-1])
    frames = records[0][1].shape[-2]
    own = torch.zeros(len(tokens), frames)
    coarser = torch.zeros(len(tokens), frames)
    passes = torch.zeros(len(tokens), 1)
    for name, weights in records:
        kind = name.rsplit(".", 1)[-1]
        for level, token in enumerate(tokens):
            coarsest = level == len(tokens) - 1
            if (kind == "attend_pair" and coarsest) or (kind == "attend_coarsest" and not coarsest):
                continue
            row = weights[token - finer_tokens if kind == "attend_coarsest" else token, :, frame].mean(0).cpu()
            own[level] += row[:frames]
            if kind == "attend_pair":
                coarser[level] += row[frames:]
            passes[level] += 1
    return list(zip(own / passes, coarser / passes, strict=True))


def token_indices(shapes: Sequence[tuple[int, int]], place: tuple[float, float]) -> list[int]:
    """Index among the S tokens of a frame of the cell that holds a place (x, y in 0..1), for each level."""
    indices, start = [], 0
    for height, width in shapes:
        column, row = (min(int(value * size), size - 1) for value, size in zip(place, (width, height), strict=True))
        indices.append(start + row * width + column)
        start += height * width
    return indices


def temporal_map(seen: Seen, frame: int, place: tuple[float, float], size: tuple[int, int]) -> Tensor | None:
    """The weights of `temporal_weights` spread evenly over the cells that they look at, (T, H, W), summing to 1.

    None for a model without the MS-STS module.
    """
    levels = temporal_weights(seen, frame, place)
    if not levels:
        return None
    footprints = [cell_footprint(shape, place, size) for shape in seen.shapes]
    maps = torch.zeros(len(levels[0][0]), *size)
    for level, (own, coarser) in enumerate(levels):
        maps += own[:, None, None] * footprints[level]
        if level + 1 < len(levels):
            maps += coarser[:, None, None] * footprints[level + 1]
    return maps / len(levels)


def cell_footprint(shape: tuple[int, int], place: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """The cell of a grid that holds a place, drawn evenly on a map of (H, W), summing to 1."""
    (height, width), (rows, columns) = shape, size
    column, row = (min(int(value * count), count - 1) for value, count in zip(place, (width, height), strict=True))
    footprint = torch.zeros(size)
    bottom = max(-(-(row + 1) * rows // height), row * rows // height + 1)
    right = max(-(-(column + 1) * columns // width), column * columns // width + 1)
    footprint[row * rows // height : bottom, column * columns // width : right] = 1
    return footprint / footprint.sum()
