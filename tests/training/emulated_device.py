"""A device without hardware: tensors say that they are elsewhere, and every copy between it and the host is counted.

Its name is "lazy", a device type that torch knows, for which autograd needs no hardware, and that has no kernels of its
own here. The numbers lie in the host's memory, where the CPU's kernels compute with them. While `EmulatedDevice` is
active, it sees every operator below autograd.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import SingleDeviceStrategy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("lazy")
aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.masked_select.default}


class OnDevice(torch.Tensor):
    """A tensor of the device.

    Attributes:
        values: Its numbers, a tensor on the CPU.
    """

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> OnDevice:
        place = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        tensor = torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device=DEVICE, **place)
        tensor.values = values
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} on the emulated device while it is not active")

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, other: OnDevice) -> None:
        self.values = other.values


class EmulatedDevice(TorchDispatchMode):
    """The device.

    Attributes:
        to_host: How often each operator copied from the device to the host.
        waits: How often the host waited until a copy to the device was done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_host: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        kwargs = dict(kwargs or {})
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        reads = any(isinstance(tensor, OnDevice) for tensor in inputs)
        target = kwargs.get("device")
        stays = reads if target is None else torch.device(target).type == DEVICE.type
        if function is aten.copy_.default:
            stays = isinstance(args[0], OnDevice)
        moves = function in (aten._to_copy.default, aten.copy_.default)
        if reads and (function in READS or (moves and not stays)):
            self.to_host[str(function)] += 1
        elif moves and stays and not all(isinstance(tensor, OnDevice) for tensor in inputs):
            self.waits[str(function)] += not kwargs.get("non_blocking")
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        own = {id(tensor.values): tensor for tensor in inputs if isinstance(tensor, OnDevice)}
        args, kwargs = tree_map_only(OnDevice, lambda tensor: tensor.values, (args, kwargs))
        result = function(*args, **kwargs)
        if not stays:
            return result
        return tree_map_only(torch.Tensor, lambda x: own[id(x)] if id(x) in own else OnDevice(x), result)


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        pass


def emulated_fabric() -> Fabric:
    """One process on the emulated device."""
    strategy = SingleDeviceStrategy(device=DEVICE, accelerator=_Accelerator())
    fabric = Fabric(strategy=strategy, plugins=[LightningEnvironment()])
    fabric.launch()
    return fabric
