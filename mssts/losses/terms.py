"""The built-in loss terms [code].

A term is the sum of a loss over the matched pairs, for each decoder layer. The criterion divides it by the number of
instances and weighs it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from mssts.config import LossSection
from mssts.losses.matched import Matched
from mssts.ops.boxes import cxcywh_to_xyxy, generalized_iou


def focal(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Sigmoid focal loss of every element [code].

    Args:
        logits: Any shape.
        targets: 0 or 1, in the shape and dtype of the logits.
        alpha: Weight of the ones; zeros weigh 1 - alpha.
        gamma: Exponent of the focus on errors.

    Returns:
        The unreduced loss, in the shape of the logits.
    """
    against = logits * (1 - 2 * targets)  # logit of the wrong answer
    weights = (1 - alpha) + (2 * alpha - 1) * targets
    return weights * F.softplus(against) * against.sigmoid() ** gamma


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss 1 - (2 |p y| + 1) / (|p| + |y| + 1) over the last dimension [code]: (..., M) -> (...)."""
    probabilities = logits.sigmoid()
    intersection = (probabilities * targets).sum(-1)
    return 1 - (2 * intersection + 1) / (probabilities.sum(-1) + targets.sum(-1) + 1)


def class_term(config: LossSection, matched: Matched) -> Tensor:
    """Focal loss of all queries and classes, (L,)."""
    return focal(*matched.classes, config.focal_alpha, config.focal_gamma).flatten(1).sum(1)


def l1_term(config: LossSection, matched: Matched) -> Tensor:
    """L1 distance of the boxes, mean over frames, (L,)."""
    boxes_LPT4, targets_LPT4 = matched.boxes
    return (boxes_LPT4 - targets_LPT4).abs().sum(-1).flatten(1).sum(1) / boxes_LPT4.shape[2]


def giou_term(config: LossSection, matched: Matched) -> Tensor:
    """1 - generalised IoU of the boxes, mean over frames, (L,)."""
    boxes_LPT4, targets_LPT4 = matched.boxes
    overlaps_LPT = generalized_iou(cxcywh_to_xyxy(boxes_LPT4), cxcywh_to_xyxy(targets_LPT4))
    return (1 - overlaps_LPT).flatten(1).sum(1) / boxes_LPT4.shape[2]


def mask_term(config: LossSection, matched: Matched) -> Tensor:
    """Focal loss of the masks, mean over pixels, (L,)."""
    return matched.by_layer(focal(*matched.masks, config.focal_alpha, config.focal_gamma).mean(1))


def dice_term(config: LossSection, matched: Matched) -> Tensor:
    """Dice loss of the masks, (L,)."""
    return matched.by_layer(dice(*matched.masks))


BUILT_IN: dict[str, Callable[[LossSection, Matched], Tensor]] = {
    "class": class_term,
    "l1": l1_term,
    "giou": giou_term,
    "mask": mask_term,
    "dice": dice_term,
}
"""Terms by name; the weight of each is the key of that name in `loss.weights`."""
