"""The clips of a step as parts, and what makes the result independent of how they are spread over devices.

The total batch of a step is cut into parts of `clips_per_device` clips; device r of R works on the parts r, r + R, ...
one after the other. What is random or normalised in a part depends on the part alone, never on who works on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mssts.config import ExecutionSection
from mssts.core.errors import InputError
from mssts.core.records import Batch


@dataclass(frozen=True)
class Parts:
    """How the clips of a step are spread.

    clips: in one part. own: first positions in the batch of the parts of this device. total: parts of all devices.
    """

    clips: int
    own: tuple[int, ...]
    total: int

    @classmethod
    def of(cls, batch_clips: int, execution: ExecutionSection, rank: int = 0) -> Parts:
        """Raises InputError when the total batch does not divide."""
        devices = execution.devices * execution.nodes
        clips = execution.clips_per_device or batch_clips // devices
        if clips == 0 or batch_clips % (clips * devices):
            raise InputError(
                f"ablations: execution: found batch_clips {batch_clips} on {devices} devices with clips_per_device "
                f"{execution.clips_per_device}; expected a batch that divides by devices * nodes * clips_per_device."
            )
        firsts = range(0, batch_clips, clips)
        return cls(clips, tuple(firsts[rank::devices]), len(firsts))


def part_seed(seed: int, step: int, position: int) -> int:
    """Seed of the dropout draws of the part that begins at clip `position` of a step."""
    return int(np.random.SeedSequence([seed, step, position]).generate_state(1, np.uint64)[0]) >> 1


def matched_instances(batches: list[Batch], queries: int) -> int:
    """Instances that the matching will give a query to: all of a clip, as far as there are queries."""
    return sum(min(len(clip.labels_N), queries) for batch in batches for clip in batch.instances)


def recompute_layers(layers: nn.ModuleList) -> None:
    """Keep only the layers' inputs for the backward pass and compute the rest again: less memory, the same numbers."""
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


class RunningStatistics:
    """Running means and variances of batch norm that do not depend on who works on which part.

    Each part of a step starts from the statistics before the step; the mean over all parts is what the step leaves.
    """

    def __init__(self, model: nn.Module, fabric: Fabric, parts: Parts) -> None:
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
        self._buffers = [b for norm in norms for b in (norm.running_mean, norm.running_var)] if parts.total > 1 else []
        self._counts = [norm.num_batches_tracked for norm in norms] if parts.total > 1 else []
        self._fabric = fabric
        self._total = parts.total

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around all parts of one step."""
        self._start = [buffer.clone() for buffer in self._buffers]
        self._counted = [count + 1 for count in self._counts]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers]
        yield
        for buffer, total in zip(self._buffers, self._sums, strict=True):
            if self._fabric.world_size > 1:
                total = self._fabric.all_reduce(total, reduce_op="sum")
            buffer.copy_(total / self._total)
        for count, counted in zip(self._counts, self._counted, strict=True):
            count.copy_(counted)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Around one part."""
        yield
        for buffer, start, total in zip(self._buffers, self._start, self._sums, strict=True):
            total += buffer
            buffer.copy_(start)
