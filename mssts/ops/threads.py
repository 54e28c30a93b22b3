"""Work in C on several processors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(run: Callable[[int, int], None], count: int, most: int) -> None:
    """Call `run(first, last)` for consecutive parts of `range(count)`.

    Args:
        run: Releases the GIL, and does the same for an index in whatever part it is.
        count: Number of indices.
        most: Largest number of further threads that are worth their start; there are never more threads than PyTorch
            has.
    """
    threads = min(torch.get_num_threads(), count, 1 + most)
    if threads == 1:
        run(0, count)
        return
    bounds = [count * thread // threads for thread in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, bounds[:-1], bounds[1:]))
