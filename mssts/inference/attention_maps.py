"""Maps of a video from one forward pass: the encoder's output, and what a query and a token attend to.

Shape letters: T frames, S tokens of a frame over L levels, Q queries, M heads, P points.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mssts.core.errors import InputError
from mssts.models import MsStsVis, Output
from mssts.models.observable import Observable, ObservableAttention
from mssts.models.position import Shapes, TokenLayout

MAP_STRIDE = 4

Rows = dict[int, list[Tensor]]


@dataclass
class AttentionRecord:
    """Attention of one forward pass over one clip, reduced to what is shown while the pass runs.

    The attention of all tokens would take 20 GB at 84 frames of 360x640.

    Attributes:
        frames: Number of frames T.
        frame: Index of the frame of the token that is shown.
        point: x, y of that token, relative to the frame.
        samplings: Of the cross-attention of each decoder layer: locations (1, T, Q, M, L, P, 2) and weights
            (1, T, Q, M, L, P), of all queries: which one is shown depends on the result.
        branches: For each encoder branch that declares attention, by level: of each layer and declaration the attention
            of the token there, mean over heads, (2T,): to the frames of its own level and of the next coarser one.
        shapes: (H_l, W_l) of the levels.
    """

    frames: int
    frame: int
    point: tuple[float, float]
    samplings: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    branches: dict[str, Rows] = field(default_factory=dict)
    shapes: Shapes = ()


def attention_weights(
    queries: Tensor, keys: Tensor, values: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """softmax(Q K^T / sqrt(d)), (..., Q, K), from the arguments of `ScaledDotProduct`; values are not used."""
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1)


def declared_attention(branch: nn.Module) -> Sequence[ObservableAttention]:
    """What an encoder branch declares; nothing unless it is `Observable`."""
    return branch.observable_attention() if isinstance(branch, Observable) else ()


def run_and_record(
    model: MsStsVis, frames_T3HW: Tensor, frame: int, point: tuple[float, float]
) -> tuple[Tensor, AttentionRecord]:
    """Run the model on a video, and record the attention that its decoder layers and encoder branches expose.

    Args:
        model: The model in eval mode.
        frames_T3HW: Normalised frames of the video.
        frame: Index of the frame of the token that is shown.
        point: x, y of that token, relative to the frame.

    Returns:
        Class logits (Q, K), and the record.

    Raises:
        InputError: A branch declares an attention of another shape than it has.
    """
    record = AttentionRecord(len(frames_T3HW), frame, point)
    with ExitStack() as hooks, torch.inference_mode():
        hooks.enter_context(model.encoder.register_forward_pre_hook(partial(_keep_shapes, record)))
        for decoder_layer in model.decoder.layers:
            keep_sampling = partial(_keep_sampling, record.samplings)
            hooks.enter_context(decoder_layer.cross_attention.sample.register_forward_hook(keep_sampling))
        for encoder_layer in model.encoder.layers:
            for name, branch in encoder_layer.branches.items():
                for declared in declared_attention(branch):
                    keep_rows = partial(_keep_rows, record, name, declared)
                    hooks.enter_context(declared.attend.register_forward_hook(keep_rows, with_kwargs=True))
        logits_QK = model(frames_T3HW[None]).logits[0]
    return logits_QK, record


def _keep_shapes(record: AttentionRecord, module: nn.Module, inputs: tuple[Tensor, TokenLayout]) -> None:
    record.shapes = inputs[1].shapes


def _keep_sampling(kept: list[tuple[Tensor, Tensor]], module: nn.Module, inputs: tuple[Any, ...], _: Tensor) -> None:
    kept.append(inputs[1:])  # locations and weights


def _keep_rows(
    record: AttentionRecord,
    name: str,
    declared: ObservableAttention,
    module: nn.Module,
    inputs: tuple[Any, ...],
    named: dict[str, Any],
    _: Tensor,
) -> None:
    """Keep the attention of the tokens at the point, one on each level that the declaration covers."""
    queries, keys, mask = _arguments(*inputs, **named)
    shape = (*queries.shape[:-1], keys.shape[-2])
    _check(name, declared, shape, record)
    levels = range(len(record.shapes))[declared.levels]
    first_token = sum(height * width for height, width in record.shapes[: levels.start])
    places = token_indices(record.shapes, record.point)
    tokens = [places[level] - first_token for level in levels]
    own_mask = None if mask is None else mask.expand(shape)[tokens]
    weights_LMTK = attention_weights(queries[tokens], keys[tokens], mask=own_mask)
    kept = record.branches.setdefault(name, {})
    for level, weights_MTK in zip(levels, weights_LMTK, strict=True):
        row = weights_MTK[:, record.frame].mean(0).cpu()
        kept.setdefault(level, []).append(torch.nn.functional.pad(row, (0, 2 * record.frames - len(row))))


def _arguments(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Those arguments of `ScaledDotProduct` that its weights depend on."""
    return queries, keys, mask


def _check(name: str, declared: ObservableAttention, shape: tuple[int, ...], record: AttentionRecord) -> None:
    tokens = sum(height * width for height, width in record.shapes[declared.levels])
    frames = record.frames
    keys = 2 * frames if declared.next_coarser else frames
    if len(shape) != 4 or (shape[0], *shape[2:]) != (tokens, frames, keys):
        raise InputError(
            f"encoder branch {name}: its observable attention has weights of shape {shape}, but its "
            f"declaration says ({tokens}, heads, {frames}, {keys}). See mssts.models.observable."
        )


def encoder_map(output: Output) -> Tensor:
    """Encoder output at the finest level (stride 8), its maximum over channels [fork]; no query takes part [page].

    The mean over channels, a later form [fork], shows next to nothing: behind a LayerNorm it is what gamma and beta
    leave of zero.

    Args:
        output: Output of a model for one clip.

    Returns:
        (T, H_8, W_8).
    """
    return output.memory[0][0].amax(1)


def splat(locations_N2: Tensor, weights_N: Tensor, size: tuple[int, int]) -> Tensor:
    """Distribute weights bilinearly over the four cells around each location.

    Args:
        locations_N2: x, y relative to the frame, 0..1 inside. The centre of a cell is at (index + 0.5) / size. What
            falls outside is lost, as in the sampling of the model.
        weights_N: Weight of each location.
        size: (H, W) of the result.

    Returns:
        (H, W), summing to the weights of the locations inside.
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


def query_map(record: AttentionRecord, query: int, size: tuple[int, int]) -> Tensor:
    """Deformable cross-attention of a query, summed over heads, points, levels and decoder layers.

    Args:
        record: Attention of a forward pass.
        query: Index of the query.
        size: (H, W) of the map.

    Returns:
        (T, H, W), summing to 1 over the clip.
    """
    maps = torch.zeros(record.frames, *size)
    for sampling in record.samplings:
        for frame in range(record.frames):
            locations, weights = (values[0, frame, query].cpu() for values in sampling)
            maps[frame] += splat(locations.reshape(-1, 2), weights.flatten(), size)
    return maps / maps.sum().clamp(min=torch.finfo(maps.dtype).tiny)


def temporal_weights(rows: Rows) -> dict[int, tuple[Tensor, Tensor]]:
    """Attention of the shown tokens of a branch to each frame, mean over heads, encoder layers and declarations.

    Args:
        rows: Of the branch, as in `AttentionRecord`.

    Returns:
        For each level that a declaration covers, the weights of its own level and of the next coarser one, (T,) both.
        They sum to 1.
    """
    means = {level: sum(rows[level], start=torch.zeros(())) / len(rows[level]) for level in sorted(rows)}
    return {level: (mean[: len(mean) // 2], mean[len(mean) // 2 :]) for level, mean in means.items()}


def token_indices(shapes: Sequence[tuple[int, int]], point: tuple[float, float]) -> list[int]:
    """For each level the index, among the S tokens of a frame, of the cell that contains a point (x, y in 0..1)."""
    indices, start = [], 0
    for height, width in shapes:
        row, column = _cell((height, width), point)
        indices.append(start + row * width + column)
        start += height * width
    return indices


def _cell(shape: tuple[int, int], point: tuple[float, float]) -> tuple[int, int]:
    """Row and column of the cell of a grid that contains a point (x, y in 0..1)."""
    (height, width), (x, y) = shape, point
    return min(int(y * height), height - 1), min(int(x * width), width - 1)


def temporal_maps(record: AttentionRecord, size: tuple[int, int]) -> dict[str, Tensor]:
    """For each branch that declares attention, its `temporal_weights` spread evenly over the cells attended to.

    Args:
        record: Attention of a forward pass.
        size: (H, W) of the maps.

    Returns:
        (T, H, W) by branch, each summing to 1.
    """
    footprints = [cell_footprint(shape, record.point, size) for shape in record.shapes]
    found = {}
    for name, rows in record.branches.items():
        levels = temporal_weights(rows)
        maps = torch.zeros(1)
        for level, (own, coarser) in levels.items():
            maps = maps + own[:, None, None] * footprints[level]
            if level + 1 < len(footprints):
                maps = maps + coarser[:, None, None] * footprints[level + 1]
        found[name] = maps / len(levels)
    return found


def cell_footprint(shape: tuple[int, int], point: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """The cell of a grid that contains a point, drawn evenly on a map of (H, W), summing to 1."""
    (height, width), (rows, columns), (row, column) = shape, size, _cell(shape, point)
    footprint = torch.zeros(size)
    bottom = max(-(-(row + 1) * rows // height), row * rows // height + 1)
    right = max(-(-(column + 1) * columns // width), column * columns // width + 1)
    footprint[row * rows // height : bottom, column * columns // width : right] = 1
    return footprint / footprint.sum()
