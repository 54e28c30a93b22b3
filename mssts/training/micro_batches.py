"""Micro-batches: how the clips of a step are split, so that the result does not depend on the devices.

The total batch of a step is split into micro-batches of `clips_per_device` clips; device r of R works on the
micro-batches r, r + R, ... in turn. Random draws and normalisation depend on the micro-batch, never on its device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mssts.config import ExecutionSection
from mssts.core.distributed import all_reduce_sum
from mssts.core.errors import InputError
from mssts.core.records import Batch
from mssts.models import MsStsVis
from mssts.models.backbones import blocks_of


@dataclass(frozen=True)
class MicroBatches:
    """The micro-batches of a step.

    Attributes:
        clips: Clips per micro-batch.
        own: Position in the total batch of the first clip of each micro-batch of this device.
        total: Number of micro-batches of all devices.
    """

    clips: int
    own: tuple[int, ...]
    total: int

    @classmethod
    def split(cls, batch_clips: int, execution: ExecutionSection, rank: int = 0) -> MicroBatches:
        """Split a total batch of `batch_clips` clips for the device of that rank.

        Raises:
            InputError: If the total batch does not divide.
        """
        devices = execution.devices * execution.nodes
        clips = execution.clips_per_device or batch_clips // devices
        if clips == 0 or batch_clips % (clips * devices):
            raise InputError(
                f"ablations: execution: found batch_clips {batch_clips} on {devices} devices with clips_per_device "
                f"{execution.clips_per_device}; expected a multiple of devices * nodes * clips_per_device."
            )
        firsts = range(0, batch_clips, clips)
        return cls(clips, tuple(firsts[rank::devices]), len(firsts))


def micro_batch_seed(seed: int, step: int, position: int) -> int:
    """Return the dropout seed of the micro-batch that begins at clip `position` of a step."""
    return int(np.random.SeedSequence([seed, step, position]).generate_state(1, np.uint64)[0]) >> 1


def matched_instances(batches: list[Batch], queries: int) -> int:
    """Count the instances that the matching will assign to a query: at most `queries` per clip."""
    return sum(min(len(clip.labels_N), queries) for batch in batches for clip in batch.instances)


def checkpoint_activations(model: MsStsVis, backbone: str, execution: ExecutionSection) -> None:
    """Recompute activations in the backward pass, where configured: less memory, the same numbers."""
    layers: list[Any] = [*model.encoder.layers] if execution.checkpoint_encoder else []
    if execution.checkpoint_backbone:
        layers += blocks_of(backbone, model.backbone)
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


class RunningStatistics:
    """Running means and variances of batch norm that do not depend on the devices.

    Each micro-batch of a step starts from the statistics before the step; the step leaves the mean over all of them.
    """

    def __init__(self, model: nn.Module, fabric: Fabric, micro_batches: MicroBatches) -> None:
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)] if micro_batches.total > 1 else []
        self._buffers = [b for norm in norms for b in (norm.running_mean, norm.running_var) if b is not None]
        self._counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        self._fabric = fabric
        self._total = micro_batches.total

    @contextmanager
    def step(self) -> Iterator[None]:
        """Wrap all micro-batches of one step."""
        self._start = [buffer.clone() for buffer in self._buffers]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers]
        new_counts = [count + 1 for count in self._counts]
        yield
        if self._buffers:
            total = all_reduce_sum(self._fabric, torch.cat(self._sums)) / self._total
            for buffer, mean in zip(self._buffers, total.split([len(buffer) for buffer in self._buffers]), strict=True):
                buffer.copy_(mean)
        for count, after in zip(self._counts, new_counts, strict=True):
            count.copy_(after)

    @contextmanager
    def micro_batch(self) -> Iterator[None]:
        """Wrap one micro-batch."""
        yield
        for buffer, start, total in zip(self._buffers, self._start, self._sums, strict=True):
            total += buffer
            buffer.copy_(start)
