"""A fake study in an empty working directory, and the HTML report of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssts.report.html import write_html
from tests.report import fake_runs, fake_videos


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
