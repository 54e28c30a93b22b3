"""A study on the GPUs of one machine: trainings on all of them one after the other, predictions side by side."""

from __future__ import annotations

import json
from itertools import combinations
from uuid import uuid4

import pytest

from tests.workflow.conftest import STAGES_THAT_ONLY_WRITE

# Each stage claims what the real one does, and takes long enough to meet another.
CLAIMS = """
import json
import os
import sys
import time

from mssts.core.devices import VISIBLE, claim_gpus

wanted = {"pretrain": 2, "train": 2, "predict": 1}.get(sys.argv[1])
if wanted:
    claim_gpus(wanted)
    started = time.time()
    time.sleep(1.5)
    with open("uses.jsonl", "a") as file:
        file.write(json.dumps([sys.argv[1], os.environ[VISIBLE].split(","), started, time.time()]) + "\\n")
"""


@pytest.mark.long
def test_jobs_share_the_gpus_of_a_machine_and_never_use_one_twice(copy_sources, snakemake, tmp_path, monkeypatch):
    directory, gpus = copy_sources(tmp_path / "clone"), [f"GPU-{uuid4()}" for _ in range(2)]
    (directory / "mssts/__main__.py").write_text(CLAIMS + STAGES_THAT_ONLY_WRITE)
    scale = directory / "ablations/scales/smoke.yaml"
    text = scale.read_text().replace("runtime: {device: cpu,", "runtime: {device: cuda,")
    scale.write_text(text + "execution: {devices: 2}\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(gpus))
    target = "results/smoke/synthvis/tiny/baseline/seed1/{}/predictions.json"
    targets = [target.format("valid"), target.format("control")]
    run = snakemake(
        directory, "--cores", "4", "--resources", "gpu=2", "--config", "study=smoke", "mlflow=off", "--", *targets
    )
    assert run.returncode == 0, run.stdout[-3000:]
    uses = [json.loads(line) for line in (directory / "uses.jsonl").read_text().splitlines()]
    assert sorted(stage for stage, *_ in uses) == ["predict", "predict", "pretrain", "train"]
    assert all(on == gpus for stage, on, *_ in uses if stage != "predict")
    for (_, on, started, ended), (_, others, other_started, other_ended) in combinations(uses, 2):
        assert set(on).isdisjoint(others) or ended <= other_started or other_ended <= started
    assert sorted(on for stage, on, *_ in uses if stage == "predict") == sorted([gpu] for gpu in gpus)
