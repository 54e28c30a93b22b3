"""Box arithmetic: centre form (cx, cy, w, h) and corner form (x1, y1, x2, y2), in any unit."""

from __future__ import annotations

import torch
from torch import Tensor

LOGIT_EPSILON = 1e-5  # [code] lower bound of x and 1 - x before the logarithm


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Corner form of boxes in centre form, (..., 4) -> (..., 4)."""
    centre, size = boxes.chunk(2, -1)
    half = size / 2
    return torch.cat([centre - half, centre + half], -1)


def generalized_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Generalised IoU of boxes in corner form.

    Args:
        boxes_a: (..., 4). For all pairs of N and M boxes over the same T frames, pass (N, 1, T, 4).
        boxes_b: (..., 4), broadcast against `boxes_a`; for all pairs, (1, M, T, 4).

    Returns:
        (...), in [-1, 1].
    """
    (first_a, last_a), (first_b, last_b) = boxes_a.chunk(2, -1), boxes_b.chunk(2, -1)
    intersection = _area((torch.minimum(last_a, last_b) - torch.maximum(first_a, first_b)).clamp(min=0))
    union = _area(last_a - first_a) + _area(last_b - first_b) - intersection
    hull = _area((torch.maximum(last_a, last_b) - torch.minimum(first_a, first_b)).clamp(min=0))
    # Differs: the public SeqFormer code adds 1e-7 to the area of the hull here.
    return intersection / union - (hull - union) / hull


def _area(sizes: Tensor) -> Tensor:
    width, height = sizes.unbind(-1)
    return width * height


def inverse_sigmoid(probabilities: Tensor) -> Tensor:
    """Logits of probabilities of any shape, finite also at 0 and 1 [code]."""
    inside = probabilities.clamp(0, 1)
    return torch.log(inside.clamp(min=LOGIT_EPSILON) / (1 - inside).clamp(min=LOGIT_EPSILON))
