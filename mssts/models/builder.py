"""The whole model as nested constructor calls; the only place where the switches of the config are read."""

from __future__ import annotations

import torch
from torch import nn

from mssts.config import ModelSection, MsStsSection
from mssts.core.errors import InputError
from mssts.models.backbones import BACKBONES, build_backbone
from mssts.models.decoder import Decoder, DecoderLayer
from mssts.models.deformable_attention import DeformableAttention
from mssts.models.encoder import DeformableBranch, Encoder, EncoderLayer
from mssts.models.heads import BoxHead, ClassHead, MaskParameterHead
from mssts.models.initialisation import initialise
from mssts.models.input_projection import InputProjection
from mssts.models.layers import FeedForward, SelfAttention
from mssts.models.mask_features import MaskFeatures
from mssts.models.model import MsStsVis
from mssts.models.ms_sts import InterScaleAttention, IntraScaleAttention, MsSts, OwnFrame, WholeClip
from mssts.models.position import TokenGeometry
from mssts.models.temporal import TemporalAttention


def build_model(
    config: ModelSection,
    backbone: str,
    classes: int,
    generator: torch.Generator | None = None,
    backbone_weights: str | None = None,
) -> MsStsVis:
    """The model of a config, with start values drawn from the generator (without one: from seed 0).

    classes: K. backbone_weights: see `build_backbone`.
    The same generator state gives the same start values to all parameters that two variants share.
    Raises InputError for an unknown backbone or sizes that do not go together.
    """
    _check(config, backbone)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
    channels, dropout = config.hidden_dim, config.dropout

    with torch.random.fork_rng(devices=[]):  # constructors draw values that are replaced below
        model = MsStsVis(
            backbone=build_backbone(backbone, backbone_weights, seed),
            input_projection=InputProjection(BACKBONES[backbone].channels, channels, config.levels),
            geometry=TokenGeometry(config.levels, channels),
            encoder=Encoder(
                [
                    EncoderLayer(
                        branches=nn.ModuleDict(
                            {
                                "deformable": DeformableBranch(
                                    DeformableAttention(channels, config.heads, config.levels, config.points),
                                    nn.Linear(channels, channels),
                                )
                            }
                            | _ms_sts(config.encoder.ms_sts, channels, dropout)
                        ),
                        feed_forward=FeedForward(channels, config.feedforward_dim, dropout),
                        channels=channels,
                        dropout=dropout,
                    )
                    for _ in range(config.encoder.layers)
                ]
            ),
            decoder=Decoder(
                [
                    DecoderLayer(
                        instance_self_attention=SelfAttention(channels, config.heads, dropout),
                        box_self_attention=SelfAttention(channels, config.heads, dropout),
                        temporal=TemporalAttention(
                            channels, config.decoder.temporal.width, config.decoder.temporal.heads
                        )
                        if config.decoder.temporal.enabled
                        else nn.Identity(),
                        cross_attention=DeformableAttention(channels, config.heads, config.levels, config.points),
                        instance_feed_forward=FeedForward(channels, config.feedforward_dim, dropout),
                        box_feed_forward=FeedForward(channels, config.feedforward_dim, dropout),
                        channels=channels,
                        dropout=dropout,
                    )
                    for _ in range(config.decoder.layers)
                ],
                box_heads=[BoxHead(channels) for _ in range(config.decoder.layers)],
                queries=config.queries,
                channels=channels,
            ),
            class_heads=[ClassHead(channels, classes) for _ in range(config.decoder.layers)],
            mask_parameter_head=MaskParameterHead(channels, config.mask_dim),
            mask_features=MaskFeatures(channels, config.mask_dim),
        )
    initialise(model, seed, skip="backbone")
    return model


def _ms_sts(config: MsStsSection, channels: int, dropout: float) -> dict[str, MsSts]:
    """The branch that the variant adds to an encoder layer: one or none."""
    if not config.enabled:
        return {}
    stages = {
        "intra_scale": IntraScaleAttention(
            config.width, config.heads, FeedForward(config.width, config.feedforward_dim, dropout), dropout
        ),
        "inter_scale": InterScaleAttention(
            config.width, config.heads, FeedForward(config.width, config.feedforward_dim, dropout), dropout
        ),
    }
    module = MsSts(
        channels,
        config.width,
        reach=OwnFrame() if config.own_frame_only else WholeClip(),
        stages={name: stage for name, stage in stages.items() if getattr(config, name)},
    )
    return {"ms_sts": module}


def _check(config: ModelSection, backbone: str) -> None:
    if backbone not in BACKBONES:
        raise InputError(f"backbone: found {backbone!r}, expected one of {', '.join(BACKBONES)}")
    if config.levels < 3:
        raise InputError(f"model.levels: found {config.levels}, expected 3 (strides 8, 16, 32) or more")
    if config.hidden_dim % 4:
        raise InputError(f"model.hidden_dim: found {config.hidden_dim}, expected a multiple of 4 for the sine codes")
    ms_sts, temporal = config.encoder.ms_sts, config.decoder.temporal
    for key, width, heads in (
        ("model.hidden_dim", config.hidden_dim, config.heads),
        ("model.encoder.ms_sts.width", ms_sts.width, ms_sts.heads),
        ("model.decoder.temporal.width", temporal.width, temporal.heads),
    ):
        if width % heads:
            raise InputError(f"{key}: found {width}, expected a multiple of its {heads} heads")
    if ms_sts.enabled and not (ms_sts.intra_scale or ms_sts.inter_scale):
        raise InputError("model.encoder.ms_sts: intra_scale and inter_scale are both off; set enabled to false instead")
