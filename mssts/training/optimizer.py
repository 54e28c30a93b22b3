"""Parameter groups and learning-rate schedule of a training stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from mssts.config import OptimisationSection
from mssts.models import MsStsVis


@runtime_checkable
class HasReferenceProjections(Protocol):
    """A module with layers that predict where attention samples; they have a learning rate of their own."""

    def reference_projections(self) -> list[nn.Module]:
        """Return these layers."""


def build_optimizer(model: MsStsVis, config: OptimisationSection) -> torch.optim.AdamW:
    """Build AdamW with the three learning rates of the public code [code].

    The groups are the backbone, the reference projections that modules declare (see `HasReferenceProjections`), and all
    other parameters, each in the order of `model.named_parameters()` and as one tensor (see `flattened`). The model is
    on its device already, and in its precision.
    """
    declaring = [module for module in model.modules() if isinstance(module, HasReferenceProjections)]
    references = {p for module in declaring for layer in module.reference_projections() for p in layer.parameters()}
    backbone = set(model.backbone.parameters())
    rates = (config.backbone_learning_rate, config.learning_rate * config.reference_rate_factor, config.learning_rate)
    groups: list[list[nn.Parameter]] = [[], [], []]
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[0 if parameter in backbone else 1 if parameter in references else 2].append(parameter)
    return torch.optim.AdamW(
        [{"params": [flattened(group)], "lr": rate} for group, rate in zip(groups, rates, strict=True) if group],
        weight_decay=config.weight_decay,
        fused=True,
    )


def flattened(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Move parameters into one vector, of which they become views, and their gradients into its gradient.

    A step then takes a few operations on all parameters together, instead of a few for each. The gradient is zero, and
    stays where it is: `zero_grad` must be told not to replace it by None.
    """
    vector = nn.Parameter(torch.cat([_vector(parameter.detach()) for parameter in parameters]))
    vector.grad = torch.zeros_like(vector)
    start = 0
    for parameter in parameters:
        place = parameter.shape, parameter.stride(), start  # the strides of channels-last convolutions are kept
        parameter.data = vector.detach().as_strided(*place)
        parameter.grad = vector.grad.as_strided(*place)
        start += parameter.numel()
    return vector


def _vector(values: torch.Tensor) -> torch.Tensor:
    """The values in the order in which they lie in memory."""
    return values.as_strided((values.numel(),), (1,))


def rate_factor(step: int, steps: int, config: OptimisationSection) -> float:
    """Return the factor on every learning rate: a linear warm-up, then drops or a cosine to 0.

    Args:
        step: Optimizer step, from 0.
        steps: Optimizer steps of the stage.
        config: Optimisation of the stage.
    """
    warmup_steps = round(config.warmup_fraction * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if config.schedule == "cosine":
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * progress))
    # Differs: public SeqFormer drops the rate after whole epochs; here the drops are at fractions of the steps.
    return 0.1 ** sum(step >= round(fraction * steps) for fraction in config.drop_fractions)
