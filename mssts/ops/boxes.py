"""Box arithmetic: centre form (cx, cy, w, h) and corner form (x1, y1, x2, y2), in any unit."""

from __future__ import annotations

import torch
from torch import Tensor

LOGIT_EPSILON = 1e-5  # [code] lower bound of x and 1 - x before the logarithm


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Corner form of boxes in centre form, (..., 4) -> (..., 4)."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def generalized_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Generalised IoU of boxes in corner form.

    Args:
        boxes_a: (..., 4). For all pairs of N and M boxes over the same T frames, pass (N, 1, T, 4).
        boxes_b: (..., 4), broadcast against `boxes_a`; for all pairs, (1, M, T, 4).

    Returns:
        (...), in [-1, 1].
    """
    top_left = torch.maximum(boxes_a[..., :2], boxes_b[..., :2])
    bottom_right = torch.minimum(boxes_a[..., 2:], boxes_b[..., 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    area_a = (boxes_a[..., 2:] - boxes_a[..., :2]).prod(-1)
    area_b = (boxes_b[..., 2:] - boxes_b[..., :2]).prod(-1)
    union = area_a + area_b - intersection
    hull_first = torch.minimum(boxes_a[..., :2], boxes_b[..., :2])
    hull_last = torch.maximum(boxes_a[..., 2:], boxes_b[..., 2:])
    hull = (hull_last - hull_first).clamp(min=0).prod(-1)
    # Differs: the public SeqFormer code adds 1e-7 to the area of the hull here.
    return intersection / union - (hull - union) / hull


def inverse_sigmoid(probabilities: Tensor) -> Tensor:
    """Logits of probabilities of any shape, finite also at 0 and 1 [code]."""
    inside = probabilities.clamp(0, 1)
    return torch.log(inside.clamp(min=LOGIT_EPSILON) / (1 - inside).clamp(min=LOGIT_EPSILON))
