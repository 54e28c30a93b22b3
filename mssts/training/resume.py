"""Resume checkpoints: all that an interrupted training needs to continue as if it had never stopped.

The last two are kept and removed when the run is complete. A file is one line with the SHA-256 of the rest, followed by
a mapping written by torch.save.
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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from mssts.core.errors import InputError
from mssts.core.files import atomic_write
from mssts.training.finished import CHECKPOINT, COST, RECORD

NEWEST, PREVIOUS, INCOMING = "resume.pt", "resume-previous.pt", "resume-incoming.pt"
FILES = (INCOMING, NEWEST, PREVIOUS)  # the newest first
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class ResumeFiles:
    """The resume checkpoints of one run directory.

    Args:
        output: Directory of the run.
        identity: What tells the run from others; a state of another configuration, dataset or start is not used.
    """

    def __init__(self, output: Path, identity: dict[str, Any]) -> None:
        self._output = output
        self._identity = json.dumps(identity, sort_keys=True)
        for name in (*FILES, CHECKPOINT, RECORD, COST):  # temporary files of a process that was killed while writing
            for path in output.glob(f".{name}.*"):
                path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` as the newest resume checkpoint; the newest so far becomes the previous one."""
        buffer = io.BytesIO()
        torch.save(state | {"identity": self._identity}, buffer)
        payload = buffer.getbuffer()
        with atomic_write(self._output / INCOMING, "wb") as file:
            file.write(_header(payload))
            file.write(payload)
        if (self._output / NEWEST).exists():
            os.replace(self._output / NEWEST, self._output / PREVIOUS)
        os.replace(self._output / INCOMING, self._output / NEWEST)

    def load(self) -> dict[str, Any] | None:
        """Return the newest sound state of this run, or None; damaged files are reported and removed."""
        for name in FILES:
            path = self._output / name
            if not path.exists():
                continue
            try:
                state = _read(path)
            except InputError as error:
                print(f"warning: {error} The previous resume checkpoint is used if there is one.", file=sys.stderr)
                path.unlink(missing_ok=True)
                continue
            if state["identity"] == self._identity:
                return state
            other = "belongs to another configuration, dataset or initial checkpoint; ignored"
            print(f"warning: {path}: {other}", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Remove the resume checkpoints of a complete run."""
        for name in FILES:
            (self._output / name).unlink(missing_ok=True)


def _header(payload: bytes | memoryview) -> bytes:
    return f"mssts resume sha256 {hashlib.sha256(payload).hexdigest()}\n".encode()


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header, payload = file.readline(len(_header(b""))), file.read()
    if header != _header(payload):
        raise InputError(f"{path}: damaged: the checksum does not match the content.")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(f"{path}: unreadable ({' '.join(str(error).split())[:200]}).") from None


@dataclass
class StopRequest:
    """Whether a signal has asked the training to stop after the current step."""

    asked: bool = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """While the block runs, SIGTERM and SIGUSR1 only set the request; afterwards the old handlers are restored."""
    request = StopRequest()

    def ask(_number: int, _frame: FrameType | None) -> None:
        request.asked = True

    before = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
