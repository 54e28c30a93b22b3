"""The benchmark of a training step runs, at a size too small to measure anything."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_a_step_compares_two_versions():
    command = [sys.executable, str(ROOT / "benchmarks/training_step.py"), str(ROOT), "--rounds", "1", "--steps", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["other", "this", "ratio"]
    other, this = (line.split(", ", 1)[1] for line in lines[:2])
    assert other == this  # the same version: the same operators and the same loss
