"""Full precision for geometry, costs and losses, also where the network computes in half precision.

bfloat16 has 8 significant bits: 682 pixels become 680. Sizes, positions and boxes are therefore float32 (float64 if the
network is) under any autocast.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def in_full_precision(values: Tensor) -> Tensor:
    """Half precision values as float32; float32 and float64 unchanged."""
    return values if values.dtype == torch.float64 else values.float()


def no_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which operations compute in the precision of their inputs.

    Args:
        device: Where they compute.
    """
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
