"""CSV files: what is read is what was written, numbers are plain, and no cell is a formula."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from mssts.core.csv_files import read_csv, write_csv

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "'-3.2", "=", "--"]
FORMULAS += ["\uff1d1", "-x", "+1 ± x", "-1e", "+-1", "-1\n"]
NUMBERS = ["-3.20", "+1", "-1,234.5", "-3.35 ± 0.10", "-1e-05", "+1.5E+3", "0.5", "-"]
TEXTS = ["", "a", "'", "'a", "it's", 'a "b", c', "a\nb", "a\rb", "a\r\nb", " =1", "é 😀"]
TEXTS += ["nan", "NULL", "a\x00b", "\x1b[31m"]


@pytest.mark.parametrize("text", [*FORMULAS, *NUMBERS, *TEXTS], ids=repr)
def test_a_cell_is_read_as_it_was_written(tmp_path, text):
    frame = pd.DataFrame([[text, "x"], ["y", text]], columns=["first", f"{text}."])
    write_csv(tmp_path / "file.csv", frame)
    assert read_csv(tmp_path / "file.csv", frame.columns, "").equals(frame)


def cells(path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def test_no_cell_and_no_heading_is_a_formula(tmp_path):
    write_csv(tmp_path / "file.csv", pd.DataFrame([FORMULAS], columns=FORMULAS))
    found = cells(tmp_path / "file.csv")
    assert len(found) == 2 * len(FORMULAS)
    assert all(cell.startswith("'") for cell in found)


def test_numbers_are_written_as_they_are(tmp_path):
    write_csv(tmp_path / "file.csv", pd.DataFrame([NUMBERS], columns=list("abcdefgh")).assign(whole=-3, share=-0.5))
    assert cells(tmp_path / "file.csv")[10:] == [*NUMBERS, "-3", "-0.5"]
