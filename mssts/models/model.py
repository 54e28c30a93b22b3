"""The whole network: frames in, classes, boxes and mask parameters of each query out.

Shape letters: B clips, T frames, S tokens of a frame over L levels, C channels, N queries, K classes, P mask
parameters, n chosen instances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssts.core.errors import InputError
from mssts.models.decoder import Decoder
from mssts.models.encoder import Encoder
from mssts.models.input_projection import InputProjection
from mssts.models.mask_features import MaskFeatures
from mssts.models.position import TokenGeometry
from mssts.ops.masks import dynamic_masks, upsample_aligned
from mssts.ops.precision import in_full_precision

MASK_FEATURE_STRIDE = 8  # pixels [code]


@dataclass
class LayerOutput:
    """Output of one decoder layer.

    Attributes:
        logits_BNK: Class logits.
        boxes_BTN4: (cx, cy, w, h) relative to the unpadded frame, in full precision.
        mask_parameters_BNP: Weights, then biases of the dynamic convolutions.
        references_BTN2: x, y of the reference points that entered the layer, relative to the unpadded frame, in full
            precision.
        instances_BNC: Instance queries behind the layer.
    """

    logits_BNK: Tensor
    boxes_BTN4: Tensor
    mask_parameters_BNP: Tensor
    references_BTN2: Tensor
    instances_BNC: Tensor


@dataclass
class Output:
    """Output of the model for a batch of clips.

    Attributes:
        layers: One per decoder layer; the last is the result.
        mask_features_BTCHW: At stride 8 of the padded input.
        memory: Encoder output of each level, (B, T, C, H_l, W_l).
        sizes_B2: Width and height in pixels of the unpadded frames, in full precision.
    """

    layers: tuple[LayerOutput, ...]
    mask_features_BTCHW: Tensor
    memory: tuple[Tensor, ...]
    sizes_B2: Tensor

    @property
    def logits(self) -> Tensor:
        """Class logits of the last layer, (B, N, K)."""
        return self.layers[-1].logits_BNK

    @property
    def boxes(self) -> Tensor:
        """Boxes of the last layer, (B, T, N, 4), (cx, cy, w, h) relative to the unpadded frame."""
        return self.layers[-1].boxes_BTN4

    def mask_logits(self, layer: int, clip: int, queries: Tensor) -> Tensor:
        """Mask logits of chosen instances of one clip. Nothing is computed for the other queries.

        Args:
            layer: Index of the decoder layer.
            clip: Index of the clip in the batch.
            queries: (n,) int64, indices of the queries.

        Returns:
            (n, T, 2*H_8, 2*W_8), at stride 4 of the padded input (H/4, W/4 where 8 divides the size of the input).
        """
        output = self.layers[layer]
        centres_nT2 = output.references_BTN2[clip].transpose(0, 1)[queries] * self.sizes_B2[clip]
        parameters_nP = output.mask_parameters_BNP[clip, queries]
        features_1TCHW = self.mask_features_BTCHW[clip, None]
        return _mask_logits(features_1TCHW, centres_nT2[None], parameters_nP[None], (len(queries),))

    def matched_mask_logits(self, queries_Ln: Tensor, clips_n: Tensor, counts: Sequence[int]) -> Tensor:
        """Mask logits of chosen instances of all clips in all L decoder layers.

        Args:
            queries_Ln: int64, indices of the queries in their clips.
            clips_n: int64, index of the clip of each, ascending.
            counts: How many belong to each clip; they sum to n.

        Returns:
            (L*n, T, 2*H_8, 2*W_8), layer by layer, see `mask_logits`.
        """
        layers_L1 = torch.arange(len(self.layers), device=clips_n.device)[:, None]
        references_LBNT2 = torch.stack([layer.references_BTN2 for layer in self.layers]).transpose(2, 3)
        centres_LnT2 = references_LBNT2[layers_L1, clips_n, queries_Ln] * self.sizes_B2[clips_n, None]
        parameters_LBNP = torch.stack([layer.mask_parameters_BNP for layer in self.layers])
        parameters_LnP = parameters_LBNP[layers_L1, clips_n, queries_Ln]
        return _mask_logits(self.mask_features_BTCHW, centres_LnT2, parameters_LnP, counts)


def _mask_logits(features: Tensor, centres: Tensor, parameters: Tensor, counts: Sequence[int]) -> Tensor:
    return upsample_aligned(dynamic_masks(features, centres, parameters, counts, MASK_FEATURE_STRIDE).flatten(0, 1))


class MsStsVis(nn.Module):
    """Video instance segmentation of whole clips: SeqFormer [code], with the parts that the builder adds to it."""

    def __init__(
        self,
        backbone: nn.Module,
        input_projection: InputProjection,
        geometry: TokenGeometry,
        encoder: Encoder,
        decoder: Decoder,
        class_heads: list[nn.Module],
        mask_parameter_head: nn.Module,
        mask_features: MaskFeatures,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.input_projection = input_projection
        self.geometry = geometry
        self.encoder = encoder
        self.decoder = decoder
        self.class_heads = nn.ModuleList(class_heads)
        self.mask_parameter_head = mask_parameter_head
        self.mask_features = mask_features

    def additions(self) -> list[nn.Module]:
        """Return the modules that the baseline lacks: a variant starts with initial values there."""
        encoder = [module for layer in self.encoder.layers for module in layer.additions()]
        return encoder + [module for layer in self.decoder.layers for module in layer.additions()]

    def forward(self, frames_BT3HW: Tensor, padding_mask: Tensor | None = None) -> Output:
        """Run the network on clips of any length and size. Nothing is padded inside.

        Args:
            frames_BT3HW: Normalised float32 frames.
            padding_mask: (B, T, H, W) bool, True where padded (right and bottom). The frames of a clip have one size,
                so that the mask of the first frame counts for all. None, for clips without padding, is faster than a
                mask that is False everywhere.

        Raises:
            InputError: The frames are not (B, T, 3, H, W), or the mask does not fit them.
        """
        _check(frames_BT3HW, padding_mask)
        clips = frames_BT3HW.shape[:2]
        padding_BHW = None if padding_mask is None else padding_mask[:, 0]

        features = self.backbone(frames_BT3HW.flatten(0, 1))
        levels = [level.unflatten(0, clips) for level in self.input_projection(features)]
        layout = self.geometry(tuple(level.shape[-2:] for level in levels), padding_BHW)
        tokens_BTSC = torch.cat([level.flatten(3).transpose(2, 3) for level in levels], 2).contiguous()
        memory_BTSC = self.encoder(tokens_BTSC, layout)
        memory = tuple(
            level.transpose(2, 3).unflatten(3, shape)
            for level, shape in zip(memory_BTSC.split(layout.level_sizes, 2), layout.shapes, strict=True)
        )
        mask_features = self.mask_features(tuple(level.flatten(0, 1) for level in memory[:3])).unflatten(0, clips)
        instances, boxes, references = zip(*self.decoder(memory_BTSC, layout), strict=True)
        logits = (head(instances_BNC) for head, instances_BNC in zip(self.class_heads, instances, strict=True))
        mask_parameters = self.mask_parameter_head(torch.stack(instances))
        return Output(
            layers=tuple(map(LayerOutput, logits, boxes, mask_parameters, references, instances)),
            mask_features_BTCHW=mask_features,
            memory=memory,
            sizes_B2=_sizes(frames_BT3HW, padding_BHW),
        )


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, frozen ones included and buffers not."""
    return sum(parameter.numel() for parameter in model.parameters())


def _check(frames: Tensor, padding: Tensor | None) -> None:
    if frames.ndim != 5 or frames.shape[2] != 3 or not frames.numel():
        raise InputError(f"frames: found shape {tuple(frames.shape)}, expected (clips, frames, 3, height, width)")
    expected = (*frames.shape[:2], *frames.shape[3:])
    if padding is not None and tuple(padding.shape) != expected:
        raise InputError(f"padding mask: found shape {tuple(padding.shape)}, expected {expected} as the frames have")


def _sizes(frames: Tensor, padding_BHW: Tensor | None) -> Tensor:
    """Unpadded width and height of each clip, (B, 2) float in full precision: bfloat16 frames round a side of 682."""
    B, _, _, H, W = frames.shape
    like = in_full_precision(frames[:0])
    if padding_BHW is None:
        return torch.stack([like.new_full((B,), W), like.new_full((B,), H)], -1)
    return torch.stack([(~padding_BHW[:, 0]).sum(1), (~padding_BHW[:, :, 0]).sum(1)], -1).to(like)
