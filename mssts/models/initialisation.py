"""Initial values: a function of the seed and the parameter's name alone, so that a variant starts like its baseline."""

from __future__ import annotations

import math
import zlib

import torch
from torch import nn


def initialise(model: nn.Module, seed: int, skip: str) -> None:
    """Set every parameter of the model except those of the child `skip`.

    Linear weights are Xavier uniform, and their biases uniform within 1/sqrt(inputs) [code]. Other layers of torch get
    the initial values that torch gives them. Then the `initialise(generator)` of a module, if it has one, overrides
    the values below it. Each module draws from a generator of its own, seeded by the module's name. The global
    generator is reseeded: the caller forks it.
    """
    for name, module in reversed(list(model.named_modules())):
        if name == skip or name.startswith(f"{skip}."):
            continue
        own_seed = (seed + zlib.crc32(name.encode())) % 2**63
        generator = torch.Generator().manual_seed(own_seed)
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        elif hasattr(module, "reset_parameters"):
            torch.manual_seed(own_seed)
            module.reset_parameters()
        if hasattr(module, "initialise"):
            module.initialise(generator)
