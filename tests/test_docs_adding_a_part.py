"""The worked example of docs/adding-a-part.md, executed as the page prints it."""

from __future__ import annotations

import csv
import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mssts.core.checkpoint import load_checkpoint

pytestmark = pytest.mark.long

PAGE = Path(__file__).resolve().parent.parent / "docs/adding-a-part.md"
FILE = re.compile(r"`([\w/]+\.(?:py|yaml))`[^`\n]*:\n\n```\w+\n(.*?)^```$", re.M | re.S)
RUN = """
import sys
from mssts.cli import app

run = ["--study", "own_parts", "--dataset", "synthvis", "--backbone", "tiny", "--seed", "1", "--data", "data"]
app(["plan", "own_parts"], standalone_mode=False)
app(["complexity", "--study", "own_parts"], standalone_mode=False)
app(["generate", "--study", "own_parts", "--dataset", "synthvis", "--output", "data"], standalone_mode=False)
app(["pretrain", *run, "--output", "pretrain"], standalone_mode=False)
for variant in ("gate", "motion"):
    start = ["--init", "pretrain/checkpoint.pt", "--output", variant]
    app(["train", *run, "--variant", variant, *start], standalone_mode=False)
"""


def files_of_the_page() -> dict[str, str]:
    return dict(FILE.findall(PAGE.read_text()))


@pytest.fixture(scope="module")
def clone(copy_sources, tmp_path_factory) -> Path:
    """A copy of the clone with the files that the page prints."""
    directory = copy_sources(tmp_path_factory.mktemp("docs") / "clone")
    for name, content in files_of_the_page().items():
        (directory / name).write_text(content)
    return directory


@pytest.fixture(scope="module")
def plan(clone) -> str:
    """Plan and train the variants of the page; returns the plan."""
    environment = os.environ | {"PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1", "MSSTS_MLFLOW": "off"}
    command = [sys.executable, "-c", RUN]
    run = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_every_file_of_the_page_is_found():
    assert set(files_of_the_page()) == {
        "mssts/models/gate.py",
        "mssts/models/registry.py",
        "ablations/variants/gate.yaml",
        "mssts/losses/motion.py",
        "mssts/losses/registry.py",
        "ablations/variants/motion.yaml",
        "ablations/studies/own_parts.yaml",
    }


@pytest.mark.parametrize("name", ["mssts/models/registry.py", "mssts/losses/registry.py"])
def test_a_printed_registry_is_the_present_one_with_one_part_more(root, name):
    present, printed = (root / name).read_text().splitlines(), files_of_the_page()[name].splitlines()
    changed = [line for line in difflib.ndiff(present, printed) if line.startswith("- ")]
    assert len(changed) == 2 and changed[0] == "- from mssts.models.parts import Registry"
    assert changed[1].endswith(", {})")  # the one entry
    assert len(printed) == len(present) + 3


def test_plan_and_complexity_count_the_branch(plan, clone):
    assert re.findall(r"tiny +(\w+) +1 +\d+ +[\d.]+ ", plan) == ["pretrain", "baseline", "gate", "motion"]
    table = (clone / "reports/own_parts/complexity.csv").read_text().splitlines()
    rows = list(csv.DictReader(table))
    sizes = {row["variant"]: int(row["parameters"]) for row in rows}
    assert sizes["gate"] - sizes["baseline"] == 2 * 32 * 16 + 16 + 32
    assert sizes["motion"] == sizes["baseline"]


def test_the_branch_is_trained(plan, clone):
    weights = load_checkpoint(clone / "gate/checkpoint.pt")["model"]
    assert weights["encoder.layers.0.branches.gate.widen.weight"].abs().sum() > 0  # it starts at zero


def test_the_log_shows_the_term_of_the_variant_that_has_it(plan, clone):
    logs = {name: [json.loads(line) for line in (clone / name / "log.jsonl").open()] for name in ("gate", "motion")}
    assert logs["motion"] and all(line["loss_motion"] > 0 for line in logs["motion"])
    assert not any("loss_motion" in line for line in logs["gate"])
    record = json.loads((clone / "motion/run.json").read_text())
    assert record["config"]["loss"]["terms"] == {"motion": {"weight": 0.5, "beta": 0.1}}
    assert record["parameters"] == json.loads((clone / "pretrain/run.json").read_text())["parameters"]


def test_the_report_of_the_study_says_that_the_branch_has_nothing_to_show(clone, snakemake):
    run = snakemake(clone, "--cores", "2", "--config", "study=own_parts", "mlflow=off", "--", "reports/table.pdf")
    assert run.returncode == 0, run.stdout[-3000:]
    caption = json.loads((clone / "reports/own_parts/attention/queries.json").read_text())["caption"]
    assert "Baseline and Gate" in caption and "nothing to show: gate." in caption
