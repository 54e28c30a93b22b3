"""The choice of the device, the start of one or several devices, and sums over them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch.distributed import DistError

from mssts.core.devices import ON_THE_CPU, claim_gpus
from mssts.core.environment import set_tf32
from mssts.core.errors import DeviceError, InputError
from mssts.core.processes import LOST, fail, is_started_by_another, start_on_nodes, started

Precision = Literal["32-true", "64-true", "bf16-mixed"]
Device = Literal["cpu", "cuda"]


def available_device(device: Device, claimed: int = 1) -> Device:
    """Return the configured device of trainings, predictions and attention maps.

    Args:
        device: "cpu" or "cuda".
        claimed: Number of GPUs to claim for this process (see `mssts.core.devices`); 0 if another has chosen them.

    Raises:
        InputError: If there is no such device.
    """
    if device == "cuda":
        claim_gpus(claimed)
        if not torch.cuda.is_available():
            raise InputError(
                f"runtime.device: found cuda, but PyTorch {torch.__version__} finds no GPU here. Compare the driver's "
                f"version (nvidia-smi) with PyTorch's. {ON_THE_CPU}"
            )
    return device


@contextmanager
def start_fabric(
    device: Device, precision: Precision, devices: int = 1, nodes: int = 1, tf32: bool = False
) -> Iterator[Fabric]:
    """Start Fabric on the configured devices, with deterministic operations, while the block runs.

    On one node, this process claims free GPUs and starts the processes of further devices (see `mssts.core.devices`
    and `mssts.core.processes`). On several nodes, one process per device is started by srun, or outside Slurm by the
    scheduler, and Fabric reads the scheduler's variables.

    Args:
        device: "cpu" or "cuda".
        precision: Precision of weights and computation.
        devices: Number of devices per node.
        nodes: Number of nodes.
        tf32: See `mssts.core.environment.set_tf32`.

    Raises:
        InputError: If there is no such device.
        DeviceError: If the process of another device fails.
    """
    if nodes > 1:
        start_on_nodes(devices, nodes)
    chooses = nodes == 1 and not LightningEnvironment().creates_processes_externally
    available_device(device, claimed=devices if chooses else 0)
    with started(devices) if chooses and devices > 1 else nullcontext() as others:
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


def _launched(device: Device, precision: Precision, devices: int, nodes: int) -> Fabric:
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
