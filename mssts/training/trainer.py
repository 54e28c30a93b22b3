"""The training loop: optimizer steps of model and discriminator, and the state that a later process continues from."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from mssts.core.distributed import all_reduce_sum
from mssts.core.records import Batch
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import MsStsVis
from mssts.training.callbacks import Callback
from mssts.training.failures import Preempted, TrainingProgress
from mssts.training.log import TrainingLog
from mssts.training.micro_batches import (
    MicroBatches,
    RunningStatistics,
    checkpoint_activations,
    matched_instances,
    micro_batch_seed,
)
from mssts.training.optimizer import build_optimizer, rate_factor
from mssts.training.record import TrainingRun
from mssts.training.resume import StopRequest


@dataclass(frozen=True)
class Generators:
    """Independent sources of random numbers for everything that draws.

    Attributes:
        model: Generator of the model's initial weights.
        adversary: Generator of the discriminator's initial weights.
        clips: Seed of order and augmentation of the clips.
        dropout: Seed of dropout.
    """

    model: torch.Generator
    adversary: torch.Generator
    clips: int
    dropout: int

    @classmethod
    def from_seed(cls, stage: str, seed: int) -> Generators:
        """Derive the generators from the stage, "pretrain" or "train", and the seed of the run."""
        seeds = np.random.SeedSequence([int.from_bytes(stage.encode(), "big"), seed]).generate_state(4, np.uint64)
        model, adversary, clips, dropout = (int(value) >> 1 for value in seeds)
        return cls(torch.Generator().manual_seed(model), torch.Generator().manual_seed(adversary), clips, dropout)


class Trainer:
    """Model, losses and optimizers of one training stage, and its loop.

    The losses of a step are divided by the number of instances of the whole step, over all micro-batches and devices,
    so that neither accumulation nor the number of devices changes them.

    Args:
        fabric: The devices.
        model: The model, with its initial weights.
        run: What to train.
        generators: Sources of random numbers.
        progress: Kept up to date for error messages.

    Attributes:
        micro_batches: The clips of a step that this device works on.

    Raises:
        InputError: If the total batch does not divide into micro-batches, or a loss term is configured wrongly.
    """

    def __init__(
        self, fabric: Fabric, model: MsStsVis, run: TrainingRun, generators: Generators, progress: TrainingProgress
    ) -> None:
        config, optimisation = run.config, run.optimisation
        self.fabric = fabric
        self.model = model
        self.progress = progress
        self.micro_batches = MicroBatches.split(optimisation.batch_clips, config.execution, fabric.global_rank)
        self._optimisation = optimisation
        self._steps = run.steps
        self._checkpoint_every = config.execution.checkpoint_every
        self._queries = config.model.queries
        self._dropout_seed = generators.dropout
        if config.execution.checkpoint_encoder:
            checkpoint_activations(model.encoder.layers)
        self._network = fabric.setup_module(model)
        self._raw_optimizer = build_optimizer(model, optimisation)
        self._rates = [group["lr"] for group in self._raw_optimizer.param_groups]
        self._optimizer: Any = fabric.setup_optimizers(self._raw_optimizer)
        self._criterion = Criterion(config.loss)
        self._adversary = None
        if config.loss.foreground_background.enabled:
            self._adversary = ForegroundBackgroundAdversary(
                config.loss.foreground_background, config.model.hidden_dim, generators.adversary
            ).to(fabric.device, next(model.parameters()).dtype)
        self._statistics = RunningStatistics(model, fabric, self.micro_batches)

    def fit(
        self,
        batches: Iterator[Batch],
        start: int,
        log: TrainingLog,
        callbacks: Sequence[Callback],
        save: Callable[[int], None],
        stop: StopRequest,
    ) -> None:
        """Run all steps from `start` on.

        Args:
            batches: Micro-batches of this device, in order, from step `start` on.
            start: Number of optimizer steps already done.
            log: Training log.
            callbacks: Called after each step.
            save: Writes the resume checkpoint of so many steps.
            stop: Request to save and stop after the current step.

        Raises:
            Preempted: If the training was asked to stop, after saving.
            NonFinite: If a prediction, loss or gradient is not finite, before it changes anything.
        """
        steps = self._steps
        quiet = not self.fabric.is_global_zero
        with tqdm(total=steps, initial=start, desc=self.progress.run, mininterval=2, disable=quiet) as bar:
            for step in range(start, steps):
                self.progress.step = step
                losses, learning_rate = self.step(step, [next(batches) for _ in self.micro_batches.own])
                record = log.add(step + 1, losses, learning_rate)
                bar.update()
                if record:
                    bar.set_postfix(loss=f"{record['loss']:.2f}", refresh=False)
                for callback in callbacks:
                    callback.on_step(step + 1, self.model, record)

                stopping = bool(all_reduce_sum(self.fabric, torch.tensor(float(stop.asked))))
                if (stopping or (step + 1) % self._checkpoint_every == 0) and step + 1 < steps:
                    save(step + 1)
                    if stopping:
                        raise Preempted(
                            f"{self.progress.run}: stopped by a signal; step {step + 1} is saved in "
                            f"{self.progress.output / 'resume.pt'}. Run the same command again to continue."
                        )
        if self._adversary and not self._adversary.steps_acted and not quiet:
            print(
                f"warning: {self.progress.run}: the foreground-background loss never acted, so the model is that of "
                "the same variant without it. The score of the discriminator stayed below "
                f"loss.foreground_background.min_score, {self._adversary.min_score}; at the end it is "
                f"{self._adversary.score:.2f}. Train for more steps, or lower min_score.",
                file=sys.stderr,
            )

    def step(self, step: int, batches: list[Batch]) -> tuple[dict[str, float], float]:
        """Do one optimizer step.

        Args:
            step: Number of the step, from 0.
            batches: Micro-batches of this device.

        Returns:
            The losses over all devices, and the learning rate.
        """
        if not self.model.training:  # it takes time
            self.model.train()
        factor = rate_factor(step, self._steps, self._optimisation)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        instances = torch.tensor(matched_instances(batches, self._queries), dtype=torch.float64)
        total_instances = all_reduce_sum(self.fabric, instances).item()
        # Differs: the public SeqFormer code also counts instances that are left without a query.
        num_boxes = max(total_instances, 1.0) / self.fabric.world_size  # DDP averages the gradients over the devices

        self._optimizer.zero_grad(set_to_none=False)  # the gradients are views, see `flattened`
        losses: dict[str, float] = {}
        own = self.micro_batches.own
        with self._statistics.step():
            for first, batch in zip(own, batches, strict=True):
                torch.manual_seed(micro_batch_seed(self._dropout_seed, step, first))  # dropout draws globally
                self.progress.videos = batch.video_ids
                more_to_come = self.fabric.world_size > 1 and first != own[-1]
                with self.fabric.no_backward_sync(self._network, enabled=more_to_come), self._statistics.micro_batch():
                    terms = self._accumulate(batch.to(self.fabric.device), num_boxes)
                for key, value in terms.items():
                    losses[key] = losses.get(key, 0.0) + value
        sums = all_reduce_sum(self.fabric, torch.tensor(list(losses.values()), dtype=torch.float64))
        losses = dict(zip(losses, (sums / self.fabric.world_size).tolist(), strict=True))

        norm = self.fabric.clip_gradients(
            self._network, self._optimizer, max_norm=self._optimisation.gradient_clip_norm, error_if_nonfinite=False
        )
        assert norm is not None
        self._require_finite({"gradients": math.isfinite(norm)})
        self._optimizer.step()
        if self._adversary:
            self._adversary.step()
        return losses, self._rates[-1] * factor

    def _accumulate(self, batch: Batch, num_boxes: float) -> dict[str, float]:
        """Add the gradients of one micro-batch; return its losses, those of the last decoder layer."""
        share = 1 / len(self.micro_batches.own)
        output = self._network(batch.frames_BT3HW, batch.padding)
        predicted = {"class logits": output.logits, "boxes": output.boxes}  # the matching needs finite ones
        self._require_finite({name: bool(values.isfinite().all()) for name, values in predicted.items()})
        terms, matches = self._criterion(output, batch, num_boxes)
        loss = self._criterion.total(terms)
        if self._adversary:
            terms["loss_adversary"] = share * self._adversary.generator_loss(batch, output, matches)
            loss = loss + terms["loss_adversary"]
        self.fabric.backward(loss)
        if self._adversary:
            terms["loss_discriminator"] = self._adversary.discriminator_backward(batch, output, matches, share)
        found = {"loss": loss} | terms
        values = torch.stack([term.detach().reshape(-1)[-1] for term in found.values()])
        losses = dict(zip(found, values.tolist(), strict=True))  # one transfer from the device
        self._require_finite({name: math.isfinite(value) for name, value in losses.items()})
        return losses

    def _require_finite(self, finite: Mapping[str, bool]) -> None:
        if names := [name for name, is_finite in finite.items() if not is_finite]:
            raise self.progress.non_finite(names)

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimizers of model and discriminator; equal on every device."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._raw_optimizer.state_dict(),
            "adversary": self._adversary.state_dict() if self._adversary else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self._raw_optimizer.load_state_dict(state["optimizer"])
        if self._adversary:
            self._adversary.load_state_dict(state["adversary"])
