"""The driver is killed outright in the middle of a study: one command finishes it, to the bytes of one undisturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.test_smoke import MEASURED

pytestmark = pytest.mark.long
FINAL_TRAINING = Path("results/smoke/synthvis/tiny/ms_sts_temporal_fgbg/seed1")


def results(directory: Path) -> dict[str, bytes]:
    files = [path for path in (directory / "results").rglob("*") if path.is_file() and path.name not in MEASURED]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("MSSTS_", "MLFLOW_"))}


def killed_in_training(directory: Path) -> None:
    """Start the study and kill its driver, and nothing else, while the last variant trains."""
    command = [sys.executable, "-m", "snakemake", "--scheduler", "greedy", "--cores", "2", "--config", "study=smoke"]
    driver = subprocess.Popen(
        [*command, "--", "reports/table.pdf"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 300
    while not (directory / FINAL_TRAINING / "run.lock").exists():
        assert driver.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()


def test_one_command_finishes_a_study_whose_driver_was_killed(smoke, sources, root, tmp_path):
    directory = shutil.copytree(sources, tmp_path / "clone")
    shutil.copy(root / "Makefile", directory)
    killed_in_training(directory)
    assert not (directory / "reports/table.pdf").exists()
    binaries = f"BIN={Path(sys.executable).parent}"
    make = ["make", "--old-file", ".venv/.installed", binaries, "STUDY=smoke", "CORES=2", "after-crash"]
    run = subprocess.run(make, cwd=directory, env=environment(), capture_output=True, text=True)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    assert results(directory) == results(smoke)
    assert (directory / "reports/table.pdf").read_bytes() == (smoke / "reports/table.pdf").read_bytes()
