"""The training loss of the baseline: five terms, each for every decoder layer [code].

Shape letters as in `mssts.losses.matcher`; h, w: mask size at stride 4 of the padded frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.nn.functional as F

from mssts.config import LossSection
from mssts.core.errors import InputError
from mssts.core.records import Batch
from mssts.losses.matcher import Matcher, Matches, in_full_precision
from mssts.losses.terms import dice, focal
from mssts.ops.boxes import cxcywh_to_xyxy, generalized_iou

if TYPE_CHECKING:
    from mssts.models import Output

MASK_STRIDE = 4


class Criterion:
    """Matches predictions with ground truth and measures the five loss terms.

    config: `loss` section of the configuration. classes: K, the number of class logits.
    """

    def __init__(self, config: LossSection, classes: int):
        self.classes = classes
        self.alpha = config.focal_alpha
        self.gamma = config.focal_gamma
        self.weights = {f"loss_{name}": weight for name, weight in config.weights.model_dump(by_alias=True).items()}
        self.matcher = Matcher(config)
        self.matches: Matches | None = None

    def __call__(self, output: Output, batch: Batch, num_boxes: float | None = None) -> dict[str, torch.Tensor]:
        """The unweighted terms, each a scalar tensor with a gradient.

        num_boxes: divisor of every sum; by default the matched instances, averaged over processes, at least 1.
        The matching stays in `self.matches` until the next call, for the adversary.
        Returns loss_class, loss_l1, loss_giou, loss_mask, loss_dice of the last decoder layer, and the same with
        suffix _0, _1, ... for the layers before it.
        Raises InputError for non-finite costs, or frames padded to no multiple of 8.
        """
        self.matches = matches = self.matcher(output, batch)
        if num_boxes is None:
            num_boxes = mean_num_boxes(matches)
        by_layer = {
            "loss_class": self._class(output, batch, matches),
            **_boxes(output, batch, matches),
            **self._masks(output, batch, matches),
        }
        last = len(output.layers) - 1
        return {
            name if layer == last else f"{name}_{layer}": value
            for name, values_L in by_layer.items()
            for layer, value in enumerate((values_L / num_boxes).unbind())
        }

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Weighted sum of the terms of `__call__`, auxiliary layers weighing as much as the last: a scalar tensor."""
        return sum(self.weights["_".join(name.split("_")[:2])] * value for name, value in terms.items())

    def _class(self, output: Output, batch: Batch, matches: Matches) -> torch.Tensor:
        logits_LBNK = in_full_precision(torch.stack([layer.logits_BNK for layer in output.layers]))
        labels = torch.cat([instances.labels_N for instances in batch.instances])
        targets_LBNK = torch.zeros_like(logits_LBNK)
        layers_L1 = torch.arange(len(logits_LBNK), device=labels.device)[:, None]
        targets_LBNK[layers_L1, matches.clips_P, matches.queries_LP, labels[matches.targets_LP]] = 1
        return focal(logits_LBNK, targets_LBNK, self.alpha, self.gamma).flatten(1).sum(1)

    def _masks(self, output: Output, batch: Batch, matches: Matches) -> dict[str, torch.Tensor]:
        layers = len(output.layers)
        if not sum(matches.counts):  # zeros that still reach the mask head, as distributed training wants
            zeros_L = torch.stack([0 * layer.mask_parameters_BNP.sum() for layer in output.layers])
            zeros_L = zeros_L + 0 * output.mask_features_BTCHW.sum()
            return {"loss_mask": zeros_L, "loss_dice": zeros_L}
        logits = torch.cat(
            [
                output.mask_logits(layer, clip, matches.queries(layer, clip))
                for layer in range(layers)
                for clip, count in enumerate(matches.counts)
                if count
            ]
        )
        masks = subsampled_masks(batch)
        _check_size(masks, logits, batch)
        targets = masks[matches.targets_LP.flatten()].flatten(1).to(in_full_precision(logits))
        logits = in_full_precision(logits).flatten(1)
        losses = {
            "loss_mask": focal(logits, targets, self.alpha, self.gamma).mean(1),
            "loss_dice": dice(logits, targets),
        }
        return {name: values.view(layers, -1).sum(1) for name, values in losses.items()}


def _boxes(output: Output, batch: Batch, matches: Matches) -> dict[str, torch.Tensor]:
    boxes_LBTN4 = in_full_precision(torch.stack([layer.boxes_BTN4 for layer in output.layers]))
    layers_L1 = torch.arange(len(boxes_LBTN4), device=boxes_LBTN4.device)[:, None]
    boxes_LPT4 = boxes_LBTN4.transpose(2, 3)[layers_L1, matches.clips_P, matches.queries_LP]
    targets = torch.cat([instances.boxes_NT4 for instances in batch.instances]).to(boxes_LPT4)
    targets_LPT4 = targets[matches.targets_LP]
    distances_LPT = (boxes_LPT4 - targets_LPT4).abs().sum(-1)
    overlaps_LPT = generalized_iou(cxcywh_to_xyxy(boxes_LPT4), cxcywh_to_xyxy(targets_LPT4))
    frames = boxes_LPT4.shape[2]
    return {
        "loss_l1": distances_LPT.flatten(1).sum(1) / frames,
        "loss_giou": (1 - overlaps_LPT).flatten(1).sum(1) / frames,
    }


def mean_num_boxes(matches: Matches) -> torch.Tensor | float:
    """Matched instances, averaged over the processes of a distributed run, at least 1."""
    # Differs: the public code also counts instances that no query is left for.
    count = float(sum(matches.counts))
    if not (dist.is_available() and dist.is_initialized()):
        return max(count, 1.0)
    total = torch.tensor(count, device=matches.clips_P.device)
    dist.all_reduce(total)
    return (total / dist.get_world_size()).clamp(min=1)


def subsampled_masks(batch: Batch) -> torch.Tensor:
    """All clips' ground-truth masks, every fourth pixel from offset 2, zeros in the padding: (N, T, h, w) bool [code].

    N counts the instances of all clips.
    """
    offset = MASK_STRIDE // 2
    height, width = (len(range(offset, length, MASK_STRIDE)) for length in batch.frames_BT3HW.shape[-2:])
    masks = [clip.masks_NTHW[..., offset::MASK_STRIDE, offset::MASK_STRIDE] for clip in batch.instances]
    return torch.cat([F.pad(mask, (0, width - mask.shape[-1], 0, height - mask.shape[-2])) for mask in masks])


def _check_size(masks_NThw: torch.Tensor, logits_NThw: torch.Tensor, batch: Batch) -> None:
    if masks_NThw.shape[-2:] != logits_NThw.shape[-2:]:
        raise InputError(
            f"batch: found frames padded to {tuple(batch.frames_BT3HW.shape[-2:])} pixels: their masks at stride "
            f"{MASK_STRIDE} are {tuple(masks_NThw.shape[-2:])}, the predicted ones {tuple(logits_NThw.shape[-2:])}. "
            "Set data.pad_multiple to 32 (at least to a multiple of 8)."
        )
