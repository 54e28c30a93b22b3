"""Parameter groups and learning-rate schedule of a training stage."""

from __future__ import annotations

import math

import torch
from torch import nn

from mssts.config import OptimisationSection

REFERENCE_PROJECTIONS = ("sampling_offsets", "reference_points")


def build_optimizer(model: nn.Module, settings: OptimisationSection) -> torch.optim.AdamW:
    """AdamW with the recipe's three rates: backbone, reference projections, everything else [code]."""
    backbone, references, others = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("backbone."):
            backbone.append(parameter)
        elif any(part in name for part in REFERENCE_PROJECTIONS):
            references.append(parameter)
        else:
            others.append(parameter)
    rates = (
        (backbone, settings.backbone_learning_rate),
        (references, settings.learning_rate * settings.reference_rate_factor),
        (others, settings.learning_rate),
    )
    groups = [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def rate_factor(step: int, settings: OptimisationSection) -> float:
    """Factor on every learning rate at optimiser step `step` (0-based): linear warm-up, then steps or a cosine to 0."""
    warmup_steps = round(settings.warmup_fraction * settings.steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if settings.schedule == "cosine":
        progress = (step - warmup_steps) / max(1, settings.steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * progress))
    # Differs: the public code drops the rate after whole epochs; here they are shares of the steps.
    return 0.1 ** sum(step >= round(fraction * settings.steps) for fraction in settings.drop_fractions)
