"""The benchmark of a training step runs, at a size too small to measure anything."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_a_step_compares_two_versions():
    command = [sys.executable, str(ROOT / "benchmarks/training_step.py"), "--sizes", "embedded", "--other", str(ROOT)]
    command += ["--rounds", "1", "--steps", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    described = [
        line.removeprefix("training step, embedded, ms_sts_temporal, 1 steps: ").split(" ")[:2] for line in lines
    ]
    expected = [["this,", "time"], ["other,", "time"], ["other,", "time"]]
    assert described[:6] == expected + [[name, "memory"] for name, _ in expected]
    this, other = (line.split(": ", 1)[1] for line in lines[6:])
    assert this == other  # the same version: the same operators and the same loss
