"""A finished study, cheaply: the real workflow runs every job, but a stage only writes a word to its output files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

STAGES_THAT_ONLY_WRITE = """
import os
import sys
from pathlib import Path

from mssts.report.registry import files_of_step

if sys.argv[1] == "mlflow":
    sys.exit()
stage, options = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
study = Path("reports") / options["--study"]
output = Path(options.get("--output", study))
files = {
    "generate": [output / f"{name}.json" for name in ("fingerprint", "train", "valid", "control", "stills")],
    "pretrain": [output / name for name in ("checkpoint.pt", "run.json", "log.jsonl", "cost.json")],
    "train": [output / name for name in ("checkpoint.pt", "run.json", "log.jsonl", "cost.json")],
    "predict": [output, *(output.with_suffix(suffix) for suffix in (".zip", ".boxes.json", ".record.json"))],
    "evaluate": [output, output.with_name("matches.npz"), output.with_name("box_matches.npz")],
    "document": [output],
    "html": [study / "html/index.html"],
}
files = files.get(stage, [study / name for name in files_of_step(stage)])
if left := [str(file) for file in files if file.exists()]:
    sys.exit(f"outputs of the job before: {left}")
for file in files:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("done")
    if file.suffix == ".pt":
        os.truncate(file, 1_100_000)  # larger than what Snakemake compares by itself
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory, copy_sources, snakemake) -> Path:
    """A copy of the clone in which study `smoke` has been run to the end."""
    directory = copy_sources(tmp_path_factory.mktemp("finished") / "clone")
    (directory / "mssts" / "__main__.py").write_text(STAGES_THAT_ONLY_WRITE)
    run = snakemake(directory, "--cores", "2", "--config", "study=smoke")
    assert run.returncode == 0, run.stdout
    return directory


@pytest.fixture
def clone(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may change."""
    return shutil.copytree(finished, tmp_path / "clone")


@pytest.fixture
def rerun(snakemake) -> Callable[..., dict[str, list[str]]]:
    """A function that says by dry run which jobs a change makes necessary: rule -> first output of each job."""

    def jobs(directory: Path, *arguments: str, study: str = "smoke") -> dict[str, list[str]]:
        run = snakemake(directory, "-n", "--cores", "2", "--config", f"study={study}", *arguments)
        assert run.returncode == 0, run.stdout
        found: dict[str, list[str]] = {}
        for rule, output in re.findall(
            r"^(?:local)?rule (\w+):\n(?:    input: .*\n)?    output: ([^,\n]+)", run.stdout, re.M
        ):
            found.setdefault(rule, []).append(output)
        assert bool(found) != ("Nothing to be done" in run.stdout), run.stdout
        return found

    return jobs
