"""Attention over few tokens on a CPU in C: _attention.c, several times faster than PyTorch's fused kernel.

Shape letters: F sets, M heads, Q queries, K keys, D channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mssts.core.compiled import load_compiled
from mssts.ops.threads import in_threads

FEW = 64  # queries times keys of a head up to which it is faster; MOST_SCORES of _attention.c
MANY = 2**18  # products of a thread, below which another thread costs more than it saves

_compiled = load_compiled("mssts.ops._attention")


def is_compiled() -> bool:
    """Whether the installation has compiled it."""
    return _compiled is not None


def is_fast_for(queries: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether the operator takes these tensors, and is faster than the fused kernel."""
    few = queries.ndim == 4 and queries.shape[2] * keys.shape[2] <= FEW and queries.shape[-1] == values.shape[-1]
    return few and is_compiled() and all(x.dtype == torch.float32 and x.is_cpu for x in (queries, keys, values))


@torch.library.custom_op("mssts::compiled_attention", mutates_args=())
def compiled_attention(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(D)) V.

    Args:
        queries: (F, M, Q, D) float32, in any order of memory.
        keys: (F, M, K, D) float32.
        values: (F, M, K, D) float32.

    Returns:
        (F, M, Q, D), for which M and D lie side by side in memory, and the weights (F, M, Q, K).
    """
    output, weights = _outputs(queries, keys, values)
    _run("forward", [queries, keys, values, output, weights])
    return output, weights


@compiled_attention.register_fake
def _outputs(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    return _heads_merged(queries), queries.new_empty(*queries.shape[:3], keys.shape[2])


@torch.library.custom_op("mssts::compiled_attention_backward", mutates_args=())
def compiled_attention_backward(
    upstream: Tensor, queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values, given that of the output."""
    gradients = _gradients(upstream, queries, keys, values, weights)
    _run("backward", [queries, keys, values, upstream, *gradients, weights])
    return gradients


@compiled_attention_backward.register_fake
def _gradients(
    upstream: Tensor, queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _heads_merged(queries), _heads_merged(keys), _heads_merged(values)


def _heads_merged(x: Tensor) -> Tensor:
    """An empty tensor of the shape of x, (F, M, N, D), which is (F, N, M, D) in memory."""
    F, M, N, D = x.shape
    return x.new_empty(F, N, M, D).transpose(1, 2)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    return compiled_attention_backward(upstream, *ctx.saved_tensors)


compiled_attention.register_autograd(_backward, setup_context=_keep)


def _run(function: str, tensors: list[Tensor]) -> None:
    arrays = [(x if x.stride(-1) == 1 else x.contiguous()).detach().numpy() for x in tensors]
    F, M, Q, D = tensors[0].shape
    call = getattr(_compiled, function)
    in_threads(lambda first, last: call(first, last, *arrays), F * M, F * M * Q * tensors[1].shape[2] * D // MANY)
