"""Deformable sampling on a CPU in C: _sampling.c, many times faster than PyTorch's grid sampling, level by level.

Shape letters: N frames, S tokens of a frame over L levels, M heads, D channels of a head, P points, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mssts.core.compiled import load_compiled
from mssts.ops.sampling_operator import level_table, register_gradients
from mssts.ops.threads import in_threads

WIDTHS = range(8, 257, 8)  # channels of a head: up to 32 vectors of 8, as in _sampling.c
MANY = 2**18  # values read by a thread, below which another thread costs more than it saves

_compiled = load_compiled("mssts.ops._sampling")


def is_compiled() -> bool:
    """Whether the installation has compiled it."""
    return _compiled is not None


@torch.library.custom_op("mssts::compiled_sampling", mutates_args=())
def compiled_sampling(values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]) -> Tensor:
    """Sum of values that are sampled bilinearly, zero outside the maps.

    Args:
        values: (N, S, M*D) float32.
        locations: (N, Q, M, L, P, 2) float32, x and y relative to the frame.
        weights: (N, Q, M, L, P) float32.
        sizes: H and W of each level in turn.

    Returns:
        (N, Q, M*D) float32.
    """
    output = _output(values, locations, weights, sizes)
    _run("forward", [values, locations, weights], [output], sizes)
    return output


@compiled_sampling.register_fake
def _output(values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]) -> Tensor:
    return values.new_empty(values.shape[0], weights.shape[1], values.shape[2])


@torch.library.custom_op("mssts::compiled_sampling_backward", mutates_args=())
def compiled_sampling_backward(
    upstream: Tensor, values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of values, locations and weights, given that of the output."""
    gradients = _gradients(upstream, values, locations, weights, sizes)
    gradients[0].zero_()
    _run("backward", [values, locations, weights, upstream], list(gradients), sizes)
    return gradients


@compiled_sampling_backward.register_fake
def _gradients(
    upstream: Tensor, values: Tensor, locations: Tensor, weights: Tensor, sizes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    to_values, to_locations, to_weights = (x.new_empty(x.shape) for x in (values, locations, weights))
    return to_values, to_locations, to_weights


register_gradients(compiled_sampling, compiled_sampling_backward)


def _run(function: str, inputs: list[Tensor], outputs: list[Tensor], sizes: list[int]) -> None:
    """Fill the outputs; each of PyTorch's threads takes some of the N*M heads, and sums in the same order."""
    arrays = [tensor.detach().contiguous().numpy() for tensor in inputs] + [tensor.numpy() for tensor in outputs]
    (N, S, C), (Q, M, L, P) = inputs[0].shape, inputs[2].shape[1:]
    levels = level_table(tuple(sizes), torch.int64, inputs[0].device).numpy()
    call: Callable[..., None] = getattr(_compiled, function)

    def run(first: int, last: int) -> None:
        call(*arrays, levels, (N, S, Q, M, L, P, C // M), first, last)

    in_threads(run, N * M, N * Q * L * P * C // MANY)
