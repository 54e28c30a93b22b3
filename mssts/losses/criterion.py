"""The training loss: a sum of weighted terms, each for every decoder layer."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from mssts.config import LossSection
from mssts.core.errors import InputError
from mssts.core.records import Batch
from mssts.losses.matched import Matched
from mssts.losses.matcher import Matcher, Matches
from mssts.losses.registry import TERMS, LossTerm
from mssts.losses.terms import BUILT_IN
from mssts.models import Output


class Criterion:
    """Matches predictions with ground truth and computes the loss terms.

    Args:
        config: Section `loss`.

    Attributes:
        weights: Weight of each term, by its full name such as "loss_class".

    Raises:
        InputError: A term has no weight, or a registered term is configured wrongly.
    """

    def __init__(self, config: LossSection) -> None:
        self._matcher = Matcher(config)
        built_in = {name: partial(term, config) for name, term in BUILT_IN.items()}
        terms: dict[str, LossTerm] = built_in | TERMS.build(config.terms, config)
        weights = config.weights.model_dump(by_alias=True)
        weights |= {name: getattr(section, "weight", None) for name, section in TERMS.sections(config.terms).items()}
        for name in terms:
            if weights.get(name) is None:
                key = f"loss.weights.{name}" if name in BUILT_IN else f"loss.terms.{name}.weight"
                raise InputError(f"configuration: {key}: missing; the loss term {name!r} needs a weight")
        self._terms = {f"loss_{name}": term for name, term in terms.items()}
        self.weights = {f"loss_{name}": weights[name] for name in terms}

    def __call__(self, output: Output, batch: Batch, num_boxes: float) -> tuple[dict[str, Tensor], Matches]:
        """Unweighted terms of a batch: `costs`, a copy to the host, `assign` and `terms`.

        Returns:
            As `terms`, and the matches that they were computed from.

        Raises:
            InputError: As `assign` and `terms`.
        """
        matches = self._matcher(output, batch)
        return self.terms(output, batch, matches, num_boxes), matches

    def costs(self, output: Output, batch: Batch) -> Tensor:
        """Matching costs without gradient, see `Matcher.costs`: (L, B, N, M), on the device of the output."""
        return self._matcher.costs(output, batch)

    def assign(self, costs_LBNM: np.ndarray, output: Output, batch: Batch) -> Matches:
        """Solve the assignment problems on the host, see `Matcher.assign`.

        Raises:
            InputError: A cost is not finite.
        """
        return self._matcher.assign(costs_LBNM, output, batch)

    def terms(self, output: Output, batch: Batch, matches: Matches, num_boxes: float | Tensor) -> dict[str, Tensor]:
        """Unweighted terms of a batch that has been matched. The host waits for no result of the device.

        Args:
            output: Output of the model.
            batch: The clips and their ground truth.
            matches: Which query is responsible for which instance.
            num_boxes: Divisor of every term: the matched instances of the whole step.

        Returns:
            Terms by full name: for each of the L decoder layers, the last of which is the final one, a value with
            gradient, (L,).

        Raises:
            InputError: The frames are padded to no multiple of 8, or a registered term has another shape.
        """
        matched = Matched(output, batch, matches)
        terms = {name: term(matched) for name, term in self._terms.items()}
        for name, values_L in terms.items():
            if values_L.shape != (len(output.layers),):
                expected = f"({len(output.layers)},): one value per decoder layer"
                raise InputError(f"loss term {name}: found shape {tuple(values_L.shape)}, expected {expected}")
        values_KL = torch.stack(list(terms.values())) / num_boxes
        return dict(zip(terms, values_KL.unbind(), strict=True))

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Weighted sum of the terms over all layers: a scalar."""
        return torch.stack([self.weights[name] * values_L for name, values_L in terms.items()]).sum()
