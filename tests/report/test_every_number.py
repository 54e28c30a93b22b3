"""Every number of PDF and HTML, recomputed from predictions and ground truth without the code of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.traced import study
from tests.report.traced.expected import Recomputed
from tests.report.traced.pages import read_page
from tests.report.traced.pdf import read_pdf
from tests.report.traced.shown import Shown, wrong_cells

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A directory in which the study was run."""
    directory = tmp_path_factory.mktemp("traced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("MSSTS_MLFLOW", "off")
        study.write_study(Path(__file__).resolve().parents[2])
    return directory


@pytest.fixture
def workspace(folder, monkeypatch) -> Path:
    """The same as the working directory."""
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def recomputed(folder) -> Recomputed:
    """Its numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Recomputed()


@pytest.fixture(params=["PDF", "HTML"])
def shown(request, workspace) -> Shown:
    """What the reader of the report sees."""
    return read_pdf(study.PDF) if request.param == "PDF" else read_page(study.HTML / "index.html")


def test_the_tables_show_what_the_predictions_say(shown, recomputed):
    expected = recomputed.tables()
    found = {table.columns: table for table in shown.tables}
    assert not expected.keys() - found.keys()
    assert [wrong_cells(found[columns], rows) for columns, rows in expected.items()] == [[]] * len(expected)
