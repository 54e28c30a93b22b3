"""Instance masks from mask features: convolutions whose weights are predicted for each instance."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mssts.ops.precision import in_full_precision, no_autocast


def parameter_count(channels: int) -> int:
    """Weights and biases of the three 1x1 convolutions of an instance: channels + 2 -> channels -> channels -> 1."""
    return sum(_split_sizes(channels))


def _split_sizes(channels: int) -> tuple[int, ...]:
    """All weights first, then all biases [code]."""
    return (channels + 2) * channels, channels * channels, channels, channels, channels, 1


def dynamic_masks(
    features_BTCHW: Tensor, centres_LnT2: Tensor, parameters_LnP: Tensor, counts: Sequence[int], stride: int
) -> Tensor:
    """Mask logits of n instances of each of L decoder layers, at the resolution of the features.

    The input of the first convolution is centre - pixel in pixels, x then y, followed by the features [code]. The
    offsets are not stored for each instance: the convolution is linear, so the centre becomes part of the bias [ours].

    Args:
        features_BTCHW: Mask features.
        centres_LnT2: Reference points x, y in pixels of the frame, clip by clip.
        parameters_LnP: Predicted weights, then biases, clip by clip.
        counts: Instances of each clip; they sum to n.
        stride: Pixels between two features.

    Returns:
        (L, n, T, H, W), in full precision.
    """
    # Differs: public SeqFormer stores the offsets of each instance and convolves group by group, to the same result.
    features_BTCHW, centres_LnT2, parameters_LnP = map(
        in_full_precision, (features_BTCHW, centres_LnT2, parameters_LnP)
    )
    B, T, C, H, W = features_BTCHW.shape
    L, n, _ = parameters_LnP.shape
    weight1, weight2, weight3, bias1, bias2, bias3 = parameters_LnP.split(_split_sizes(C), -1)
    weight1_LnCI = weight1.view(L, n, C, C + 2)
    offsets_2HW = -pixel_centres(H, W, stride, features_BTCHW.dtype, features_BTCHW.device)
    offsets_B2THW = offsets_2HW[None, :, None].expand(B, 2, T, H, W)
    inputs_BIS = torch.cat([offsets_B2THW, features_BTCHW.transpose(1, 2)], 1).flatten(2)
    with no_autocast(features_BTCHW.device):  # the products hold coordinates in pixels
        shift_LnCT = weight1_LnCI[..., :2] @ centres_LnT2.transpose(2, 3) + bias1[..., None]
        convolved = [
            (weights.reshape(-1, C + 2) @ inputs_IS).view(*weights.shape[:3], T, H * W)
            for weights, inputs_IS in zip(weight1_LnCI.split(list(counts), 1), inputs_BIS, strict=True)
        ]
        hidden = F.relu(torch.cat(convolved, 1) + shift_LnCT[..., None]).view(L * n, C, T * H * W)
        hidden = F.relu(torch.baddbmm(bias2.reshape(-1, C, 1), weight2.reshape(-1, C, C), hidden))
        return torch.baddbmm(bias3.reshape(-1, 1, 1), weight3.reshape(-1, 1, C), hidden).view(L, n, T, H, W)


@functools.lru_cache(maxsize=64)
def pixel_centres(height: int, width: int, stride: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """x, y in pixels of the centre of each feature, (2, H, W), rounded down to whole pixels [code]."""
    with torch.inference_mode(False):  # a cached tensor may be needed for training later
        y = torch.arange(height, dtype=dtype, device=device) * stride + stride // 2
        x = torch.arange(width, dtype=dtype, device=device) * stride + stride // 2
        return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def upsample_aligned(maps: Tensor) -> Tensor:
    """CondInst's aligned bilinear upsampling by two, (..., H, W) -> (..., 2H, 2W) [code].

    Along each axis odd outputs are the inputs, and even outputs the mean of an input and its predecessor (for the
    first input: the input itself).
    """
    return _upsample_last(_upsample_last(maps).transpose(-1, -2)).transpose(-1, -2)


def _upsample_last(maps: Tensor) -> Tensor:
    before = torch.cat([maps[..., :1], maps[..., :-1]], -1)
    return torch.stack([(before + maps) / 2, maps], -1).flatten(-2)
