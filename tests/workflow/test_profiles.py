"""The shipped cluster profiles: complete for every rule, and the generic one really runs jobs."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import yaml

PROFILES = Path("workflow/profiles")
GENERIC = PROFILES / "generic"


@pytest.fixture
def sources(copy_sources, tmp_path):
    return copy_sources(tmp_path / "clone")


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_a_profile_is_read_and_plans_the_whole_study(name, snakemake, sources):
    run = snakemake(sources, "-n", "--workflow-profile", str(PROFILES / name), "--config", "study=smoke")
    assert run.returncode == 0, run.stdout
    assert "train" in run.stdout and "evaluate" in run.stdout


def test_resources_are_set_for_rules_that_exist(root):
    rules = "\n".join(path.read_text() for path in (root / "workflow/rules").glob("*.smk"))
    named = yaml.safe_load((root / PROFILES / "slurm/config.yaml").read_text())["set-resources"]
    assert {"pretrain", "train", "predict", "attention"} == set(named)
    assert all(f"rule {name}:" in rules for name in named)


def state(sources, job: str) -> str:
    return subprocess.run([GENERIC / "status.sh", job], cwd=sources, capture_output=True, text=True).stdout.strip()


def submitted(sources, text: str) -> str:
    (sources / "job.sh").write_text(text)
    done = subprocess.run(
        [GENERIC / "submit.sh", "1", "100", "5", "job.sh"], cwd=sources, capture_output=True, text=True, check=True
    )
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
