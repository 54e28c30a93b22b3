"""The backbones by name: a new one is one entry here. Imports no torch.

`mssts.models.backbones` has the modules that build them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """What builds a backbone.

    Attributes:
        module: Name of the module in `mssts.models.backbones`.
        channels: Channels of its outputs at strides 8, 16 and 32.
        values: Keyword arguments of the module's function `build`.
        has_weights: Whether there are ImageNet weights.
    """

    module: str
    channels: tuple[int, int, int]
    values: Mapping[str, Any]
    has_weights: bool = True


BACKBONES = {
    "tiny": Backbone("tiny", (48, 64, 96), {"widths": (16, 24, 48, 64, 96)}, has_weights=False),
    "resnet50": Backbone("resnet", (512, 1024, 2048), {"name": "resnet50"}),
    "resnet101": Backbone("resnet", (512, 1024, 2048), {"name": "resnet101"}),
    "swin_l": Backbone(
        "swin",
        (384, 768, 1536),
        {
            "public": "microsoft/swin-large-patch4-window12-384-in22k",  # [code] a local copy of it is a folder
            "image_size": 384,
            "embed_dim": 192,
            "depths": [2, 2, 18, 2],
            "num_heads": [6, 12, 24, 48],
            "window_size": 12,
        },
    ),
}
