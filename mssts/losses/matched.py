"""What loss terms compare: the predictions of the matched queries and their targets.

Shape letters as in `mssts.losses.matcher`; h, w: mask size at stride 4 of the padded frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mssts.core.errors import InputError
from mssts.core.records import Batch
from mssts.losses.matcher import Matches
from mssts.models import Output
from mssts.ops.precision import in_full_precision

MASK_LOSS_STRIDE = 4  # pixels
SAMPLES = slice(MASK_LOSS_STRIDE // 2, None, MASK_LOSS_STRIDE)  # rows and columns of masks at that stride [code]


class Matched:
    """Predictions of the matched queries and their targets, in full precision.

    Args:
        output: Output of the model.
        batch: The clips and their ground truth.
        matches: Which query is responsible for which instance.

    Attributes:
        output: As given.
        batch: As given.
        matches: As given.
        classes: Class logits of all queries and their targets, 0 or 1: (L, B, N, K) both.
        boxes: Boxes of the matched queries and of their instances: (L, P, T, 4) both, (cx, cy, w, h) relative to the
            frame. The box of an instance is (1e-6, 1e-6, 1e-6, 1e-6) in a frame from which it is absent.
        masks: Mask logits of the matched queries and masks of their instances, 0 or 1: (L * P, T * h * w) both.

    Raises:
        InputError: The padded frames are no multiple of 8.
    """

    def __init__(self, output: Output, batch: Batch, matches: Matches) -> None:
        self.output, self.batch, self.matches = output, batch, matches
        self._layers_L1 = torch.arange(len(output.layers), device=matches.clips_P.device)[:, None]
        self.classes = self._classes()
        self.boxes = self._boxes()
        self.masks = self._masks()

    def by_layer(self, values: Tensor) -> Tensor:
        """Sum over the pairs of each layer, (L * P,) or (L, P) -> (L,)."""
        return values.view(self.matches.queries_LP.shape).sum(1)

    def _classes(self) -> tuple[Tensor, Tensor]:
        matches = self.matches
        logits_LBNK = in_full_precision(torch.stack([layer.logits_BNK for layer in self.output.layers]))
        labels = torch.cat([instances.labels_N for instances in self.batch.instances])
        targets_LBNK = torch.zeros_like(logits_LBNK)
        targets_LBNK[self._layers_L1, matches.clips_P, matches.queries_LP, labels[matches.targets_LP]] = 1
        return logits_LBNK, targets_LBNK

    def _boxes(self) -> tuple[Tensor, Tensor]:
        matches = self.matches
        boxes_LBTN4 = in_full_precision(torch.stack([layer.boxes_BTN4 for layer in self.output.layers]))
        boxes_LPT4 = boxes_LBTN4.transpose(2, 3)[self._layers_L1, matches.clips_P, matches.queries_LP]
        targets = torch.cat([instances.boxes_NT4 for instances in self.batch.instances]).to(boxes_LPT4)
        return boxes_LPT4, targets[matches.targets_LP]

    def _masks(self) -> tuple[Tensor, Tensor]:
        output, matches = self.output, self.matches
        if not sum(matches.counts):  # empty, but connected to the mask head, as distributed training requires
            zero = sum((layer.mask_parameters_BNP.sum() for layer in output.layers), output.mask_features_BTCHW.sum())
            return zero.expand(0, 1), torch.zeros_like(zero).expand(0, 1)
        logits = output.matched_mask_logits(matches.queries_LP, matches.clips_P, matches.counts)
        masks = subsampled_masks(self.batch)
        if masks.shape[-2:] != logits.shape[-2:]:
            padded, true, predicted = (tuple(x.shape[-2:]) for x in (self.batch.frames_BT3HW, masks, logits))
            raise InputError(
                f"batch: frames padded to {padded} pixels give ground-truth masks of {true} but predicted masks of "
                f"{predicted}. Set data.pad_multiple to a multiple of 8, such as 32."
            )
        targets = masks[matches.targets_LP.flatten()].flatten(1).to(in_full_precision(logits))
        return in_full_precision(logits).flatten(1), targets


def subsampled_masks(batch: Batch) -> Tensor:
    """Ground-truth masks of the N instances of all clips, as from `subsampled`: (N, T, h, w) bool."""
    return subsampled(batch, [clip.masks_NTHW for clip in batch.instances])


def subsampled(batch: Batch, masks_NTHW: Sequence[Tensor]) -> Tensor:
    """Masks of all clips, every fourth pixel from offset 2, zero in the padding: (N, T, h, w) [code].

    N counts the masks of all clips.
    """
    height, width = batch.padding_mask_BTHW[..., SAMPLES, SAMPLES].shape[-2:]
    masks = [mask[..., SAMPLES, SAMPLES] for mask in masks_NTHW]
    return torch.cat([F.pad(mask, (0, width - mask.shape[-1], 0, height - mask.shape[-2])) for mask in masks])
