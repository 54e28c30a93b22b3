"""Attention operations without parameters. Forward hooks on them observe attention."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from mssts.ops.compiled_attention import compiled_attention, is_fast_for
from mssts.ops.compiled_sampling import WIDTHS, compiled_sampling, is_compiled
from mssts.ops.precision import in_full_precision, no_autocast

try:
    from mssts.ops.deformable_triton import deformable_sampling
except ImportError:  # PyTorch brings Triton along on Linux only
    HAS_TRITON = False
else:
    HAS_TRITON = True

AUTO = "auto"
TRITON = "triton"
COMPILED = "compiled"
GRID_SAMPLE = "grid_sample"


class ScaledDotProduct(nn.Module):
    """softmax(Q K^T / sqrt(d)) V: over few tokens on a CPU in C, see `mssts.ops.compiled_attention`.

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
        if mask is None and not dropout and is_fast_for(queries, keys, values):
            return compiled_attention(queries, keys, values)[0]
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)


def sampling_path(setting: str, device: torch.device, width: int) -> str:
    """How deformable attention samples on a device: the fastest of three ways that differ by rounding.

    Args:
        setting: `model.deformable_sampling` of the configuration.
        device: Where it samples.
        width: Number of channels of a head.

    Returns:
        TRITON, the kernel of `mssts.ops.deformable_triton`; COMPILED, `mssts.ops.compiled_sampling`; or GRID_SAMPLE,
        PyTorch's operation.
    """
    if setting == AUTO and device.type == "cpu" and is_compiled() and width in WIDTHS:
        return COMPILED
    wanted = setting == AUTO and device.type == "cuda" and HAS_TRITON
    # Fake tensors may be on CUDA where there is none.
    return TRITON if wanted and (not torch.cuda.is_available() or triton_agrees(device)) else GRID_SAMPLE


@torch.compiler.assume_constant_result
def triton_agrees(device: torch.device) -> bool:
    """Whether the kernel computes on a device what grid sampling does; the first call tries both, and warns if not."""
    return _disagreement(device) is None


@functools.cache
def _disagreement(device: torch.device) -> str | None:
    """What goes wrong with the kernel on a device, in a small case that grid sampling computes on the CPU."""
    generator = torch.Generator().manual_seed(0)
    shapes, sizes = ((3, 5), (2, 2)), ((1, 2, 19, 64), (1, 2, 2, 2, 1, 2, 40), (1, 2, 2, 2, 1, 40))
    with unset_fake_temporarily(), torch.inference_mode(False), torch.enable_grad(), no_autocast(device):
        values, locations, weights = inputs = [torch.rand(size, generator=generator).requires_grad_() for size in sizes]
        try:
            ours = _sample_with_triton(values.to(device), locations.to(device), weights.to(device), shapes).cpu()
            theirs = _sample_with_grid_sample(values, locations, weights, shapes)
            gradients = (torch.autograd.grad(output.square().sum(), inputs) for output in (ours, theirs))
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
        except Exception as error:  # whatever a compiler, a driver or a device may raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            advice = "set model.deformable_sampling: grid_sample to avoid the attempt"
            print(
                f"warning: deformable attention uses grid sampling on {device}, which takes more memory: its Triton "
                f"kernel fails there ({reason}); {advice}",
                file=sys.stderr,
            )
            return reason
    return None


class DeformableSampling(nn.Module):
    """Weighted sum of feature values that are sampled bilinearly at a few locations.

    Args:
        setting: AUTO, or GRID_SAMPLE for PyTorch's operation on every device.
    """

    def __init__(self, setting: str = AUTO) -> None:
        super().__init__()
        self.setting = setting

    def path(self, values_BTSC: Tensor, heads: int) -> str:
        """The way of `sampling_path` for these values; in float64 always GRID_SAMPLE on a CPU."""
        path = sampling_path(self.setting, values_BTSC.device, values_BTSC.shape[-1] // heads)
        return GRID_SAMPLE if path == COMPILED and values_BTSC.dtype == torch.float64 else path

    def forward(
        self, values_BTSC: Tensor, locations_BTQMLP2: Tensor, weights_BTQMLP: Tensor, *, shapes: Sequence[Sequence[int]]
    ) -> Tensor:
        """Sample each level within each frame.

        Args:
            values_BTSC: Values of all levels, M heads of D channels each.
            locations_BTQMLP2: x, y relative to the padded frame (0..1 inside, zero is sampled outside), for Q queries,
                L levels and P points.
            weights_BTQMLP: Attention weights, summing to 1 over L and P.
            shapes: (H_l, W_l) of each level; S is the sum of H_l * W_l, level by level, row by row.

        Returns:
            (B, T, Q, M*D).
        """
        path = self.path(values_BTSC, weights_BTQMLP.shape[3])
        if path == COMPILED:
            return _sample_compiled(values_BTSC, locations_BTQMLP2, weights_BTQMLP, shapes)
        sample = _sample_with_triton if path == TRITON else _sample_with_grid_sample
        # Queries last, as `DeformableAttention` has them in memory here: neither path copies anything.
        locations_BTMLP2Q = locations_BTQMLP2.permute(0, 1, 3, 4, 5, 6, 2)
        return sample(values_BTSC, locations_BTMLP2Q, weights_BTQMLP.permute(0, 1, 3, 4, 5, 2), shapes)


def _sample_compiled(
    values_BTSC: Tensor, locations_BTQMLP2: Tensor, weights_BTQMLP: Tensor, shapes: Sequence[Sequence[int]]
) -> Tensor:
    inputs = (in_full_precision(x).flatten(0, 1) for x in (values_BTSC, locations_BTQMLP2, weights_BTQMLP))
    return compiled_sampling(*inputs, _sizes(shapes)).unflatten(0, values_BTSC.shape[:2])


def _sizes(shapes: Sequence[Sequence[int]]) -> list[int]:
    return [size for shape in shapes for size in shape]


def _sample_with_triton(
    values_BTSC: Tensor, locations_BTMLP2Q: Tensor, weights_BTMLPQ: Tensor, shapes: Sequence[Sequence[int]]
) -> Tensor:
    B, T, _, C = values_BTSC.shape
    values = values_BTSC.flatten(0, 1).unflatten(-1, (weights_BTMLPQ.shape[2], -1))
    inputs = values, locations_BTMLP2Q.flatten(0, 1), weights_BTMLPQ.flatten(0, 1)
    mixed = deformable_sampling(*inputs, _sizes(shapes))
    return mixed.view(B, T, -1, C)


def _sample_with_grid_sample(
    values_BTSC: Tensor, locations_BTMLP2Q: Tensor, weights_BTMLPQ: Tensor, shapes: Sequence[Sequence[int]]
) -> Tensor:
    B, T, M, L, P, Q = weights_BTMLPQ.shape
    # In the backward pass the detour through one dimension brings the gradient into the order of memory at once.
    points = (2 * locations_BTMLP2Q - 1).reshape(B * T * M, -1)
    grids = points.view(B * T * M, L, P, 2, Q).permute(1, 0, 2, 4, 3)
    weights = weights_BTMLPQ.permute(3, 0, 1, 2, 4, 5).reshape(L, B * T * M, 1, P, Q)
    levels = zip(_maps(values_BTSC, M, shapes), grids.unbind(0), weights.unbind(0), strict=True)
    sampled = ((_bilinear(value, grid) * weight).sum(2) for value, grid, weight in levels)
    mixed = sum(sampled, start=weights.new_zeros(()))
    return mixed.view(B, T, -1, Q).transpose(2, 3)


def _maps(values_BTSC: Tensor, heads: int, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Value maps of each level, (B*T*M, D, H_l, W_l)."""
    values = values_BTSC.flatten(0, 1).transpose(1, 2)
    levels = values.split([height * width for height, width in shapes], 2)
    return [
        level.reshape(level.shape[0] * heads, level.shape[1] // heads, *shape)
        for level, shape in zip(levels, shapes, strict=True)
    ]


def _bilinear(maps: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
