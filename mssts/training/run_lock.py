"""Lock of a run directory: two processes must not write the same files.

The owner holds a record lock on `run.lock`, which the system releases when the owner dies, and touches the file
regularly. This system may not see the record lock of another machine; there a file that is still being touched shows
that its owner is alive. No clocks are compared, so that wrong dates do no harm. (The library filelock empties the file
when it opens it, which would lose the owner's name, and has no such sign of life.)
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError

NAME = "run.lock"
TOUCH_SECONDS = 10.0
WATCH_SECONDS = 45.0


@contextmanager
def run_lock(directory: Path, watch_seconds: float = WATCH_SECONDS) -> Iterator[None]:
    """Own `directory`, which is created if missing, while the block runs; report and take over a stale lock.

    Args:
        directory: Directory of the run.
        watch_seconds: How long to watch the lock of another machine for a sign of life.

    Raises:
        InputError: If another process owns the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    with _lock(path) as file:
        owner, host = _read_owner(file), socket.gethostname()
        if owner and owner.get("host") != host and _has_heartbeat(file, watch_seconds):
            raise _locked_error(path, owner)
        if owner:
            stale = f"stale lock of {_describe(owner)}, which no longer runs; taking it over"
            print(f"warning: {path}: {stale}", file=sys.stderr)
        record = {"pid": os.getpid(), "host": host, "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.truncate(0)
        file.write(json.dumps(record).encode())
        ended = threading.Event()

        def touch() -> None:
            while not ended.wait(TOUCH_SECONDS):
                os.utime(file.fileno())

        heartbeat = threading.Thread(target=touch, daemon=True)
        heartbeat.start()
        try:
            yield
        finally:
            ended.set()
            heartbeat.join()
            path.unlink(missing_ok=True)


def stop_owners(results: Path, seconds: float = 300.0) -> int:
    """Ask all trainings under `results` that run on this machine to save and stop, and wait for them.

    Args:
        results: Directory that holds the run directories.
        seconds: How long to wait.

    Returns:
        The number of trainings that were running.

    Raises:
        InputError: If a training does not stop in time.
    """
    owners = {path: owner for path in sorted(results.rglob(NAME)) if (owner := _living_owner(path))}
    for owner in owners.values():
        os.kill(owner["pid"], signal.SIGTERM)
    end = time.monotonic() + seconds
    for path, owner in owners.items():
        while _living_owner(path):
            if time.monotonic() > end:
                raise InputError(f"{path}: {_describe(owner)} does not stop; end it with: kill -9 {owner['pid']}")
            time.sleep(0.1)
    return len(owners)


def _living_owner(path: Path) -> dict[str, Any] | None:
    """The owner of a lock if it is held by a process of this machine."""
    try:
        with path.open("r+b", buffering=0) as file:
            owner = _read_owner(file)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:
        return owner if owner.get("host") == socket.gethostname() and isinstance(owner.get("pid"), int) else None
    return None


def _lock(path: Path) -> FileIO:
    """The locked file; opened again if its owner removed it between opening and locking."""
    while True:
        file = path.open("a+b", buffering=0)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # the system chooses which
            with file:
                raise _locked_error(path, _read_owner(file)) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _read_owner(file: FileIO) -> dict[str, Any]:
    try:
        owner = json.loads(os.pread(file.fileno(), 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _has_heartbeat(file: FileIO, seconds: float) -> bool:
    """Whether the file's time changes within so many seconds."""
    before = os.fstat(file.fileno()).st_mtime_ns
    for _ in range(20):
        time.sleep(seconds / 20)
        if os.fstat(file.fileno()).st_mtime_ns != before:
            return True
    return False


def _describe(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid')} on {owner.get('host')}, started {owner.get('started')}"


def _locked_error(path: Path, owner: dict[str, Any]) -> InputError:
    who, host = (_describe(owner), owner.get("host")) if owner else ("another process", "its machine")
    return InputError(
        f"{path}: {who}, is running this training. Wait for it, or stop it (kill {owner.get('pid', 'PID')} on {host}), "
        "then run the same command again."
    )
