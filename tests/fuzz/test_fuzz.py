"""Hostile inputs are refused with a message or read right, and the fuzz test sees what it looks for."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from mssts.core.errors import InputError
from tests.fuzz import changes
from tests.fuzz.case import Case


@pytest.mark.long
def test_hostile_inputs_are_refused_with_a_message_or_read_right(root):
    command = [sys.executable, "-m", "tests.fuzz", "--count", "500"]
    run = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, run.stdout


@pytest.fixture
def case(tmp_path, monkeypatch) -> Case:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("input.json").write_text('{"videos": [{"id": 1, "height": 24, "width": 32}], "categories": []}')
    return Case(random.Random(0), 1, tmp_path / "log")


def refuse(message):
    raise InputError(message)


FAULTS = {
    "trace": lambda: 1 / 0,
    "exit code": lambda: sys.exit(7),
    "name of a class": lambda: refuse("input.json: UnicodeDecodeError"),
    "control character": lambda: print("error: input.json: found \x1b[31m", file=sys.stderr),
    "long message": lambda: print("error: " + "a" * 10**6, file=sys.stderr),
    "warning of a library": lambda: print("x.py:1: RuntimeWarning: overflow", file=sys.stderr),
    "changed input": lambda: Path("input.json").write_text("{}"),
    "lost input": lambda: Path("input.json").unlink(),
    "executed code": lambda: Path("owned").touch(),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_command_is_found(case, name):
    case.read("command", FAULTS[name])
    assert "FOUND" in case.log.read_text()


def test_a_message_for_people_is_no_fault(case):
    assert case.read("command", lambda: refuse("input.json: found 3, expected 4")) is not None
    assert case.read("command", lambda: None) is None
    assert "FOUND" not in case.log.read_text()


def test_a_number_is_always_the_same_input(case):
    before, path, found = Path("input.json").read_bytes(), Path("input.json"), []
    for _ in range(2):
        path.write_bytes(before)
        case.rng = random.Random("0 annotations 7")
        changes.change_bytes(case, path)
        found.append(path.read_bytes())
    assert found[0] == found[1] != before
