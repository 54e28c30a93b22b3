"""Every number of PDF and HTML, recomputed from predictions and ground truth without the code of the report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.traced import maps, study
from tests.report.traced.expected import Recomputed
from tests.report.traced.figures import NOT_RESULTS, explained, labels_of, patterns_of, wrong_figures
from tests.report.traced.pages import read_page
from tests.report.traced.pdf import read_pdf
from tests.report.traced.provenance import SETTINGS, provenance, wrong_settings
from tests.report.traced.sentences import Sentences
from tests.report.traced.shown import NUMBER, Rows, Shown, wrong_cells

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def aurocs(traced_folder, recomputed) -> maps.Maps:
    """AUROC of the encoder maps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(traced_folder)
        return maps.Maps(recomputed.external)


@pytest.fixture(scope="module")
def tables(traced_folder, recomputed, aurocs) -> dict[tuple[str, ...], Rows]:
    """The tables that must be shown, by their columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(traced_folder)
        return recomputed.tables | provenance() | {maps.COLUMNS: aurocs.rows}


@pytest.fixture(params=["PDF", "HTML"])
def shown(request, traced) -> Shown:
    """What the reader of the report sees."""
    return read_pdf(study.PDF) if request.param == "PDF" else read_page(study.HTML / "index.html")


def test_nothing_is_recomputed_by_code_of_evaluation_study_or_report():
    for path in Path(study.__file__).parent.glob("*.py"):
        assert not re.search(r"mssts\.(evaluation|study|report)[. ].*import", path.read_text()), path


def test_every_table_shows_what_predictions_and_records_say(shown, tables):
    found = {table.columns: table for table in shown.tables}
    settings = found.pop(SETTINGS)
    assert found.keys() == tables.keys()
    assert {columns: wrong for columns, rows in tables.items() if (wrong := wrong_cells(found[columns], rows))} == {}
    assert wrong_settings(settings) == []


def test_every_number_in_a_sentence_is_recomputed_or_a_known_constant(shown, recomputed):
    assert wrong_sentences(recomputed, [*shown.sentences, *(table.caption for table in shown.tables)]) == []


def test_every_number_in_a_figure_is_recomputed_or_a_tick(traced, recomputed, aurocs):
    figures = read_pdf(study.PDF).figures
    expected = list(patterns_of(recomputed, aurocs)), labels_of(recomputed)
    assert wrong_figures(figures, *expected) == []
    for strings, left in zip(figures, explained(figures, expected[0])[0], strict=True):
        for place, text in enumerate(strings):
            is_result = not NOT_RESULTS.fullmatch(text) and text not in left
            for other in changed(text) if is_result else ():
                strings[place] = other
                assert wrong_figures(figures, *expected), (other, strings)
            strings[place] = text


def test_a_changed_number_is_noticed(traced, recomputed, tables):
    shown = read_page(study.HTML / "index.html")
    for sentence in shown.sentences:
        body = re.sub(r"^Figure \d+\.", "", sentence)
        assert [text for text in changed(body) if not wrong_sentences(recomputed, [text])] == []
    for table in shown.tables:
        for row in table.rows if table.columns in recomputed.tables else ():
            for column, cell in enumerate(row[1:], start=1):
                for text in changed(cell):
                    row[column] = text
                    assert wrong_cells(table, tables[table.columns]), (text, row)
                row[column] = cell


def changed(text: str) -> Iterator[str]:
    """The text with each of its numbers changed in the last digit."""
    for found in NUMBER.finditer(text):
        last = max(place for place in range(*found.span()) if text[place].isdigit())
        yield f"{text[:last]}{(int(text[last]) + 2) % 10}{text[last + 1 :]}"


def wrong_sentences(recomputed: Recomputed, sentences: list[str]) -> list[str]:
    """What is not as expected in sentences."""
    checked = Sentences(recomputed)
    for sentence in sentences:
        checked.check(sentence)
    return checked.wrong
