"""One optimiser step of model and adversary, and the state that a later process needs to go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from mssts.config import Config, OptimisationSection
from mssts.core.distributed import agree
from mssts.core.records import Batch
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import MsStsVis, Output
from mssts.training.failures import Position
from mssts.training.micro_batches import Parts, RunningStatistics, matched_instances, part_seed, recompute_layers
from mssts.training.optimizer import build_optimizer, rate_factor


@dataclass(frozen=True)
class Generators:
    """Independent seeds for everything that draws, from the stage and the run's seed."""

    model: torch.Generator
    adversary: torch.Generator
    clips: int
    dropout: int

    @classmethod
    def of(cls, stage: str, seed: int) -> Generators:
        """stage: "pretrain" or "train". seed: natural number."""
        words = np.random.SeedSequence([int.from_bytes(stage.encode(), "big"), seed]).generate_state(4, np.uint64)
        model, adversary, clips, dropout = (int(word) >> 1 for word in words)
        return cls(torch.Generator().manual_seed(model), torch.Generator().manual_seed(adversary), clips, dropout)


class Trainer:
    """Model, losses and optimisers of one training stage on the devices of `fabric`.

    parts: which clips of a step this device works on. The losses of a step are divided by the instances of the whole
    step, over all parts and devices, so that neither accumulation nor the number of devices changes them.
    """

    def __init__(
        self,
        fabric: Fabric,
        model: MsStsVis,
        config: Config,
        settings: OptimisationSection,
        classes: int,
        parts: Parts,
        generators: Generators,
    ) -> None:
        self.fabric = fabric
        self.model = model
        self.settings = settings
        self.parts = parts
        self._queries = config.model.queries
        self._dropout_seed = generators.dropout
        if config.execution.checkpoint_encoder:
            recompute_layers(model.encoder.layers)
        self._raw_optimizer = build_optimizer(model, settings)
        self._rates = [group["lr"] for group in self._raw_optimizer.param_groups]
        self._network, self._optimizer = fabric.setup(model, self._raw_optimizer)
        self._network.train()
        self._criterion = Criterion(config.loss)
        self._adversary = None
        if config.loss.foreground_background.enabled:
            self._adversary = ForegroundBackgroundAdversary(
                config.loss.foreground_background, config.model.hidden_dim, generators.adversary
            ).to(fabric.device, next(model.parameters()).dtype)
        self._statistics = RunningStatistics(model, fabric, parts)

    def step(self, step: int, batches: list[Batch], position: Position) -> tuple[dict[str, float], float]:
        """Optimiser step number `step` (from 0) on this device's parts: the losses over all devices, learning rate.

        position: told which videos are worked on. Raises NonFinite before anything is changed by a bad loss.
        """
        factor = rate_factor(step, self.settings)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        (instances,) = agree(self.fabric, matched_instances(batches, self._queries))
        num_boxes = max(instances, 1.0) / self.fabric.world_size  # DDP averages the gradients over the devices

        self._optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        with self._statistics.step():
            for first, batch in zip(self.parts.own, batches, strict=True):
                torch.manual_seed(part_seed(self._dropout_seed, step, first))  # dropout draws from the global generator
                position.videos = batch.video_ids
                more_to_come = self.fabric.world_size > 1 and first != self.parts.own[-1]
                with self.fabric.no_backward_sync(self._network, enabled=more_to_come), self._statistics.part():
                    terms = self._accumulate(step, batch.to(self.fabric.device), num_boxes, position)
                for key, value in terms.items():
                    losses[key] = losses.get(key, 0.0) + value
        losses = self._over_devices(losses)

        self.fabric.clip_gradients(self._network, self._optimizer, max_norm=self.settings.gradient_clip_norm)
        self._optimizer.step()
        if self._adversary:
            self._adversary.step()
        return losses, self._rates[-1] * factor

    def _accumulate(self, step: int, batch: Batch, num_boxes: float, position: Position) -> dict[str, float]:
        """Add the gradients of one part; its losses as numbers."""
        share = 1 / len(self.parts.own)
        prediction = self._network(batch.frames_BT3HW, batch.padding_mask_BTHW)
        _check_prediction(prediction, position)
        terms, matches = self._criterion(prediction, batch, num_boxes)
        loss = self._criterion.total(terms)
        shown = {name: values_L[-1] for name, values_L in terms.items()}
        if self._adversary:
            shown["loss_adversary"] = share * self._adversary.generator_loss(batch, prediction, matches, step)
            loss = loss + shown["loss_adversary"]
        self.fabric.backward(loss)
        if self._adversary:
            shown["loss_discriminator"] = self._adversary.discriminator_backward(batch, prediction, matches, share)
        losses = {key: value.detach().item() for key, value in ({"loss": loss} | shown).items()}
        bad = [key for key, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise position.non_finite(bad)
        return losses

    def _over_devices(self, losses: dict[str, float]) -> dict[str, float]:
        if self.fabric.world_size == 1:
            return losses
        sums = agree(self.fabric, *losses.values())
        return {key: total / self.fabric.world_size for key, total in zip(losses, sums, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers of model and adversary, and the loss scale of fp16; the same on every device."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._raw_optimizer.state_dict(),
            "adversary": self._adversary.state_dict() if self._adversary else None,
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self._raw_optimizer.load_state_dict(state["optimizer"])
        if self._adversary:
            self._adversary.load_state_dict(state["adversary"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])


def _check_prediction(prediction: Output, position: Position) -> None:
    """Before the matching, which cannot compare what is not finite."""
    found = {"class logits": prediction.logits, "boxes": prediction.boxes}
    bad = [name for name, values in found.items() if not bool(torch.isfinite(values).all())]
    if bad:
        raise position.non_finite(bad)
