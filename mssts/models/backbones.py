"""Backbones: images in, features at strides 8, 16 and 32 out. A new one is one entry in BACKBONES.

Its name is also one of `mssts.config.Backbone`, which imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.ops import Conv2dNormActivation

from mssts.config import IMAGENET, RANDOM
from mssts.core.errors import InputError

if TYPE_CHECKING:
    from transformers import SwinBackbone


@dataclass(frozen=True)
class Backbone:
    """How to build a backbone.

    Attributes:
        channels: Channels of its outputs at strides 8, 16 and 32.
        build: Makes the module, which maps images (F, 3, H, W) to three feature maps, from weights: IMAGENET (through
            the library, which downloads them), a local file or folder of them, or None for random ones.
        has_weights: Whether there are ImageNet weights.
        blocks: Modules of a built one whose activations can be recomputed. None has batch norm that is trained, whose
            statistics would count each batch twice.
    """

    channels: tuple[int, int, int]
    build: Callable[[str | None], nn.Module]
    has_weights: bool = True
    blocks: Callable[[Any], list[nn.Module]] = lambda _: []


class Tiny(nn.Module):
    """For small frames: a stem and four residual blocks that halve the resolution, with trained batch norm [ours]."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = Conv2dNormActivation(3, widths[0], 3, stride=2)
        self.blocks = nn.ModuleList(
            BasicBlock(i, o, 2, Conv2dNormActivation(i, o, 1, stride=2, activation_layer=None))
            for i, o in pairwise(widths)
        )
        self.to(memory_format=torch.channels_last)  # a third faster on a CPU

    def forward(self, images_F3HW: Tensor) -> list[Tensor]:
        """(F, 3, H, W) -> three feature maps."""
        features = self.stem(images_F3HW.contiguous(memory_format=torch.channels_last))
        maps = []
        for block in self.blocks:
            features = block(features)
            maps.append(features)
        return maps[1:]


def resnet(name: str, weights: str | None) -> nn.Module:
    """ResNet with batch norm, stem and first stage frozen; first ImageNet weights of torchvision [code]."""
    model = timm.create_model(
        f"{name}.tv_in1k", pretrained=weights == IMAGENET, features_only=True, out_indices=(2, 3, 4)
    )
    if weights not in (None, IMAGENET):  # timm itself would leave what the file lacks at random
        missing, unexpected = model.load_state_dict(timm.models.load_state_dict(weights), strict=False)
        classifier = f"{timm.get_pretrained_cfg_value(f'{name}.tv_in1k', 'classifier')}."
        _require_none([], missing, [key for key in unexpected if not key.startswith(classifier)])
    model = freeze_batch_norm_2d(model)
    model["conv1"].requires_grad_(False)
    model["layer1"].requires_grad_(False)
    return model


def resnet_blocks(model: Any) -> list[nn.Module]:
    """Blocks of the stages of a ResNet that are trained."""
    return [block for name in ("layer2", "layer3", "layer4") for block in model[name].children()]


class SwinFeatures(nn.Module):
    """Swin of transformers, which pads before it rolls as the public one does, with a norm on each output."""

    def __init__(self, swin: SwinBackbone) -> None:
        super().__init__()
        self.swin = swin
        self.swin.swin.add_module("layernorm", nn.Identity())  # it acts on nothing that is returned

    def forward(self, images_F3HW: Tensor) -> list[Tensor]:
        """(F, 3, H, W) -> three feature maps."""
        return list(self.swin(images_F3HW).feature_maps)

    def blocks(self) -> list[nn.Module]:
        """Transformer blocks of all stages."""
        stages: Any = self.swin.swin.encoder.layers
        return [block for stage in stages for block in stage.blocks]


def swin(sizes: dict[str, Any], public: str, weights: str | None) -> nn.Module:
    """Swin with nothing frozen.

    Args:
        sizes: What tells it from other Swins, as keyword arguments of `SwinConfig`.
        public: Name of the ImageNet weights at Hugging Face.
        weights: IMAGENET, a local folder, or None.

    Raises:
        ValueError: The weights are those of another Swin.
    """
    from transformers import SwinBackbone, SwinConfig  # only here: it takes a quarter of a second

    config = SwinConfig(**sizes, drop_path_rate=0.3)
    config.out_indices = [2, 3, 4]
    if not weights:
        return SwinFeatures(SwinBackbone(config))
    loaded: Any = SwinBackbone.from_pretrained(
        public if weights == IMAGENET else weights,
        out_indices=config.out_indices,
        drop_path_rate=0.3,
        output_loading_info=True,
    )
    model, info = loaded
    own = {f"hidden_states_norms.{key}" for key in model.hidden_states_norms.state_dict()}  # ImageNet has none
    different = [key for key, value in sizes.items() if getattr(model.config, key) != value]
    _require_none(different, [key for key in info["missing_keys"] if key not in own], [])
    return SwinFeatures(model)


def _require_none(different: list[str], missing: list[str], unexpected: list[str]) -> None:
    """Raise ValueError if weights of another architecture were loaded: what they lack would stay random."""
    kinds = {"different sizes": different, "weights missing": missing, "weights left over": unexpected}
    if found := [f"{len(keys)} {kind} ({', '.join(keys[:2])})" for kind, keys in kinds.items() if keys]:
        raise ValueError(f"those of another architecture: {', '.join(found)}")


SWIN_L = {"image_size": 384, "embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "window_size": 12}
BACKBONES: dict[str, Backbone] = {
    "tiny": Backbone((48, 64, 96), lambda weights: Tiny((16, 24, 48, 64, 96)), has_weights=False),
    "resnet50": Backbone((512, 1024, 2048), partial(resnet, "resnet50"), blocks=resnet_blocks),
    "resnet101": Backbone((512, 1024, 2048), partial(resnet, "resnet101"), blocks=resnet_blocks),
    # [code] ImageNet-22k weights, whose local copy is a folder
    "swin_l": Backbone(
        (384, 768, 1536),
        partial(swin, SWIN_L, "microsoft/swin-large-patch4-window12-384-in22k"),
        blocks=SwinFeatures.blocks,
    ),
}


def build_backbone(name: str, weights: str | None, seed: int) -> nn.Module:
    """A backbone by name. Random weights are a function of the seed; the global generator is left unchanged.

    Args:
        name: Name in `BACKBONES`.
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
            return backbone.build(wanted)
        except (OSError, RuntimeError, ValueError) as error:
            if wanted is None:
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"backbone {name}: ImageNet weights {wanted!r} cannot be loaded ({reason}). Connect to the internet "
                "once to download them, or set pretrain.backbone_weights to a local file (ResNet) or folder (Swin)."
            ) from None
