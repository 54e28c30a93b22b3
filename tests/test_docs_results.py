"""The results that README and documentation show are those of the reports attached to the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.evaluation.statistics import Interval
from mssts.report.formats import interval_text, signed
from mssts.study.contrasts import contrasts
from mssts.study.resolve import load_study

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "docs/reports"
PAGES = [ROOT / "README.md", ROOT / "docs/results.md"]
COLUMNS = {
    "AP": ("valid", "all", "AP"),
    "class-agnostic AP": ("valid", "all", "AP_agnostic"),
    "box AP": ("valid", "all", "AP_box"),
    "AP, occlusion": ("valid", "occlusion", "AP"),
    "AP, fog": ("valid", "fog", "AP"),
    "AP, control split": ("control", "all", "AP"),
    "class-agnostic AP, control split": ("control", "all", "AP_agnostic"),
}
TABLE = re.compile(r"^\| (effect|difference) in `(\w+)` \|(.*)\|\n\|[-|]+\|\n((?:\|.*\|\n?)+)", re.MULTILINE)


def expected_cells(study: str) -> dict[tuple[str, str, str], str]:
    """{(kind, title, column): cell} of a study's attached `ablation.csv`; bold where the interval excludes zero."""
    titles = {(one.kind, one.name): one.title for one in contrasts(load_study(study, ROOT / "ablations"))}
    columns = {measure: column for column, measure in COLUMNS.items()}
    cells = {}
    for row in pd.read_csv(REPORTS / study / "ablation.csv", na_values=[NO_VALUE, NOT_RUN]).itertuples(index=False):
        interval = Interval(float(row.low), float(row.high))
        text = f"{signed(float(row.difference))} {interval_text(interval)}"
        if column := columns.get((row.split, row.subset, row.metric)):
            cells[row.kind, titles[row.kind, row.contrast], column] = f"**{text}**" if interval.excludes_zero else text
    return cells


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_number_of_the_tables_is_that_of_the_attached_report(page: Path) -> None:
    tables = TABLE.findall(page.read_text(encoding="utf-8"))
    assert tables
    for kind, study, header, body in tables:
        expected = expected_cells(study)
        names = [name.strip() for name in header.split("|")]
        for line in body.splitlines():
            title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for name, cell in zip(names, cells, strict=True):
                assert cell == expected[kind, title, name], (study, title, name)


@pytest.mark.parametrize("study", ["ablation", "confirm"])
def test_all_runs_of_an_attached_report_are_of_the_named_commit_and_data(study: str) -> None:
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    runs = pd.read_csv(REPORTS / study / "provenance.csv", dtype=str)
    for column in ("commit", "data_fingerprint"):
        [value] = set(runs[column])
        assert f"`{value}`" in text
    assert (REPORTS / study / "report.pdf").read_bytes().startswith(b"%PDF")
