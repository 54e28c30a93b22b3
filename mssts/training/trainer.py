"""The training loop: optimizer steps of model and discriminator, and the state that a later process continues from."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributed import DistError
from tqdm import tqdm

from mssts.core.distributed import all_reduce_sum
from mssts.core.records import Batch
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import MsStsVis
from mssts.training.callbacks import Callback
from mssts.training.deferred import DeferredReads
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
        checkpoint_activations(model, run.backbone, config.execution)
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
        self._reads = DeferredReads()
        self._stopping = False

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
            stop: Request to save and stop after the current step; with several devices, after the next at the latest.

        Raises:
            Preempted: If the training was asked to stop, after saving.
            NonFinite: If a prediction, loss or gradient is not finite. It is raised in the next micro-batch at the
                latest, and before the step is logged or saved.
        """
        steps = self._steps
        quiet = not self.fabric.is_global_zero
        with tqdm(total=steps, initial=start, desc=self.progress.run, mininterval=2, disable=quiet) as bar:
            for step in range(start, steps):
                self.progress.step = step
                losses, learning_rate = self.step(step, [next(batches) for _ in self.micro_batches.own])
                record = self._add_to(log, step + 1, losses, learning_rate)
                bar.update()
                if record:
                    bar.set_postfix(loss=f"{record['loss']:.2f}", refresh=False)
                for callback in callbacks:
                    callback.on_step(step + 1, self.model, record)

                self._hear(stop)
                if (self._stopping or (step + 1) % self._checkpoint_every == 0) and step + 1 < steps:
                    self._reads.now()
                    save(step + 1)
                    if self._stopping:
                        raise Preempted(
                            f"{self.progress.run}: stopped by a signal; step {step + 1} is saved in "
                            f"{self.progress.output / 'resume.pt'}. Run the same command again to continue."
                        )
            self._reads.now()
        if self._adversary and not self._adversary.steps_acted and not quiet:
            print(
                f"warning: {self.progress.run}: the foreground-background loss never acted, so the model is that of "
                "the same variant without it. The score of the discriminator stayed below "
                f"loss.foreground_background.min_score, {self._adversary.min_score}; at the end it is "
                f"{self._adversary.score:.2f}. Train for more steps, or lower min_score.",
                file=sys.stderr,
            )

    def _add_to(
        self, log: TrainingLog, step: int, losses: dict[str, Tensor], learning_rate: float
    ) -> dict[str, float] | None:
        """Add the losses of a step to the log, and wait for them if a line is due; return that line's record."""
        record = None

        def add(*values: float) -> None:
            nonlocal record
            record = log.add(step, dict(zip(losses, values, strict=True)), learning_rate)

        self._reads.later(torch.stack(list(losses.values())), add)
        if log.is_due(step):
            self._reads.now()
        return record

    def _hear(self, stop: StopRequest) -> None:
        """Learn whether any device was asked to stop, at once or at the next copy; all devices do so after one step."""

        def hear(devices: float) -> None:
            self._stopping = devices > 0

        if self.fabric.world_size == 1:
            hear(stop.asked)
        else:
            self._reads.later(all_reduce_sum(self.fabric, torch.tensor(float(stop.asked))), hear)

    def step(self, step: int, batches: list[Batch]) -> tuple[dict[str, Tensor], float]:
        """Do one optimizer step.

        Args:
            step: Number of the step, from 0.
            batches: Micro-batches of this device.

        Returns:
            The losses over all devices, float64 scalars on the device, and the learning rate.
        """
        if not self.model.training:  # it takes time
            self.model.train()
        factor = rate_factor(step, self._steps, self._optimisation)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        instances = torch.tensor(matched_instances(batches, self._queries), dtype=torch.float64)
        total_instances = all_reduce_sum(self.fabric, instances)
        # Differs: the public SeqFormer code also counts instances that are left without a query.
        num_boxes = total_instances.clamp(min=1) / self.fabric.world_size  # DDP averages the gradients over the devices

        self._optimizer.zero_grad(set_to_none=False)  # the gradients are views, see `flattened`
        own = self.micro_batches.own
        sums_K = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        with self._statistics.step():
            for first, batch in zip(own, batches, strict=True):
                torch.manual_seed(micro_batch_seed(self._dropout_seed, step, first))  # dropout draws globally
                self.progress.videos = batch.video_ids
                more_to_come = self.fabric.world_size > 1 and first != own[-1]
                with self.fabric.no_backward_sync(self._network, enabled=more_to_come), self._statistics.micro_batch():
                    losses = self._accumulate(batch.to(self.fabric.device), num_boxes)
                values_K = torch.stack(list(losses.values()))
                self._require_finite(tuple(losses), values_K)
                sums_K = sums_K + values_K.double()
        means_K = all_reduce_sum(self.fabric, sums_K) / self.fabric.world_size
        if self.fabric.world_size > 1:
            self._reads.later(means_K, _require_finite_elsewhere)

        norm = self.fabric.clip_gradients(
            self._network, self._optimizer, max_norm=self._optimisation.gradient_clip_norm, error_if_nonfinite=False
        )
        assert norm is not None
        self._require_finite(("gradients",), norm)
        self._optimizer.step()
        if self._adversary:
            self._reads.later(self._adversary.step(), self._adversary.update_score)
        return dict(zip(losses, means_K.unbind(), strict=True)), self._rates[-1] * factor

    def _accumulate(self, batch: Batch, num_boxes: Tensor) -> dict[str, Tensor]:
        """Add the gradients of one micro-batch; return its losses, those of the last decoder layer."""
        share = 1 / len(self.micro_batches.own)
        output = self._network(batch.frames_BT3HW, batch.padding)
        (costs_LBNM,) = self._reads.now(self._criterion.costs(output, batch))  # the only time that the host waits
        if not np.isfinite(costs_LBNM).all():
            largest = [predicted.abs().max() for predicted in (output.logits, output.boxes)]
            self._require_finite(("class logits", "boxes"), torch.stack(largest))
            self._reads.now()
        matches = self._criterion.assign(costs_LBNM, output, batch)
        terms = self._criterion.terms(output, batch, matches, num_boxes)
        loss = self._criterion.total(terms)
        if self._adversary:
            terms["loss_adversary"] = share * self._adversary.generator_loss(batch, output, matches)
            loss = loss + terms["loss_adversary"]
        self.fabric.backward(loss)
        if self._adversary:
            terms["loss_discriminator"] = self._adversary.discriminator_backward(batch, output, matches, share)
        return {name: term.detach().reshape(-1)[-1] for name, term in ({"loss": loss} | terms).items()}

    def _require_finite(self, names: Sequence[str], values: Tensor) -> None:
        """Raise NonFinite at the next copy to the host, with step and videos of now, if a value is not finite."""
        then = replace(self.progress)

        def check(*values: float) -> None:
            if found := [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]:
                raise then.non_finite(found)

        self._reads.later(values, check)

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


def _require_finite_elsewhere(*values: float) -> None:
    """End this process if a loss of another device is not finite: that device reports it."""
    if not all(map(math.isfinite, values)):
        raise DistError("a loss of another device is not finite")
