"""Backbones: images (F, 3, H, W) in, features at strides 8, 16 and 32 out. `mssts.backbones` lists them.

A module here builds backbones of one kind: `build(weights, **values)`, where weights are IMAGENET (through the library,
which downloads them), a local file or folder of them, or None for random ones; and `blocks(model)`, those modules of a
built one whose activations can be recomputed. None of them has batch norm that is trained, whose statistics would count
each batch twice.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import nn

from mssts.backbones import BACKBONES
from mssts.config import RANDOM
from mssts.core.errors import InputError


def build_backbone(name: str, weights: str | None, seed: int) -> nn.Module:
    """A backbone by name. Random weights are a function of the seed; the global generator is left unchanged.

    Args:
        name: Name in `mssts.backbones.BACKBONES`.
        weights: IMAGENET, RANDOM (or None), or a local file (ResNet) or folder (Swin) of ImageNet weights. A backbone
            without ImageNet weights starts at random.
        seed: Seed of random weights.

    Raises:
        InputError: The weights cannot be loaded.
    """
    backbone = BACKBONES[name]
    wanted = None if weights in (None, RANDOM) or not backbone.has_weights else weights
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return _module(name).build(wanted, **backbone.values)
        except (OSError, RuntimeError, ValueError) as error:
            if wanted is None:
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"backbone {name}: ImageNet weights {wanted!r} cannot be loaded ({reason}). Connect to the internet "
                "once to download them, or set pretrain.backbone_weights to a local file (ResNet) or folder (Swin)."
            ) from None


def blocks_of(name: str, backbone: nn.Module) -> list[nn.Module]:
    """The modules of a built backbone whose activations can be recomputed."""
    found: list[nn.Module] = _module(name).blocks(backbone)
    return found


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{BACKBONES[name].module}")
