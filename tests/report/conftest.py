"""A fake study in an empty working directory, the HTML report of another, and a real one with all its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssts.report.html import write_html
from tests.report import fake_runs, fake_videos
from tests.report.traced import study
from tests.report.traced.expected import Recomputed


@pytest.fixture
def fake_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fake_runs.write_fake_study(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def html_folder(tmp_path_factory: pytest.TempPathFactory, smoke_data: Path) -> Path:
    """The HTML report of a study of two runs on real videos; not to be changed."""
    root = tmp_path_factory.mktemp("html")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        fake_videos.write_study(root, smoke_data)
        write_html(fake_runs.runs_of())
    return root / "reports/fake/html"


@pytest.fixture(scope="session")
def traced_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which study `traced` was run, from its data to PDF and HTML; not to be changed."""
    directory = tmp_path_factory.mktemp("traced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("MSSTS_MLFLOW", "off")
        study.write_study()
    return directory


@pytest.fixture
def traced(traced_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the working directory."""
    monkeypatch.chdir(traced_folder)
    return traced_folder


@pytest.fixture(scope="session")
def recomputed(traced_folder: Path) -> Recomputed:
    """The numbers of study `traced`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(traced_folder)
        return Recomputed()
