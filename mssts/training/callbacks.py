"""Callbacks: code that observes a training, such as experiment tracking, without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from mssts.models import MsStsVis


@dataclass(frozen=True)
class StartedRun:
    """A training run whose set-up is complete.

    Attributes:
        record: Description of the run, as run.json will hold it.
        output: Directory of the run; log.jsonl in it holds the steps so far.
        fabric: Devices of the run. Only the process with `fabric.is_global_zero` writes files.
        start: Number of optimizer steps that were done before; 0 in a run that is not resumed.
    """

    record: dict[str, Any]
    output: Path
    fabric: Fabric
    start: int = 0


class Callback(Protocol):
    """Observer of a training run; every process of the run calls it.

    A subclass overrides the methods that it needs. A callback changes no weights and no result: training draws from
    generators of its own and seeds each micro-batch, so that a callback may draw random numbers and may switch the
    model to evaluation mode. An exception ends the run. A resumed run repeats steps after its last resume checkpoint,
    so that a callback may see a step twice.
    """

    def on_start(self, started: StartedRun) -> None:
        """Called once, before the first step."""

    def on_step(self, step: int, model: MsStsVis, record: dict[str, float] | None) -> None:
        """Called after each optimizer step.

        Args:
            step: Number of optimizer steps done.
            model: The model, on its device.
            record: The line written to log.jsonl after this step; None if none was due.
        """

    def on_end(self, error: BaseException | None) -> None:
        """Called once, after all files of the run are written.

        Args:
            error: The exception that ended the run early (`Preempted` if it was asked to stop); None if it is complete.
        """


@contextmanager
def observed(callbacks: Sequence[Callback], started: StartedRun) -> Iterator[None]:
    """Tell the callbacks of the start of the block and of its end, however it ends."""
    try:
        for callback in callbacks:
            callback.on_start(started)
        yield
    except BaseException as error:
        for callback in callbacks:
            callback.on_end(error)
        raise
    for callback in callbacks:
        callback.on_end(None)
