"""A scheduler stops a job by a signal to every process of it: the stage may finish what it has to, and is heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.long

STAGE_THAT_SAVES_ITSELF = """
import signal, sys, time
from pathlib import Path

requests = []
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda *_: requests.append(None))
Path("started").touch()
while not requests:
    time.sleep(0.05)
time.sleep(1)
print("error: asked to stop; all is saved", file=sys.stderr)
sys.exit(75)
"""


def test_attention_maps_whose_job_is_killed_are_not_drawn_and_the_report_is_made(clone, snakemake):
    stage = clone / "mssts/__main__.py"
    killed = """
import os, signal, sys
from pathlib import Path
if sys.argv[1] == "attention":
    if len(sys.argv) == 4:
        print("error: out of memory", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    Path("reason").write_text(" ".join(sys.argv[4:]))
"""
    stage.write_text(killed + stage.read_text())
    arguments = ["--forcerun", "attention", "--config", "study=smoke", "mlflow=off", "--", "reports/table.pdf"]
    run = snakemake(clone, "--cores", "1", *arguments)
    assert run.returncode == 0, run.stdout
    reason = (clone / "reason").read_text()
    assert reason.startswith(
        "--not-drawn the job was killed or failed, perhaps for lack of memory (1500 MB were asked for)"
    )
    assert "error: out of memory" in run.stdout and "(Rule: document)" in run.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_job_whose_processes_are_all_asked_to_stop_waits_for_its_stage_and_is_submitted_again(
    copy_sources, tmp_path, number
):
    directory = copy_sources(tmp_path / "clone")
    (directory / "mssts/__main__.py").write_text(STAGE_THAT_SAVES_ITSELF)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--scheduler", "greedy", "--nocolor", "--config"]
    command += ["study=smoke", "mlflow=off", "--", "data/smoke/synthvis/fingerprint.json"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | {"MSSTS_RESUBMIT": "touch submitted-again"}
    job = subprocess.Popen(command, cwd=directory, env=environment, start_new_session=True, **streams)
    try:
        while not (directory / "started").exists():
            assert job.poll() is None, job.stdout.read()
            time.sleep(0.05)
        os.killpg(job.pid, number)
        said, _ = job.communicate(timeout=300)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
    assert job.returncode == 1
    assert "error: asked to stop; all is saved" in said
    assert (directory / "submitted-again").exists()
    assert "all is saved" in (directory / "logs/smoke/synthvis/generate.log").read_text()
