"""Lock of a run directory: two processes must not write the same files.

The owner holds a record lock on `run.lock`, which the system releases when the owner dies, and touches the file
regularly. This system may not see the record lock of another machine, and some file systems have none; there a file
that is still being touched shows that its owner is alive. No clocks are compared, so that wrong dates do no harm. (The
library filelock empties the file when it opens it, which would lose the owner's name, and has no such sign of life.)
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
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError

NAME = "run.lock"
TOUCH_SECONDS = 10.0
WATCH_SECONDS = 45.0
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # what file systems without locks answer


@contextmanager
def run_lock(directory: Path, watch_seconds: float = WATCH_SECONDS) -> Iterator[None]:
    """Own `directory`, which is created if missing, while the block runs; report and take over a stale lock.

    Args:
        directory: Directory of the run.
        watch_seconds: How long to watch the lock of another machine, or any lock where the file system has no record
            locks, for a sign of life.

    Raises:
        InputError: If another process owns the directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    file, has_record_lock = _lock(path)
    with file:
        owner, host = _read_owner(file), socket.gethostname()
        sees_owner = has_record_lock and owner.get("host") == host
        if owner and not sees_owner and _has_heartbeat(file, watch_seconds):
            raise _locked_error(path, owner)
        if not has_record_lock:
            advice = "Do not start the same training twice at the same moment."
            print(f"warning: {path}: this file system has no record locks. {advice}", file=sys.stderr)
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
            if _take_record_lock(file) or not _has_heartbeat(file, WATCH_SECONDS):
                return None
    except FileNotFoundError:
        return None
    except OSError:
        pass  # another process has the lock
    return owner if owner.get("host") == socket.gethostname() and isinstance(owner.get("pid"), int) else None


def _take_record_lock(file: FileIO) -> bool:
    """Lock the file; return whether its file system has record locks. Raises OSError if another process has it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return False
    return True


def _lock(path: Path) -> tuple[FileIO, bool]:
    """The file, locked if its file system has record locks; opened again if its owner removed it before the locking."""
    while True:
        file = path.open("a+b", buffering=0)
        try:
            has_record_lock = _take_record_lock(file)
        except (BlockingIOError, PermissionError):  # the system chooses which
            with file:
                raise _locked_error(path, _read_owner(file)) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file, has_record_lock
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
