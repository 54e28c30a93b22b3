"""The whole model as nested constructor calls; the only place that reads the switches of the configuration."""

from __future__ import annotations

import torch
from torch import nn

from mssts.backbones import BACKBONES
from mssts.config import ModelSection, check_backbone
from mssts.models.backbones import build_backbone
from mssts.models.decoder import Decoder, DecoderLayer
from mssts.models.encoder import DeformableBranch, Encoder, EncoderLayer
from mssts.models.heads import ClassHead, MaskParameterHead
from mssts.models.initialisation import initialise
from mssts.models.input_projection import InputProjection
from mssts.models.mask_features import MaskFeatures
from mssts.models.model import MsStsVis
from mssts.models.ms_sts import (
    CascadedInterScaleAttention,
    InterScaleAttention,
    IntraScaleAttention,
    MsSts,
    ScaleAttention,
    TwoWayInterScaleAttention,
)
from mssts.models.position import TokenGeometry
from mssts.models.registry import BLOCKS, BRANCHES
from mssts.models.temporal import TemporalAttention

INTER_SCALE: dict[str, type[ScaleAttention]] = {
    "pairs": InterScaleAttention,
    "two_way": TwoWayInterScaleAttention,
    "cascade": CascadedInterScaleAttention,
}


def build_model(
    config: ModelSection,
    backbone: str,
    classes: int,
    generator: torch.Generator | None = None,
    backbone_weights: str | None = None,
) -> MsStsVis:
    """The model of a configuration, with initial values.

    The same state of the generator gives the same initial values to all parameters that two variants share.

    Args:
        config: Section `model`.
        backbone: Name in `mssts.backbones.BACKBONES`.
        classes: K, the number of class logits.
        generator: Source of the initial values; None: seed 0.
        backbone_weights: See `build_backbone`.

    Raises:
        InputError: An unknown backbone or registered part.
    """
    check_backbone(backbone)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
    channels, temporal = config.hidden_dim, config.decoder.temporal

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for draws in the constructors of registered parts; `initialise` replaces the others
        model = MsStsVis(
            backbone=build_backbone(backbone, backbone_weights, seed),
            input_projection=InputProjection(BACKBONES[backbone].channels, channels, config.levels),
            geometry=TokenGeometry(config.levels, channels),
            encoder=Encoder(
                [
                    EncoderLayer(
                        config,
                        deformable=DeformableBranch(config),
                        additions=_ms_sts(config) | BRANCHES.build(config.encoder.branches, config),
                    )
                    for _ in range(config.encoder.layers)
                ]
            ),
            decoder=Decoder(
                config,
                [
                    DecoderLayer(
                        config,
                        temporal=TemporalAttention(channels, temporal.width, temporal.heads)
                        if temporal.enabled
                        else nn.Identity(),
                        blocks=BLOCKS.build(config.decoder.blocks, config),
                    )
                    for _ in range(config.decoder.layers)
                ],
            ),
            class_heads=[ClassHead(channels, classes) for _ in range(config.decoder.layers)],
            mask_parameter_head=MaskParameterHead(channels, config.mask_dim),
            mask_features=MaskFeatures(channels, config.mask_dim),
        )
        initialise(model, seed, skip="backbone")
    return model


def _ms_sts(model: ModelSection) -> dict[str, nn.Module]:
    """The MS-STS branch of an encoder layer, if it is enabled."""
    config = model.encoder.ms_sts
    if not config.enabled:
        return {}
    stages: dict[str, ScaleAttention] = {}
    if config.intra_scale:
        stages["intra_scale"] = IntraScaleAttention(model)
    if config.inter_scale:
        stages["inter_scale"] = INTER_SCALE[config.inter_scale_form](model)
    return {"ms_sts": MsSts(model.hidden_dim, config.width, config.own_frame_only, stages)}
