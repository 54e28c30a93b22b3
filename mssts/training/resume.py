"""The resume checkpoint: all that a training needs to go on as if it had never stopped; the last two are kept.

A file is one line with the SHA-256 of the rest, then a mapping written by torch.save. It is gone when the run ends.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mssts.core.errors import InputError
from mssts.core.files import atomic_write

NEWEST, PREVIOUS, INCOMING = "resume.pt", "resume-previous.pt", "resume-incoming.pt"
WRITTEN = (NEWEST, PREVIOUS, INCOMING, "checkpoint.pt", "run.json", "log.jsonl", "cost.json")
MAGIC = b"mssts resume sha256 "
HEADER = len(MAGIC) + 65
STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class ResumeFiles:
    """The resume checkpoints of one run directory.

    identity: what the run is; a state of another configuration, other data or another start is left alone.
    """

    def __init__(self, run: Path, identity: dict[str, Any]) -> None:
        self.run = run
        self._identity = json.dumps(identity, sort_keys=True)
        for name in WRITTEN:  # of a process that was killed while writing
            for path in run.glob(f".{name}.*"):
                path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` as the newest; the newest so far becomes the previous one."""
        buffer = io.BytesIO()
        torch.save(state | {"identity": self._identity}, buffer)
        payload = buffer.getbuffer()
        with atomic_write(self.run / INCOMING, "wb") as file:
            file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
            file.write(payload)
        if (self.run / NEWEST).exists():
            os.replace(self.run / NEWEST, self.run / PREVIOUS)
        os.replace(self.run / INCOMING, self.run / NEWEST)

    def load(self) -> dict[str, Any] | None:
        """The newest sound state of this run, None if there is none; damaged files are reported and removed."""
        for name in (INCOMING, NEWEST, PREVIOUS):
            path = self.run / name
            if not path.exists():
                continue
            try:
                state = _read(path)
            except InputError as error:
                print(f"warning: {error} The one before it is used, if there is one.", file=sys.stderr)
                path.unlink(missing_ok=True)
                continue
            if state["identity"] == self._identity:
                return state
            print(f"warning: {path}: of another configuration, data set or start; not used", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Remove the resume checkpoints; the run is complete."""
        for name in (INCOMING, NEWEST, PREVIOUS):
            (self.run / name).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    content = memoryview(path.read_bytes())
    header = bytes(content[:HEADER])
    payload = content[HEADER:]
    if not header.startswith(MAGIC) or header[len(MAGIC) : -1] != hashlib.sha256(payload).hexdigest().encode():
        raise InputError(f"{path}: damaged: its content does not have the checksum that it was written with.")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(f"{path}: unreadable ({' '.join(str(error).split())[:200]}).") from None


class StopRequest:
    """Whether a signal has asked the training to stop after the present step."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def __call__(self, number: int, _frame: Any) -> None:
        """Signal handler."""
        self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """While the block runs, SIGTERM and SIGUSR1 only set the request; the handlers before it come back afterwards."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
