"""Deformable sampling as one Triton kernel: PyTorch's grid sampling keeps each sampled value for the backward pass.

The kernel keeps its inputs only. It is written from the definition in `mssts.ops.attention`.

Shape letters: N frames, S tokens of a frame over L levels, M heads, D channels of a head, P points, Q queries.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mssts.ops.sampling_operator import level_table, register_gradients

BLOCK_Q = 32  # queries of one program


@triton.jit
def _point(locations, weights, levels, level, point, queries, is_query, Q, P: tl.constexpr):
    """First token, size and x, y in cells and weight of one point of some queries."""
    first = tl.load(levels + 3 * level)
    height = tl.load(levels + 3 * level + 1)
    width = tl.load(levels + 3 * level + 2)
    row = level * P + point
    x = tl.load(locations + 2 * row * Q + queries, is_query, other=-1.0) * width - 0.5
    y = tl.load(locations + (2 * row + 1) * Q + queries, is_query, other=-1.0) * height - 0.5
    weight = tl.load(weights + row * Q + queries, is_query, other=0.0)
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    # Far points would overflow the conversion of their cell to an integer.
    return first, height, width, tl.where(inside, x, -2.0), tl.where(inside, y, -2.0), weight


@triton.jit
def _cell(x, y, height, width, first, stride, channels, is_channel):
    """Offsets of the channels of a cell, and which of them exist, (queries, channels)."""
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    token = first + y.to(tl.int32) * width + x.to(tl.int32)
    return token[:, None] * stride + channels[None, :], inside[:, None] & is_channel[None, :]


@triton.jit(do_not_specialize=["S", "Q"])
def _forward(
    values, locations, weights, levels, output, S, Q,
    M: tl.constexpr, D: tl.constexpr, L: tl.constexpr, P: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Output of a block of queries, of one head in one frame."""
    map_index = tl.program_id(0).to(tl.int64)  # of N * M; offsets of whole tensors may exceed 32 bits
    frame, head = map_index // M, map_index % M
    queries, channels = tl.program_id(1) * BLOCK_Q + tl.arange(0, BLOCK_Q), tl.arange(0, BLOCK_D)
    is_query, is_channel = queries < Q, channels < D
    values += frame * S * M * D + head * D
    locations += map_index * L * P * 2 * Q
    weights += map_index * L * P * Q
    total = tl.zeros((BLOCK_Q, BLOCK_D), output.dtype.element_ty)
    for level in range(L):
        for point in range(P):
            first, height, width, x, y, weight = _point(
                locations, weights, levels, level, point, queries, is_query, Q, P
            )
            left, top = tl.floor(x), tl.floor(y)
            for corner in tl.static_range(4):
                column, row = left + corner % 2, top + corner // 2
                offsets, exist = _cell(column, row, height, width, first, M * D, channels, is_channel)
                share = (1 - tl.abs(x - column)) * (1 - tl.abs(y - row))
                total += (weight * share)[:, None] * tl.load(values + offsets, exist, other=0.0).to(total.dtype)
    output += frame * Q * M * D + head * D
    rows = queries.to(tl.int64)[:, None] * (M * D) + channels[None, :]
    tl.store(output + rows, total, is_query[:, None] & is_channel[None, :])


@triton.jit(do_not_specialize=["S", "Q"])
def _backward(
    upstream, values, locations, weights, levels, to_values, to_locations, to_weights, S, Q,
    M: tl.constexpr, D: tl.constexpr, L: tl.constexpr, P: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Gradients of a block of queries, of one head in one frame; several blocks add to the same values."""
    map_index = tl.program_id(0).to(tl.int64)
    frame, head = map_index // M, map_index % M
    queries, channels = tl.program_id(1) * BLOCK_Q + tl.arange(0, BLOCK_Q), tl.arange(0, BLOCK_D)
    is_query, is_channel = queries < Q, channels < D
    values += frame * S * M * D + head * D
    to_values += frame * S * M * D + head * D
    locations += map_index * L * P * 2 * Q
    to_locations += map_index * L * P * 2 * Q
    weights += map_index * L * P * Q
    to_weights += map_index * L * P * Q
    upstream += frame * Q * M * D + head * D
    rows = queries.to(tl.int64)[:, None] * (M * D) + channels[None, :]
    gradient = tl.load(upstream + rows, is_query[:, None] & is_channel[None, :], other=0.0)
    for level in range(L):
        for point in range(P):
            first, height, width, x, y, weight = _point(
                locations, weights, levels, level, point, queries, is_query, Q, P
            )
            left, top = tl.floor(x), tl.floor(y)
            of_weight, of_x, of_y = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
            for corner in tl.static_range(4):
                column, row = left + corner % 2, top + corner // 2
                offsets, exist = _cell(column, row, height, width, first, M * D, channels, is_channel)
                share_x, share_y = 1 - tl.abs(x - column), 1 - tl.abs(y - row)
                value = tl.load(values + offsets, exist, other=0.0).to(gradient.dtype)
                product = tl.sum(gradient * value, 1)
                of_weight += share_x * share_y * product
                of_x += (2 * (corner % 2) - 1) * share_y * product
                of_y += (2 * (corner // 2) - 1) * share_x * product
                to_value = (weight * share_x * share_y)[:, None] * gradient
                tl.atomic_add(to_values + offsets, to_value, exist, sem="relaxed")
            index = level * P + point
            tl.store(to_weights + index * Q + queries, of_weight, is_query)
            tl.store(to_locations + 2 * index * Q + queries, of_x * weight * width, is_query)
            tl.store(to_locations + (2 * index + 1) * Q + queries, of_y * weight * height, is_query)


@torch.library.custom_op("mssts::deformable_sampling", mutates_args=())
def deformable_sampling(values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]) -> Tensor:
    """Sum of values that are sampled bilinearly, zero outside the maps.

    Args:
        values: (N, S, M, D) of any floating dtype.
        locations: (N, M, L, P, 2, Q), x and y relative to the frame.
        weights: (N, M, L, P, Q) of the dtype of the locations, float32 or float64.
        sizes: H and W of each level in turn.

    Returns:
        (N, Q, M*D) of the dtype of the weights.
    """
    values, locations, weights = values.contiguous(), locations.contiguous(), weights.contiguous()
    output = _output(values, locations, weights, sizes)
    _launch(_forward, [values, locations, weights, _levels(sizes, values), output], values, weights)
    return output


@deformable_sampling.register_fake
def _output(values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]) -> Tensor:
    return weights.new_empty(values.shape[0], weights.shape[-1], values.shape[2] * values.shape[3])


@torch.library.custom_op("mssts::deformable_sampling_backward", mutates_args=())
def deformable_sampling_backward(
    upstream: Tensor, values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, locations and weights, of their dtypes, given that of the output.

    Threads add to the gradient of the values in the order in which they arrive, so that it repeats but for rounding.
    """
    inputs = [x.contiguous() for x in (upstream, values, locations, weights)]
    gradients = [torch.zeros_like(inputs[1], dtype=weights.dtype), *map(torch.empty_like, inputs[2:])]
    _launch(_backward, [*inputs, _levels(sizes, values), *gradients], values, weights)
    return gradients[0].to(values.dtype), gradients[1], gradients[2]


@deformable_sampling_backward.register_fake
def _gradients(
    upstream: Tensor, values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (values, locations, weights))


register_gradients(deformable_sampling, deformable_sampling_backward)


def _launch(kernel: Any, arguments: list[Tensor], values: Tensor, weights: Tensor) -> None:
    """Run a kernel on each block of queries of each head of each frame."""
    (N, S, M, D), (L, P, Q) = values.shape, weights.shape[2:]
    with torch.cuda.device_of(values):  # Triton launches on the current device
        kernel[N * M, triton.cdiv(Q, BLOCK_Q)](
            *arguments, S, Q, M=M, D=D, L=L, P=P, BLOCK_Q=BLOCK_Q, BLOCK_D=triton.next_power_of_2(D)
        )


def _levels(sizes: list[int], values: Tensor) -> Tensor:
    return level_table(tuple(sizes), torch.int32, values.device)
