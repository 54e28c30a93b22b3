"""One owner per run directory: a twin that an earlier crash left alive must not write the same files.

The owner holds a record lock on `run.lock`, which the system releases when the owner dies, however it dies, and touches
the file regularly. Where another machine's lock is not seen by this system, a file that goes on being touched tells a
living owner; no clock is compared, so that dates in the future do no harm.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError

NAME = "run.lock"
TOUCH_SECONDS = 10.0
WATCH_SECONDS = 45.0


@contextmanager
def run_lock(directory: Path, watch_seconds: float = WATCH_SECONDS) -> Iterator[None]:
    """Own `directory` while the block runs; a stale lock is reported and taken over.

    watch_seconds: how long the lock of another machine is watched for a sign of life.
    Raises InputError if another process owns the directory. Creates the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    descriptor = _locked(path)
    try:
        owner = _owner(descriptor)
        if owner and owner.get("host") != socket.gethostname() and _touched(descriptor, watch_seconds):
            raise _taken(path, owner)
        if owner:
            print(f"warning: {path}: stale, {_text(owner)} is gone; this process takes over", file=sys.stderr)
        record = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)
        ended = threading.Event()
        touching = threading.Thread(target=_touch, args=(descriptor, ended), daemon=True)
        touching.start()
        try:
            yield
        finally:
            ended.set()
            touching.join()
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def stop_owners(results: Path, seconds: float = 300.0) -> int:
    """Ask every training under `results` that is alive on this machine to save and stop, and wait until it has.

    Returns how many there were. Raises InputError for one that does not stop in the given time.
    """
    paths = sorted(results.rglob(NAME))
    asked = {path: owner for path in paths if (owner := _living_owner(path))}
    for owner in asked.values():
        os.kill(owner["pid"], signal.SIGTERM)
    end = time.monotonic() + seconds
    for path, owner in asked.items():
        while _living_owner(path):
            if time.monotonic() > end:
                raise InputError(f"{path}: {_text(owner)} does not stop; end it with: kill -9 {owner['pid']}")
            time.sleep(0.1)
    return len(asked)


def _living_owner(path: Path) -> dict[str, Any] | None:
    """The owner of a lock if it is held by a process of this machine."""
    try:
        with path.open("r+b") as file:
            owner = _owner(file.fileno())
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except OSError:
        return owner if owner.get("host") == socket.gethostname() and isinstance(owner.get("pid"), int) else None
    return None


def _locked(path: Path) -> int:
    """Descriptor of the locked file at `path`; the file may be replaced between opening and locking, so look twice."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _taken(path, owner) from None
            raise
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _owner(descriptor: int) -> dict[str, Any]:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _touched(descriptor: int, seconds: float) -> bool:
    """Whether somebody touches the file within the given time."""
    before = os.fstat(descriptor).st_mtime_ns
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, seconds / 10))
        if os.fstat(descriptor).st_mtime_ns != before:
            return True
    return False


def _touch(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(TOUCH_SECONDS):
        os.utime(descriptor)


def _text(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid')} on {owner.get('host')}, started {owner.get('started')},"


def _taken(path: Path, owner: dict[str, Any]) -> InputError:
    who = _text(owner) if owner else "another process"
    return InputError(
        f"{path}: {who} is training this run right now. Wait for it, or end it (kill {owner.get('pid', 'PID')} there), "
        "then run the same command again."
    )
