"""What the operators that sample deformably, on a CPU and on a GPU, have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def register_gradients(operator: torch.library.CustomOpDef, backward: Callable[..., tuple[Tensor, ...]]) -> None:
    """Let an operator of (values, locations, weights, sizes) keep its inputs, and nothing else, for its gradients.

    Args:
        operator: The operator.
        backward: Gradients of the three tensors, from that of the output and the operator's arguments.
    """

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.sizes = inputs
        ctx.save_for_backward(*tensors)

    def gradients(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (*backward(upstream, *ctx.saved_tensors, ctx.sizes), None)

    operator.register_autograd(gradients, setup_context=keep)


@functools.lru_cache(maxsize=1024)
def level_table(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """First token, height and width of each level, (L, 3): kept, because a copy to a GPU waits.

    Args:
        sizes: H and W of each level in turn.
        dtype: Of the table.
        device: Where it is.
    """
    rows, first = [], 0
    for height, width in zip(sizes[::2], sizes[1::2], strict=True):
        rows.append((first, height, width))
        first += height * width
    return torch.tensor(rows, dtype=dtype, device=device)
