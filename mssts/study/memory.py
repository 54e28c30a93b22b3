"""Memory of a training step on a GPU, from a trace of its operations on the meta device, where nothing is computed."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from mssts.config import PRETRAIN, TRAIN, Config
from mssts.core.records import Batch, Instances
from mssts.data.stills import MAX_INSTANCES
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model
from mssts.study.complexity import category_count
from mssts.training.micro_batches import MicroBatches, checkpoint_activations
from mssts.training.optimizer import build_optimizer
from mssts.training.record import TrainingRun

CARDS = (24, 32, 40, 80)  # GB
SETTINGS = ("clips_per_device", "checkpoint_encoder", "checkpoint_backbone")  # of `execution`
OBJECTS = {PRETRAIN: 100, TRAIN: MAX_INSTANCES}  # in a clip
FRAGMENTATION = 1.1  # of the caching allocator, and workspaces of libraries
CONTEXT_GB = 1.0  # CUDA's own memory and NCCL's
ASSUMED = f"""\
Memory of a GPU: weights, gradients and AdamW's two moments, with several GPUs the gradients once more, plus the peak of
    one traced step (network, losses, backward) on the largest batch that the scale and `execution` allow: the largest
    padded frames, {OBJECTS[TRAIN]} objects in a clip, {OBJECTS[PRETRAIN]} in an image of the pre-training. All in
    float32, with grid sampling; bfloat16 and the Triton kernel need less.
    A card must hold {FRAGMENTATION} times that, for fragmentation and workspaces, and {CONTEXT_GB:.0f} GB for CUDA.
    Both are assumed, not measured."""


class PeakMemory(TorchDispatchMode):
    """Follows the storages that operations make while the mode is on, from their birth to their death.

    Args:
        known: Tensors whose storages are not counted.

    Attributes:
        now: Bytes of the storages that are alive.
        peak: The most bytes that were alive at a time.
    """

    def __init__(self, known: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive = {id(tensor.untyped_storage()) for tensor in known}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and follow what it returns."""
        results = operation(*args, **(kwargs or {}))
        for result in tree_iter(results):
            if isinstance(result, torch.Tensor):
                self._follow(result.untyped_storage())
        return results

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.remove(key)
        self.now -= size


class TrainingStep:
    """One micro-batch of a training: network, losses, backward.

    The matches are arbitrary, which changes no shape, and the foreground-background loss acts.

    Args:
        run: The training.
        sizes: (height, width) in px of each clip before padding.
        objects: Instances in each clip.
        device: "meta", or "cpu" to compute it.

    Attributes:
        model: The network.
        optimizer: Its optimizer, which holds the gradients.
        batch: The clips.
    """

    def __init__(self, run: TrainingRun, sizes: Sequence[tuple[int, int]], objects: int, device: str = "meta") -> None:
        config, adversary = run.config, run.config.loss.foreground_background
        with torch.device(device):
            self.model = build_model(config.model, run.backbone, category_count(run.dataset)).train()
            self.batch = _batch(sizes, run.optimisation.frames, objects, config.data.pad_multiple)
        checkpoint_activations(self.model, run.backbone, config.execution)
        self.optimizer = build_optimizer(self.model, run.optimisation)
        self._criterion = Criterion(config.loss)
        self._adversary = None
        if adversary.enabled:
            acting, generator = adversary.model_copy(update={"min_score": 0.0}), torch.Generator().manual_seed(0)
            self._adversary = ForegroundBackgroundAdversary(acting, config.model.hidden_dim, generator).to(device)

    def __call__(self) -> None:
        """Add the gradients to those that are there."""
        output = self.model(self.batch.frames_BT3HW, self.batch.padding)
        costs_LBNM = self._criterion.costs(output, self.batch)
        matches = self._criterion.assign(np.zeros(costs_LBNM.shape), output, self.batch)
        loss = self._criterion.total(self._criterion.terms(output, self.batch, matches, 1.0))
        if self._adversary:
            loss = loss + self._adversary.generator_loss(self.batch, output, matches)
        loss.backward()
        if self._adversary:
            self._adversary.discriminator_backward(self.batch, output, matches)

    def held(self) -> list[torch.Tensor]:
        """Weights, buffers and gradients of the network and the discriminator: what lasts from step to step."""
        discriminator = self._adversary.discriminator.parameters() if self._adversary else ()
        return [*self.model.parameters(), *self.model.buffers(), *self.gradients(), *discriminator]

    def gradients(self) -> list[torch.Tensor]:
        """Gradient vectors of the network, see `flattened`."""
        return [vector.grad for group in self.optimizer.param_groups for vector in group["params"]]


def largest_sizes(config: Config, stage: str, clips: int) -> list[tuple[int, int]]:
    """(height, width) in px of the clips of the largest batch: of several, one is turned, so that all are padded."""
    sizes = config.still_sizes() if stage == PRETRAIN else config.data.model_dump()
    long = sizes["max_long_side"]
    short = min(max(sizes["short_sides"]), long)
    return [(short, long), *[(long, short)] * (clips - 1)]


@cache
def training_bytes(run: TrainingRun) -> int:
    """The most memory that a training needs at a time on each of its devices, see `ASSUMED`."""
    execution = run.config.execution
    clips = MicroBatches.split(run.optimisation.batch_clips, execution).clips
    step = TrainingStep(run, largest_sizes(run.config, run.stage, clips), OBJECTS[run.stage])
    with PeakMemory(step.held()) as traced:
        step()
    copies = 3 if execution.devices * execution.nodes > 1 else 2  # moments, and DistributedDataParallel's buckets
    held = [*step.held(), *step.gradients() * copies]
    return traced.peak + sum(tensor.nbytes for tensor in held)


def settings_of_cards(runs: Sequence[TrainingRun]) -> dict[int, dict[str, Any] | None]:
    """The fastest settings with which the trainings of a backbone fit a GPU, for each of `CARDS`; None: none.

    Only the training of each stage that needs most as configured is traced with other settings.
    """
    largest = {run.stage: run for run in sorted(runs, key=training_bytes)}.values()
    clips = runs[0].config.execution.clips_per_device
    settings = [
        dict(zip(SETTINGS, values, strict=True))
        for values in ((clips, False, False), (1, False, False), (1, True, False), (1, True, True))
    ]
    return {
        card: next((setting for setting in settings if all(_fits(run, setting, card) for run in largest)), None)
        for card in CARDS
    }


def _fits(run: TrainingRun, setting: dict[str, Any], card: int) -> bool:
    execution = run.config.execution.model_copy(update=setting)
    changed = replace(run, config=run.config.model_copy(update={"execution": execution}))
    return FRAGMENTATION * training_bytes(changed) + CONTEXT_GB * 1e9 <= card * 1e9


def _batch(sizes: Sequence[tuple[int, int]], frames: int, objects: int, pad_multiple: int) -> Batch:
    """Clips of these sizes in px, on the present device."""
    height, width = (-(-max(side) // pad_multiple) * pad_multiple for side in zip(*sizes, strict=True))
    instances = [
        Instances(
            torch.zeros(objects, dtype=torch.int64),
            torch.full((objects, frames, 4), 0.5),
            torch.zeros(objects, frames, *size, dtype=torch.bool),
        )
        for size in sizes
    ]
    return Batch(
        frames_BT3HW=torch.zeros(len(sizes), frames, 3, height, width),
        padding_mask_BTHW=torch.zeros(len(sizes), frames, height, width, dtype=torch.bool),
        sizes=tuple(sizes),
        instances=tuple(instances),
        foreign_foregrounds_THW=tuple(torch.zeros(frames, *size, dtype=torch.bool) for size in sizes),
    )
