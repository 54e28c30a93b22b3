"""What tests of several rooms share: the clone's root, and small complete copies of it to run the workflow in."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mssts.config import resolve
from mssts.data.synthvis import generate as synthvis
from tests.snakemake_process import run_snakemake

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "Snakefile",
    "profiles",
    "workflow",
    "ablations",
    "mssts",
    "environment.yml",
    "reports/published",
    "reports/templates",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect without the garbage collector, which takes a fifth of the time of the imports and finds nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the clone."""
    return ROOT


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory) -> Path:
    """The generated dataset of the smoke scale; tests only read it."""
    directory = tmp_path_factory.mktemp("smoke-data") / "synthvis"
    synthvis.generate(resolve("smoke").data.synthetic, "synthvis", directory)
    return directory


@pytest.fixture(scope="session")
def copy_sources() -> Callable[[Path], Path]:
    """A function that copies what the workflow needs from the clone to an empty directory, results left behind."""

    def copy(destination: Path) -> Path:
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, destination / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                destination.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, destination / part)
        return destination

    return copy


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs snakemake in a directory; its standard output and error come back as one text."""

    def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MSSTS_", "MLFLOW_"))}
        return run_snakemake(directory, ["--scheduler", "greedy", "--nocolor", *arguments], environment)

    return run
