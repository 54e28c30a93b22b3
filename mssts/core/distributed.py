"""Start of one or several devices, sums over them, and work that is shared between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch.distributed import DistError

from mssts.core.environment import set_tf32
from mssts.core.errors import DeviceError
from mssts.core.processes import LOST, fail, is_started_by_another, started

Precision = Literal["32-true", "64-true", "bf16-mixed"]
T = TypeVar("T")


@contextmanager
def start_fabric(
    device: str, precision: Precision, devices: int = 1, nodes: int = 1, tf32: bool = False
) -> Iterator[Fabric]:
    """Start Fabric on the configured devices, with deterministic operations, while the block runs.

    With several devices on one node, this process starts the others (see `mssts.core.processes`). On several nodes the
    scheduler starts one process per device (Slurm: srun), and Fabric reads the scheduler's variables.

    Args:
        device: "cpu", "cuda" or "auto".
        precision: Precision of weights and computation.
        devices: Number of devices per node.
        nodes: Number of nodes.
        tf32: See `mssts.core.environment.set_tf32`.

    Raises:
        DeviceError: If the process of another device fails.
    """
    starts = devices > 1 and nodes == 1 and not LightningEnvironment().creates_processes_externally
    with started(devices) if starts else nullcontext() as others:
        try:
            set_tf32(tf32)
            yield _launched(device, precision, devices, nodes)
        except Exception as error:
            if not _is_lost_connection(error):
                if is_started_by_another():
                    fail(error)
                raise
            if is_started_by_another():
                sys.exit(LOST)
            lost = DeviceError("the connection to another process of this run was lost; its message says why.")
            raise (others.wait_for_failure() if others else lost) from None
        except KeyboardInterrupt:
            if is_started_by_another():
                sys.exit(LOST)
            raise


def _launched(device: str, precision: Precision, devices: int, nodes: int) -> Fabric:
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,
        strategy=DDPStrategy(forward_sync_buffers=False) if devices * nodes > 1 else "auto",
        plugins=[LightningEnvironment()] if nodes == 1 else None,
    )
    fabric.launch()
    return fabric


def _is_lost_connection(error: Exception) -> bool:
    """Whether a collective operation failed; gloo has no class of errors of its own."""
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error))


def on_first_device(fabric: Fabric, work: Callable[[], None]) -> None:
    """Let the first device do some work while the others wait for it.

    Raises:
        DeviceError: On the others, if the work fails; the first device raises its error.
    """
    error = None
    if fabric.is_global_zero:
        try:
            work()
        except Exception as caught:
            error = caught
    failed = all_reduce_sum(fabric, torch.tensor(float(error is not None)))
    if error:
        raise error
    if failed:
        raise DeviceError("the first device of this run failed; its message says why.", LOST)


def all_reduce_sum(fabric: Fabric, values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all devices; with several devices `values` itself may be overwritten."""
    if fabric.world_size == 1:
        return values
    total = fabric.all_reduce(values.to(fabric.device, non_blocking=True), reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    return total


def own_share(fabric: Fabric, items: Sequence[T]) -> Sequence[T]:
    """Return the items that this device of R works on: every R-th, beginning at its rank."""
    return items[fabric.global_rank :: fabric.world_size]


def merged_shares(fabric: Fabric, own: list[T], items: int) -> list[T]:
    """Gather the results of all devices.

    Args:
        fabric: The devices.
        own: One result for each item of this device's `own_share`.
        items: Number of items of all devices together.

    Returns:
        One result for each item, in the order of the items, on every device.
    """
    if fabric.world_size == 1:
        return own
    shares: list[list[T]] = [[]] * fabric.world_size
    torch.distributed.all_gather_object(shares, own)
    return interleave(shares, items)


def interleave(shares: list[list[T]], items: int) -> list[T]:
    """Merge shares: the first of each share, then the second of each, and so on.

    Raises:
        ValueError: If the shares do not add up to `items`.
    """
    merged: list[Any] = [None] * items
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged
