"""The smallest study, run for real from nothing to the PDF, once for all tests of the pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def sources(tmp_path_factory, copy_sources) -> Path:
    """The sources as they were when the tests began: an edit meanwhile changes no comparison."""
    return copy_sources(tmp_path_factory.mktemp("sources") / "clone")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory, sources, snakemake) -> Path:
    """A copy of the clone in which study `smoke` was run on two cores."""
    directory = shutil.copytree(sources, tmp_path_factory.mktemp("smoke") / "clone")
    run = snakemake(directory, "--cores", "2", "--config", "study=smoke")
    assert run.returncode == 0, run.stdout[-8000:]
    return directory


@pytest.fixture(scope="session")
def again(tmp_path_factory, sources, snakemake) -> Path:
    """Another copy, under another path, run on one core and without MLflow."""
    directory = shutil.copytree(sources, tmp_path_factory.mktemp("smoke-again") / "another" / "clone")
    run = snakemake(directory, "--cores", "1", "--config", "study=smoke", "mlflow=off")
    assert run.returncode == 0, run.stdout[-8000:]
    return directory
