"""Failures of a training that are no mistake in an input file, each with its own exit code and advice.

Exit codes: 3 a loss is not finite, 4 out of memory, 5 no space left, 6 a data-loader worker died, 75 stopped by a
signal with everything saved (run the same command again). Bad input has code 2.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mssts.core.errors import NO_SPACE, Failure, InputError, NoSpace

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EROFS)
NO_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory", "bad_alloc")
DEAD_WORKER = "DataLoader worker"


class RunFailure(Failure):
    """A training ended before its last step; the command line exits with `exit_code`."""


class NonFinite(RunFailure):
    """A prediction or a loss is NaN or infinite."""

    exit_code = 3


class OutOfMemory(RunFailure):
    """The device or the machine ran out of memory."""

    exit_code = 4


class DeadWorker(RunFailure):
    """A process that prepares batches died."""

    exit_code = 6


class Preempted(RunFailure):
    """A signal stopped the training after everything was saved; 75 is the usual code for "try again"."""

    exit_code = 75


@dataclass
class TrainingProgress:
    """The state of a training that error messages report.

    Attributes:
        run: Name of the run.
        output: Directory of the run.
        step: Current optimizer step, from 0.
        saved: Optimizer steps in the last resume checkpoint; 0 if there is none.
        videos: Ids of the videos of the current micro-batch.
    """

    run: str
    output: Path
    step: int = 0
    saved: int = 0
    videos: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.run}: step {self.step}"

    @property
    def saved_state(self) -> str:
        """What can be resumed from, as part of a message."""
        if not self.saved:
            return "no resume checkpoint had been written yet"
        return f"the last resume checkpoint (step {self.saved}) is kept in {self.output / 'resume.pt'}"

    def non_finite(self, names: list[str]) -> NonFinite:
        """Return the failure to raise when the losses or predictions called `names` are not finite."""
        where = f"on videos {list(self.videos)}" if self.videos else "on another device"
        check = ", or check the annotations of these videos" if self.videos else ""
        return NonFinite(
            f"{self}: {', '.join(names)} not finite {where}; {self.saved_state}. Lower the learning rate or the loss "
            f"weights{check}. Without a change, the same command fails at the same step again."
        )


@contextmanager
def reraise_with_advice(progress: TrainingProgress) -> Iterator[None]:
    """Replace errors of the system and of libraries by failures that name run and step and say what to do."""
    try:
        yield
    except Failure:
        raise
    except (MemoryError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, MemoryError) or any(mark in reason for mark in NO_MEMORY):
            raise OutOfMemory(
                f"{progress}: out of memory ({reason}); {progress.saved_state}. Lower execution.clips_per_device (the "
                "total batch stays the same), set execution.checkpoint_encoder and then checkpoint_backbone to true. "
                "If that is not enough, lower data.max_long_side or the number of frames, which changes the result. "
                "Then run the same command again."
            ) from None
        if number in NO_SPACE:
            raise NoSpace(
                f"{progress}: no space left to write in {progress.output} ({reason}); {progress.saved_state}. Free "
                "space or raise the quota, then run the same command again."
            ) from None
        if number in NOT_WRITABLE:
            raise InputError(
                f"{progress.output}: cannot be written ({reason}). Give this user write permission, or choose another "
                "directory; then run the same command again."
            ) from None
        if DEAD_WORKER in reason:
            raise DeadWorker(
                f"{progress}: a data-loader worker process died ({reason}); {progress.saved_state}. If the system "
                "killed it for memory, lower execution.workers. Then run the same command again."
            ) from None
        raise
