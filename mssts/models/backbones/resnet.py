"""ResNet of timm."""

from __future__ import annotations

from typing import Any

import timm
from timm.layers import freeze_batch_norm_2d
from torch import nn

from mssts.config import IMAGENET
from mssts.models.backbones.weights import require_none


def build(weights: str | None, name: str) -> nn.Module:
    """ResNet with batch norm, stem and first stage frozen; first ImageNet weights of torchvision [code]."""
    model = timm.create_model(
        f"{name}.tv_in1k", pretrained=weights == IMAGENET, features_only=True, out_indices=(2, 3, 4)
    )
    if weights not in (None, IMAGENET):  # timm itself would leave what the file lacks at random
        missing, unexpected = model.load_state_dict(timm.models.load_state_dict(weights), strict=False)
        classifier = f"{timm.get_pretrained_cfg_value(f'{name}.tv_in1k', 'classifier')}."
        require_none([], missing, [key for key in unexpected if not key.startswith(classifier)])
    model = freeze_batch_norm_2d(model)
    model["conv1"].requires_grad_(False)
    model["layer1"].requires_grad_(False)
    return model


def blocks(model: Any) -> list[nn.Module]:
    """Blocks of the stages of a ResNet that are trained."""
    return [block for name in ("layer2", "layer3", "layer4") for block in model[name].children()]
