"""A fake study in an empty working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import fake_runs


@pytest.fixture
def fake_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fake_runs.write_fake_study(tmp_path)
    return tmp_path
