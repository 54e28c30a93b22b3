"""Numbers that stay on the device until the host waits for it anyway.

A copy to the host waits until the device has done all the work that it was given; until then no more is queued, and the
device runs dry afterwards. The assignment needs such a copy once in a micro-batch; losses, norms and scores join it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


class DeferredReads:
    """Collects numbers on the device, and the functions that want them on the host."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, Callable[..., None]]] = []

    def later(self, values: Tensor, receive: Callable[..., None]) -> None:
        """Call `receive` at the next copy, in the order of the requests.

        Args:
            values: Numbers of any shape, which nothing may overwrite.
            receive: Gets them as floats, one argument for each.
        """
        self._waiting.append((values.detach().flatten(), receive))

    def now(self, *wanted: Tensor) -> list[np.ndarray]:
        """Copy everything to the host in one transfer, hand out what was asked for before, and return the rest.

        Args:
            wanted: Tensors of any shapes.

        Returns:
            The wanted tensors, in the widest precision of all that was copied.

        Raises:
            Exception: What a function raises that receives its numbers; the functions after it are not called.
        """
        waiting, self._waiting = self._waiting, []
        tensors = [*(values for values, _ in waiting), *(tensor.detach().flatten() for tensor in wanted)]
        if not tensors:
            return []
        arrays = np.split(torch.cat(tensors).cpu().numpy(), np.cumsum([len(tensor) for tensor in tensors[:-1]]))
        for array, (_, receive) in zip(arrays, waiting, strict=False):
            receive(*array.tolist())
        return [array.reshape(tensor.shape) for array, tensor in zip(arrays[len(waiting) :], wanted, strict=True)]
