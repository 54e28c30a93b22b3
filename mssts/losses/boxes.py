"""Boxes relative to the unpadded frame: corners and the generalized intersection over union."""

from __future__ import annotations

import torch


def corners(boxes_cxcywh: torch.Tensor) -> torch.Tensor:
    """Corner form of centre-size boxes: (..., 4) centre x, centre y, width, height -> (..., 4) x0, y0, x1, y1."""
    centres, sizes = boxes_cxcywh.split(2, dim=-1)
    return torch.cat((centres - 0.5 * sizes, centres + 0.5 * sizes), dim=-1)


def generalized_iou(first_xyxy: torch.Tensor, second_xyxy: torch.Tensor) -> torch.Tensor:
    """Generalized IoU, -1..1, element by element of two broadcastable tensors (..., 4) of corners -> (...).

    At least one box of each pair must have an area above zero; ground truth always has (1e-6 wide where absent).
    """
    first_low, first_high = first_xyxy.split(2, dim=-1)
    second_low, second_high = second_xyxy.split(2, dim=-1)
    overlap = (torch.minimum(first_high, second_high) - torch.maximum(first_low, second_low)).clamp(min=0).prod(-1)
    hull = (torch.maximum(first_high, second_high) - torch.minimum(first_low, second_low)).prod(-1)
    union = (first_high - first_low).prod(-1) + (second_high - second_low).prod(-1) - overlap
    return overlap / union - (hull - union) / hull
