"""One owner per run directory, whatever became of the owners before."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from mssts.core.errors import InputError
from mssts.training.run_lock import run_lock
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


def test_a_lock_that_another_machine_goes_on_touching_is_respected(tmp_path):
    left_by(tmp_path)
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(0.05):
            os.utime(tmp_path / "run.lock")

    alive = threading.Thread(target=touch)
    alive.start()
    try:
        with pytest.raises(InputError, match="process 4 on elsewhere"), run_lock(tmp_path, watch_seconds=5):
            pass
    finally:
        ended.set()
        alive.join()
    assert (tmp_path / "run.lock").exists()


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


def test_a_training_refuses_a_directory_that_another_one_owns(train, start, workplace):
    from tests.training.conftest import wait_for_lines

    process = start("run")
    wait_for_lines(process, workplace / "run/log.jsonl", 1)
    process.send_signal(19)  # SIGSTOP: alive, and it stays so while we look
    with pytest.raises(InputError, match=f"process {process.pid}"):
        train("run")
