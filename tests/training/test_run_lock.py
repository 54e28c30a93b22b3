"""One owner per run directory, whatever became of the owners before."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from mssts.core.errors import InputError
from mssts.training import run_lock as module
from mssts.training.run_lock import run_lock, stop_owners
from tests.training.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from mssts.training.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that owns the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def left_by(tmp_path, **owner):
    (tmp_path / "run.lock").write_text(json.dumps({"pid": 4, "host": "elsewhere", "started": "2020-01-01"} | owner))


def test_a_second_process_is_refused_with_the_name_of_the_owner(tmp_path, holder):
    with pytest.raises(InputError) as caught, run_lock(tmp_path):
        pass
    for part in (f"process {holder.pid}", socket.gethostname(), str(tmp_path / "run.lock")):
        assert part in str(caught.value)
    assert holder.poll() is None


def test_the_lock_of_a_killed_owner_is_taken_over_and_said_to_be_stale(tmp_path, holder, capsys):
    holder.kill()
    holder.wait()
    with run_lock(tmp_path):
        pass
    assert f"stale lock of process {holder.pid}" in capsys.readouterr().err
    assert not (tmp_path / "run.lock").exists()


def test_a_lock_left_by_another_machine_is_taken_over_when_nobody_touches_it(tmp_path, capsys):
    left_by(tmp_path)
    future = time.time() + 10**9
    os.utime(tmp_path / "run.lock", (future, future))
    with run_lock(tmp_path, watch_seconds=0.3):
        pass
    assert "stale lock of process 4 on elsewhere" in capsys.readouterr().err


@contextmanager
def touched(path):
    """Somebody touches the file regularly while the block runs."""
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(0.05):
            os.utime(path)

    alive = threading.Thread(target=touch)
    alive.start()
    try:
        yield
    finally:
        ended.set()
        alive.join()


def test_a_lock_that_another_machine_goes_on_touching_is_respected(tmp_path):
    left_by(tmp_path)
    refused = pytest.raises(InputError, match="process 4 on elsewhere")
    with touched(tmp_path / "run.lock"), refused, run_lock(tmp_path, watch_seconds=5):
        pass
    assert (tmp_path / "run.lock").exists()


@pytest.fixture(params=["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def no_record_locks(request, monkeypatch):
    """A file system without record locks, and the answers that such have."""
    number = getattr(errno, request.param)

    def unsupported(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", unsupported)


def test_a_free_directory_is_owned_without_record_locks_after_a_warning(tmp_path, no_record_locks, capsys):
    with run_lock(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()
    (line,) = capsys.readouterr().err.splitlines()
    assert "run.lock: this file system has no record locks" in line
    assert not (tmp_path / "run.lock").exists()


def test_without_record_locks_the_heartbeat_tells_who_lives(tmp_path, no_record_locks, capsys, monkeypatch):
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.2)
    path = tmp_path / "run.lock"
    left_by(tmp_path, host=socket.gethostname())
    with touched(path):
        with pytest.raises(InputError, match="process 4 on"), run_lock(tmp_path, watch_seconds=5):
            pass
        assert module._living_owner(path)["pid"] == 4
    assert stop_owners(tmp_path) == 0  # and no signal to a process that has the number of a dead owner
    with run_lock(tmp_path, watch_seconds=0.2):
        pass
    assert "stale lock of process 4" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2]", b'{"pid": '])
def test_a_lock_file_of_invalid_content_is_taken_over(tmp_path, content):
    (tmp_path / "run.lock").write_bytes(content)
    with run_lock(tmp_path, watch_seconds=0.1):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path), (tmp_path / "other").open("w") as other:
        fcntl.lockf(other, fcntl.LOCK_EX)
    assert not (tmp_path / "run.lock").exists()


@pytest.mark.long
def test_a_training_refuses_a_directory_that_another_one_owns(train, start, workplace):
    from tests.training.conftest import wait_for_lines

    process = start("run")
    wait_for_lines(process, workplace / "run/log.jsonl", 1)
    process.send_signal(19)  # SIGSTOP: alive, and it stays so while we look
    with pytest.raises(InputError, match=f"process {process.pid}"):
        train("run")
