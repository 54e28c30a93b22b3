"""The elementary loss terms: focal and dice on logits. Nothing here is normalised by the number of boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def focal(logits: torch.Tensor, targets: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    """Sigmoid focal loss of every element [code].

    logits: any shape. targets: same shape and dtype, 0 or 1. alpha: weight of the ones; zeros weigh 1 - alpha.
    Returns the unreduced loss, in the shape of the logits.
    """
    against = logits * (1 - 2 * targets)  # logit of the wrong answer
    weights = (1 - alpha) + (2 * alpha - 1) * targets
    return weights * F.softplus(against) * against.sigmoid() ** gamma


def dice(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Dice loss 1 - (2 |p y| + 1) / (|p| + |y| + 1) over the last dimension [code]: (..., M) -> (...)."""
    probabilities = logits.sigmoid()
    overlap = (probabilities * targets).sum(-1)
    return 1 - (2 * overlap + 1) / (probabilities.sum(-1) + targets.sum(-1) + 1)
