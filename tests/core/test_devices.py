"""Jobs that run side by side on one machine take different GPUs. Every claim here is that of a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from uuid import uuid4

import pytest

CLAIM = """
import os, sys
from mssts.core.devices import VISIBLE, claim_gpus
from mssts.core.errors import InputError
try:
    claim_gpus(int(sys.argv[1]))
    claim_gpus(1)  # a second stage in the process keeps what it has
except InputError as error:
    sys.exit(f"error: {error}")
print(os.environ[VISIBLE], flush=True)
sys.stdin.read()
"""
Job = subprocess.Popen[str]


@pytest.fixture
def names() -> list[str]:
    """Names of two GPUs that no other test knows: claims are seen on the whole machine."""
    return sorted(f"GPU-{uuid4()}" for _ in range(2))


@pytest.fixture
def start(root, tmp_path) -> Callable[..., Job]:
    """A function that starts a job on so many GPUs of those that are visible; None: CUDA_VISIBLE_DEVICES is not set."""
    jobs: list[Job] = []

    def job(number: int, visible: str | None) -> Job:
        environment = os.environ | {"PYTHONPATH": str(root), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        environment |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-c", CLAIM, str(number)]
        jobs.append(subprocess.Popen(command, env=environment, text=True, **streams))
        return jobs[-1]

    yield job
    for each in jobs:
        each.kill()
        each.communicate()


@pytest.fixture
def nvidia_smi(tmp_path, names) -> None:
    """The command that lists the GPUs of the machine, in a format that it has had for years."""
    lines = [f"GPU {number}: NVIDIA A100-SXM4-40GB (UUID: {name})" for number, name in enumerate(names)]
    lines.insert(1, "  MIG 1g.5gb     Device  0: (UUID: MIG-1)")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)


def claimed(job: Job) -> list[str]:
    """The GPUs that CUDA will see in the job, once it has its claims."""
    return job.stdout.readline().strip().split(",")


def test_jobs_take_different_gpus_and_a_third_waits_until_one_is_killed(start, names):
    visible = ",".join(names)
    first, second = start(1, visible), start(1, visible)
    held = {job.pid: claimed(job) for job in (first, second)}
    assert sorted(held.values()) == [[name] for name in names]
    third = start(1, visible)
    said = third.stderr.readline()
    assert said.startswith("waiting for 1 free GPUs")
    assert all(f"{name}: process {pid}" in said for pid, (name,) in held.items())
    second.kill()
    assert claimed(third) == held[second.pid]


def test_a_job_on_all_gpus_takes_them_together_and_in_their_order(start, names):
    visible = ",".join(reversed(names))
    one = start(1, visible)
    assert claimed(one) == names[1:]
    both = start(2, visible)
    assert "waiting for 2 free GPUs" in both.stderr.readline()
    other = start(1, visible)
    assert claimed(other) == names[:1]  # one that waits holds nothing
    one.kill()
    other.kill()
    assert claimed(both) == names[::-1]


def test_a_number_and_the_beginning_of_a_uuid_name_the_same_gpu(start, names, nvidia_smi):
    assert claimed(start(1, "1")) == ["1"]
    assert claimed(start(1, None)) == names[:1]
    assert f"{names[1][:13]}: process" in start(1, names[1][:13]).stderr.readline()


def test_more_gpus_than_are_visible_are_an_error(start, names, nvidia_smi):
    out, said = start(3, None).communicate()
    assert not out and f"found 3, but the GPUs that can be used here are {', '.join(names)}." in said
    out, said = start(2, f"{names[0]},-1,{names[1]}").communicate()  # CUDA stops reading at -1
    assert not out and f"found 2, but the GPUs that can be used here are {names[0]}." in said


def test_no_gpu_is_an_error_that_says_why(start):
    assert "there is no GPU here (CUDA_VISIBLE_DEVICES is '')" in start(1, "").communicate()[1]
