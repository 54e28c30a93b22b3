"""The shipped cluster profiles: complete for every rule, and the generic one really runs jobs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROFILES = Path("workflow/profiles")
GENERIC = PROFILES / "generic"


@pytest.fixture
def sources(copy_sources, tmp_path):
    return copy_sources(tmp_path / "clone")


def requests(stdout: str) -> dict[tuple[str, str | None], tuple[int, ...]]:
    """GPUs, CPUs, MB and minutes that a dry run lists, by rule and backbone."""
    found = {}
    for rule, listed in re.findall(r"^rule (\w+):\n((?: {4}.*\n)+)", stdout, re.M):
        backbone, threads = re.search(r"backbone=(\w+)", listed), re.search(r"threads: (\d+)", listed)
        values = [re.search(rf"[ ,]{name}=(\d+)", listed)[1] for name in ("gpu", "mem_mb", "runtime")]
        values.insert(1, threads[1] if threads else "1")
        found[rule, backbone and backbone[1]] = tuple(map(int, values))
    return found


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_every_job_asks_for_gpus_cpus_memory_and_time_by_rule_and_backbone(name, snakemake, sources):
    profile = ["--workflow-profile", str(PROFILES / name), "--cores", "64"]  # a dry run has one core by itself
    run = snakemake(sources, "-n", *profile, "--config", "study=paper-2019-official")
    assert run.returncode == 0, run.stdout
    found = requests(run.stdout)
    assert found["prepare_coco", None][0] == 0
    for rule in ("pretrain", "train"):
        assert found[rule, "resnet50"] == (8, 8 * (4 + 1), 8 * (6000 + 4 * 2000), 24 * 60)
        assert found[rule, "swin_l"] == (8, 8 * (4 + 1), 8 * (12000 + 4 * 2000), 48 * 60)
    assert found["predict", "resnet50"] == (1, 4, 12000, 8 * 60)


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_a_study_on_the_cpu_asks_for_no_gpu(name, snakemake, sources):
    run = snakemake(sources, "-n", "--workflow-profile", str(PROFILES / name), "--config", "study=smoke")
    assert run.returncode == 0, run.stdout
    found = requests(run.stdout)
    assert {rule for rule, _ in found} >= {"generate", "pretrain", "train", "predict", "evaluate", "attention"}
    assert {values[:2] for values in found.values()} == {(0, 1)}


def state(sources, job: str) -> str:
    return subprocess.run([GENERIC / "status.sh", job], cwd=sources, capture_output=True, text=True).stdout.strip()


def submitted(sources, text: str, minutes: str = "5") -> str:
    (sources / "job.sh").write_text(text)
    command = [GENERIC / "submit.sh", "1", "100", minutes, "0", "job.sh"]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def final_state(sources, job: str) -> str:
    end = time.monotonic() + 30
    while (found := state(sources, job)) == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(("text", "expected"), [("exit 0", "success"), ("exit 3", "failed")])
def test_the_generic_scripts_tell_success_from_failure(sources, text, expected):
    assert final_state(sources, submitted(sources, text)) == expected


def test_a_cancelled_job_ends_as_failed(sources):
    job = submitted(sources, "sleep 60")
    assert state(sources, job) == "running"
    subprocess.run([GENERIC / "cancel.sh", job], cwd=sources, check=True)
    assert final_state(sources, job) == "failed"


# As a training does: it counts its turns, saves itself when it is asked to stop, and is complete in the third.
TURNS = """
echo >> turns
[ $(wc -l < turns) = 3 ] && exit 0
PYTHON -c 'import signal, sys, time
signal.signal(signal.SIGNUMBER, lambda *_: sys.exit(75))
open("ready", "w").close()
time.sleep(60)'
[ $? = 75 ] && eval "$MSSTS_RESUBMIT"
exit 1
"""


def turns(signal: str) -> str:
    return TURNS.replace("PYTHON", sys.executable).replace("SIGNUMBER", signal)


def test_a_job_that_saved_itself_at_its_time_limit_runs_again_until_it_is_done(sources):
    job = submitted(sources, turns("SIGUSR1"), minutes="0.02")
    assert final_state(sources, job) == "success"
    assert len((sources / "turns").read_text().splitlines()) == 3


def test_a_cancelled_job_that_saved_itself_is_not_run_again(sources):
    job = submitted(sources, turns("SIGTERM"))
    while not (sources / "ready").exists():
        time.sleep(0.02)
    subprocess.run([GENERIC / "cancel.sh", job], cwd=sources, check=True)
    assert final_state(sources, job) == "failed"
    assert len((sources / "turns").read_text().splitlines()) == 1


@pytest.mark.long
def test_the_generic_profile_generates_data_through_its_scripts(snakemake, sources):
    target = "data/smoke/synthvis/fingerprint.json"
    run = snakemake(
        sources,
        "--workflow-profile",
        str(GENERIC),
        "--latency-wait",
        "5",
        "--config",
        "study=smoke",
        "mlflow=off",
        "--",
        target,
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert (sources / target).exists()
    assert [path.read_text().strip() for path in (sources / ".snakemake/generic").iterdir()] == ["0"]
