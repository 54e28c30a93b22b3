"""Instance masks from mask features: convolutions whose weights are predicted for each instance."""

from __future__ import annotations

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


def dynamic_masks(features_TCHW: Tensor, centres_Tn2: Tensor, parameters_nP: Tensor, stride: int) -> Tensor:
    """Mask logits of n instances of one clip at the resolution of the features.

    The input of the first convolution is centre - pixel in pixels, x then y, followed by the features [code]. The
    offsets are not stored for each instance: the convolution is linear, so the centre becomes part of the bias [ours].

    Args:
        features_TCHW: Mask features.
        centres_Tn2: Reference points x, y in pixels of the frame.
        parameters_nP: Predicted weights, then biases.
        stride: Pixels between two features.

    Returns:
        (n, T, H, W), in full precision.
    """
    # Differs: public SeqFormer stores the offsets of each instance and convolves group by group, to the same result.
    features_TCHW, centres_Tn2, parameters_nP = map(in_full_precision, (features_TCHW, centres_Tn2, parameters_nP))
    T, C, H, W = features_TCHW.shape
    n = parameters_nP.shape[0]
    weight1, weight2, weight3, bias1, bias2, bias3 = parameters_nP.split(_split_sizes(C), -1)
    weight1_nCI = weight1.view(n, C, C + 2)
    pixels_2THW = pixel_centres(H, W, stride, features_TCHW).view(2, 1, H, W).expand(2, T, H, W)
    inputs_ITHW = torch.cat([-pixels_2THW, features_TCHW.transpose(0, 1)])
    with no_autocast(features_TCHW.device):  # the products hold coordinates in pixels
        shift_nCT = torch.einsum("nci,tni->nct", weight1_nCI[..., :2], centres_Tn2) + bias1[..., None]
        hidden = (weight1_nCI.reshape(n * C, C + 2) @ inputs_ITHW.flatten(1)).view(n, C, T, H * W)
        hidden = F.relu(hidden + shift_nCT[..., None]).view(n, C, T * H * W)
        hidden = F.relu(torch.baddbmm(bias2[..., None], weight2.view(n, C, C), hidden))
        return torch.baddbmm(bias3[..., None], weight3.view(n, 1, C), hidden).view(n, T, H, W)


def pixel_centres(height: int, width: int, stride: int, like: Tensor) -> Tensor:
    """x, y in pixels of the centre of each feature, (2, H, W), rounded down to whole pixels [code]."""
    y = torch.arange(height, dtype=like.dtype, device=like.device) * stride + stride // 2
    x = torch.arange(width, dtype=like.dtype, device=like.device) * stride + stride // 2
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
