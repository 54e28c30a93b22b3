"""Swin of transformers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig

from mssts.config import IMAGENET
from mssts.models.backbones.weights import require_none

DROP_PATH_RATE = 0.3  # [code]


class SwinFeatures(nn.Module):
    """Swin of transformers, which pads before it rolls as the public one does, with a norm on each output."""

    def __init__(self, swin: SwinBackbone) -> None:
        super().__init__()
        self.swin = swin
        self.swin.swin.add_module("layernorm", nn.Identity())  # it acts on nothing that is returned

    def forward(self, images_F3HW: Tensor) -> list[Tensor]:
        """(F, 3, H, W) -> three feature maps."""
        return list(self.swin(images_F3HW).feature_maps)


def build(weights: str | None, public: str, **sizes: Any) -> SwinFeatures:
    """Swin with nothing frozen.

    Args:
        weights: IMAGENET, a local folder, or None.
        public: Name of the ImageNet weights at Hugging Face.
        sizes: What tells it from other Swins, as keyword arguments of `SwinConfig`.

    Raises:
        ValueError: The weights are those of another Swin.
    """
    config = SwinConfig(**sizes, drop_path_rate=DROP_PATH_RATE)
    config.out_indices = [2, 3, 4]
    if not weights:
        return SwinFeatures(SwinBackbone(config))
    loaded: Any = SwinBackbone.from_pretrained(
        public if weights == IMAGENET else weights,
        out_indices=config.out_indices,
        drop_path_rate=DROP_PATH_RATE,
        output_loading_info=True,
    )
    model, info = loaded
    own = {f"hidden_states_norms.{key}" for key in model.hidden_states_norms.state_dict()}  # ImageNet has none
    different = [key for key, value in sizes.items() if getattr(model.config, key) != value]
    require_none(different, [key for key in info["missing_keys"] if key not in own], [])
    return SwinFeatures(model)


def blocks(model: SwinFeatures) -> list[nn.Module]:
    """Transformer blocks of all stages."""
    stages: Any = model.swin.swin.encoder.layers
    return [block for stage in stages for block in stage.blocks]
