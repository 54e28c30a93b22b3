"""Start of one or several devices, sums over them, and work that is shared between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from mssts.core.errors import InputError

Precision = Literal["32-true", "64-true", "bf16-mixed", "16-mixed"]
T = TypeVar("T")


def start_fabric(device: str, precision: Precision, devices: int = 1, nodes: int = 1) -> Fabric:
    """Start Fabric on the configured devices.

    With several devices on one node, Fabric starts the other processes itself. On several nodes the scheduler starts
    one process per device (Slurm: srun), and Fabric reads the scheduler's variables.

    Args:
        device: "cpu", "cuda" or "auto".
        precision: Precision of weights and computation.
        devices: Number of devices per node.
        nodes: Number of nodes.

    Raises:
        InputError: For fp16 on a CPU, where Fabric would use bf16 instead.
    """
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,
        strategy=DDPStrategy(forward_sync_buffers=False) if devices * nodes > 1 else "auto",
        plugins=[LightningEnvironment()] if nodes == 1 else None,
    )
    if precision == "16-mixed" and fabric.device.type == "cpu":
        found = "found 16-mixed, which does not work on a CPU"
        raise InputError(f"ablations: runtime.precision: {found}; expected 32-true or bf16-mixed.")
    fabric.launch()
    return fabric


def all_reduce_sum(fabric: Fabric, values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all devices; with several devices `values` itself may be overwritten."""
    if fabric.world_size == 1:
        return values
    total = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
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
