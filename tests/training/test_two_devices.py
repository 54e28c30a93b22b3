"""Several devices end together: with one message, one exit code, and only after everything is saved."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest
import torch

from tests.training.conftest import ROOT, set_scale, wait_for_lines

pytestmark = pytest.mark.long


@pytest.fixture
def run(command, environment, workplace) -> Callable[[str], subprocess.Popen[str]]:
    """A function that starts the training on two devices, on one of which something happens."""
    set_scale(workplace, "{devices: 2, checkpoint_every: 500}", steps=60)
    started = []

    def start(event: str) -> subprocess.Popen[str]:
        python, _, _, *arguments = command("run")
        line = [python, str(ROOT / "tests/training/two_devices.py"), *arguments]
        variables = environment | {"MSSTS_TEST_EVENT": event}
        process = subprocess.Popen(line, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
        process.kill()
        process.communicate()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; in a container, nobody may have reaped those that have ended."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    """Exit code, messages, and all that was said."""
    said = process.communicate(timeout=120)[1]
    return process.returncode, re.findall(r"^error: .*", said, re.M), said


def test_a_stop_is_reported_after_a_slow_disk_has_taken_the_checkpoint(run, workplace):
    process = run("0 slow")
    wait_for_lines(process, workplace / "run/log.jsonl", 1)
    others = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    code, messages, said = ended(process)
    assert code == 75, said
    (message,) = messages
    with (workplace / "run/resume.pt").open("rb") as file:
        file.readline()
        saved = torch.load(file, weights_only=True)["step"]
    assert f"step {saved} is saved" in message
    assert not alive(others)


def test_a_stop_that_cannot_be_saved_says_so(run, workplace):
    code, messages, said = ended(run("0 full"))
    (message,) = messages
    assert code == 5 and "no space left" in message and "no resume checkpoint had been written yet" in message, said
    assert "is saved" not in said and not (workplace / "run/resume.pt").exists()


@pytest.mark.parametrize(
    ("event", "code", "told"),
    [
        ("1 InputError", 2, "a file: found this, expected that"),
        ("1 NonFinite", 3, "a loss is not finite"),
        ("1 MemoryError", 4, "out of memory"),
        ("1 NoSpace", 5, "no space left"),
        ("1 DeadWorker", 6, "a data-loader worker process died"),
        ("1 killed", 1, "the process of device 1 was ended by signal SIGKILL"),
        ("0 NonFinite", 3, "a loss is not finite"),
        ("0 nan", 3, "step 3: loss, loss_mask, loss_dice"),
        ("1 nan", 3, "step 3: loss, loss_mask, loss_dice"),
    ],
)
def test_a_failure_of_any_device_ends_the_command_with_its_message_and_code(run, workplace, event, code, told):
    found, messages, said = ended(run(event))
    assert found == code, said
    (message,) = messages
    assert told in message and "Traceback" not in said
    assert not (workplace / "run/run.lock").exists()


def test_the_other_devices_end_silently_when_the_first_is_killed(run, workplace):
    process = run("0 killed")
    wait_for_lines(process, workplace / "run/log.jsonl", 0)
    others = psutil.Process(process.pid).children(recursive=True)
    code, messages, said = ended(process)  # also waits for the others, which hold the other end of the pipe
    assert (code, messages) == (-signal.SIGKILL, []) and "Traceback" not in said
    assert len(others) == 1 and not alive(others)


def test_an_error_of_the_program_keeps_its_stack_trace(run):
    code, messages, said = ended(run("1 Bug"))
    assert code == 1, said
    assert "ZeroDivisionError: a bug" in said and len(messages) == 1
