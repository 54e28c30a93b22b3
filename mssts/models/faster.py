"""The model for inference: the same function of the frames with fewer operations, up to rounding."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from mssts.models.model import MsStsVis


def faster(model: MsStsVis) -> MsStsVis:
    """A model that shares the weights of another one in eval mode, except those of a ResNet, and is for inference only.

    Args:
        model: It stays as it is.
    """
    if not any(isinstance(module, FrozenBatchNorm2d) for module in model.backbone.modules()):
        return model
    result = copy.copy(model)
    result._modules = {**model._modules, "backbone": Folded(copy.deepcopy(model.backbone))}
    return result


class Folded(nn.Module):
    """A backbone with each frozen batch norm folded into the convolution before it."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        for parent in backbone.modules():
            for (_, layer), (name, norm) in pairwise(list(parent.named_children())):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d):
                    setattr(parent, name, nn.Identity())
                    _fold(norm, layer)
        self.backbone = backbone.to(memory_format=torch.channels_last)

    def forward(self, images_F3HW: Tensor) -> list[Tensor]:
        """(F, 3, H, W) -> three feature maps; on a CPU frame by frame, which keeps them in its cache."""
        images = images_F3HW.contiguous(memory_format=torch.channels_last)
        parts = images.split(1 if images.device.type == "cpu" else len(images))
        return [torch.cat(maps) for maps in zip(*map(self.backbone, parts), strict=True)]


def _fold(norm: FrozenBatchNorm2d, convolution: nn.Conv2d) -> None:
    """Let a convolution without bias do what the batch norm after it does."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    convolution.weight = nn.Parameter(convolution.weight * scale[:, None, None, None], requires_grad=False)
    convolution.bias = nn.Parameter(norm.bias - norm.running_mean * scale, requires_grad=False)
