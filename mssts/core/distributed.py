"""Work on one or many devices: the same result, however it is spread.

The total batch of a step is cut into parts of `clips_per_device` clips; device r of R works on the parts r, r + R, ...
one after the other. What is random or normalised in a part depends on the part alone, never on who works on it.
"""

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
    """Fabric on the configured devices; with several on one machine it starts their processes itself.

    On several nodes the scheduler starts one process per device (Slurm: srun) and Fabric reads its variables.
    Raises InputError for fp16 on a CPU, where Fabric would take bf16 instead.
    """
    several = devices * nodes > 1
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        num_nodes=nodes,
        precision=precision,
        strategy=DDPStrategy(forward_sync_buffers=False) if several else "auto",
        plugins=[LightningEnvironment()] if nodes == 1 else None,
    )
    if precision == "16-mixed" and fabric.device.type == "cpu":
        raise InputError(
            "ablations: runtime.precision: found 16-mixed on a CPU, which cannot train in it; expected 32-true or "
            "bf16-mixed there."
        )
    fabric.launch()
    return fabric


def agree(fabric: Fabric, *numbers: float) -> list[float]:
    """Sums of the numbers over all devices."""
    if fabric.world_size == 1:
        return list(numbers)
    values = torch.tensor(numbers, dtype=torch.float64, device=fabric.device)
    return fabric.all_reduce(values, reduce_op="sum").tolist()


def own_share(fabric: Fabric, items: Sequence[T]) -> Sequence[T]:
    """Every R-th of the items, from the place of this device of R."""
    return items[fabric.global_rank :: fabric.world_size]


def merged_shares(fabric: Fabric, own: list[T], items: int) -> list[T]:
    """What all devices made of their `own_share`, one thing of each item, in the items' order and on every device."""
    if fabric.world_size == 1:
        return own
    shares: list[list[T]] = [[]] * fabric.world_size
    torch.distributed.all_gather_object(shares, own)
    return in_turn(shares, items)


def in_turn(shares: list[list[T]], items: int) -> list[T]:
    """The first of each share, then the second of each; raises ValueError where an item is lost or doubled."""
    merged: list[Any] = [None] * items
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged
