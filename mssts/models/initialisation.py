"""Start values: a function of the seed and the parameter's name alone, so that a variant starts like its baseline."""

from __future__ import annotations

import math
import zlib

import torch
from torch import nn


def initialise(model: nn.Module, seed: int, skip: str) -> None:
    """Set every parameter of the model but those under the child `skip`.

    Linear weights are Xavier uniform and their biases uniform within 1/sqrt(inputs) [code]; a module's own `initialise`
    then overrides what lies below it. Each module draws from a generator of its own, seeded by its name.
    """
    for name, module in reversed(list(model.named_modules())):
        if name == skip or name.startswith(f"{skip}."):
            continue
        generator = torch.Generator().manual_seed((seed + zlib.crc32(name.encode())) % 2**63)
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        if hasattr(module, "initialise"):
            module.initialise(generator)
