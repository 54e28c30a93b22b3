"""The results that README and documentation show are those of the reports attached to the documentation."""

from __future__ import annotations

import re
from contextlib import chdir
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from mssts.report.conclusions import CONTROL_SPLIT
from mssts.report.formats import interval_text, signed
from mssts.study.differences_file import read_differences
from mssts.study.resolve import load_study
from mssts.study.runs import StudyRuns

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "docs/reports"
PAGES = [ROOT / "README.md", ROOT / "docs/results.md"]
TABLE = re.compile(r"^\| (effect|difference) in `(\w+)` \|(.*)\|\n\|[-|]+\|\n((?:\|.*\|\n?)+)", re.MULTILINE)


@cache
def expected_cells(study: str) -> dict[tuple[str, str, str], str]:
    """{(kind, title, column): cell} of a study's attached `ablation.csv`; bold where the interval excludes zero."""
    cells = {}
    with chdir(ROOT / "docs"):
        found = read_differences(StudyRuns(load_study(study, ROOT / "ablations"), (), ()))
    for one in found:
        if one.mean is not None and one.intervals:
            text = f"{signed(one.mean)} {interval_text(one.intervals.simultaneous)}"
            column = one.measure.title + (", control split" if one.benchmark.split == CONTROL_SPLIT else "")
            cells[one.contrast.kind, one.contrast.title, column] = f"**{text}**" if one.excludes_zero else text
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
