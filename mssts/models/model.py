"""The whole network: frames in, classes, boxes and mask parameters of each query out.

Legend: B clips, T frames, S tokens of a frame over L levels, C channels, N queries, K classes, P mask parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mssts.core.errors import InputError
from mssts.models.decoder import Decoder
from mssts.models.encoder import Encoder
from mssts.models.input_projection import InputProjection
from mssts.models.mask_features import MaskFeatures
from mssts.models.position import TokenGeometry
from mssts.ops.masks import double_aligned, dynamic_masks

MASK_STRIDE = 8  # of the mask features [code]


@dataclass
class LayerOutput:
    """What one decoder layer says.

    logits_BNK: class logits. boxes_BTN4: (cx, cy, w, h) relative to the unpadded frame.
    mask_parameters_BNP: weights, then biases of the dynamic convolutions.
    references_BTN2: x, y of the reference points that entered the layer, relative to the unpadded frame.
    """

    logits_BNK: Tensor
    boxes_BTN4: Tensor
    mask_parameters_BNP: Tensor
    references_BTN2: Tensor


@dataclass
class Output:
    """What the model says of a batch of clips.

    layers: one per decoder layer, the last is the result.
    mask_features_BTCHW: at stride 8 of the padded input.
    memory: encoder output of each level, (B, T, C, H_l, W_l).
    sizes_B2: width and height in pixels of the unpadded frames.
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
        """Mask logits of chosen instances of one clip: queries (n,) int64 -> (n, T, 2*H_8, 2*W_8).

        The grid is at stride 4 of the padded input (H/4, W/4 where 8 divides the input's size). Nothing is computed for
        queries that are not chosen.
        """
        said = self.layers[layer]
        centres_Tn2 = said.references_BTN2[clip][:, queries] * self.sizes_B2[clip]
        parameters_nP = said.mask_parameters_BNP[clip, queries]
        logits = dynamic_masks(self.mask_features_BTCHW[clip], centres_Tn2, parameters_nP, MASK_STRIDE)
        return double_aligned(logits)


class MsStsVis(nn.Module):
    """Video instance segmentation of whole clips: SeqFormer [code], with the modules that the builder put into it."""

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

    def forward(self, frames_BT3HW: Tensor, padding_mask: Tensor | None = None) -> Output:
        """Run the network on clips of any length and size; nothing is padded inside.

        frames_BT3HW: float32, normalised. padding_mask: (B, T, H, W) bool, True where padded (right and bottom); the
        frames of a clip share one size, so that the first frame's mask counts for all.
        Raises InputError when frames are not (B, T, 3, H, W) or the mask does not fit them.
        """
        _check(frames_BT3HW, padding_mask)
        clips = frames_BT3HW.shape[:2]
        padding_BHW = _first_padding(padding_mask)

        features = self.backbone(frames_BT3HW.flatten(0, 1))
        levels = [level.unflatten(0, clips) for level in self.input_projection(features)]
        places = self.geometry(tuple(level.shape[-2:] for level in levels), padding_BHW)
        memory_BTSC = self.encoder(torch.cat([level.flatten(3) for level in levels], 3).transpose(2, 3), places)
        memory = tuple(
            level.transpose(2, 3).unflatten(3, shape)
            for level, shape in zip(memory_BTSC.split(places.level_sizes, 2), places.shapes, strict=True)
        )
        mask_features = self.mask_features(tuple(level.flatten(0, 1) for level in memory[:3])).unflatten(0, clips)
        decoded = self.decoder(memory_BTSC, places)
        return Output(
            layers=tuple(
                LayerOutput(class_head(instances), boxes, self.mask_parameter_head(instances), references)
                for class_head, (instances, boxes, references) in zip(self.class_heads, decoded, strict=True)
            ),
            mask_features_BTCHW=mask_features,
            memory=memory,
            sizes_B2=_sizes(frames_BT3HW, padding_BHW),
        )


def count_parameters(model: nn.Module) -> int:
    """Numbers in the model that are learned or could be, frozen weights included and buffers not."""
    return sum(parameter.numel() for parameter in model.parameters())


def _check(frames: Tensor, padding: Tensor | None) -> None:
    if frames.ndim != 5 or frames.shape[2] != 3 or not frames.numel():
        raise InputError(f"frames: found shape {tuple(frames.shape)}, expected (clips, frames, 3, height, width)")
    expected = (*frames.shape[:2], *frames.shape[3:])
    if padding is not None and tuple(padding.shape) != expected:
        raise InputError(f"padding mask: found shape {tuple(padding.shape)}, expected {expected} to fit the frames")


def _first_padding(padding_BTHW: Tensor | None) -> Tensor | None:
    """Padding of the first frames; None if nothing is padded, which gives the same result sooner."""
    return padding_BTHW[:, 0] if padding_BTHW is not None and bool(padding_BTHW.any()) else None


def _sizes(frames: Tensor, padding_BHW: Tensor | None) -> Tensor:
    """Unpadded width and height of each clip, (B, 2) float."""
    B, _, _, H, W = frames.shape
    if padding_BHW is None:
        return frames.new_tensor([[W, H]]).expand(B, 2)
    return torch.stack([(~padding_BHW[:, 0]).sum(1), (~padding_BHW[:, :, 0]).sum(1)], -1).to(frames.dtype)
