"""CSV files of text cells, and the cells that stand for missing numbers.

A cell that a spreadsheet would run as a formula is written with an apostrophe before it, which `read_csv` removes;
numbers are written as they are.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mssts.core.errors import InputError
from mssts.core.files import atomic_write

NOT_RUN = "not run"
NOT_DRAWN = "not drawn"
NO_VALUE = "-"
_FORMULA = re.compile("'*[-=+@\t\r\n\uff0b\uff0d\uff1d\uff20]")  # the last four are full-width forms
_NUMBER = re.compile(r"[-+]?[0-9][0-9,]*(\.[0-9]+)?([eE][-+]?[0-9]+)?( ± [0-9]+(\.[0-9]+)?)?|-")


def decimals(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NO_VALUE
    return f"{value:z.{digits}f}"  # z: no minus sign before a zero


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of text cells atomically, with plain line feeds."""
    written = frame.rename(columns=_guarded).map(_guarded)
    text = written.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # pandas ends a line there unless the cell is quoted
        text = written.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    with atomic_write(path) as file:
        file.write(text)


def read_csv(path: Path, columns: Iterable[str], advice: str) -> pd.DataFrame:
    """Read a table of text cells; empty cells are empty text.

    Args:
        path: The file.
        columns: Names of the columns that it must have.
        advice: What to do if it is missing or has other columns.

    Raises:
        InputError: The file is missing or has other columns.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. {advice}")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False).rename(columns=_unguarded).map(_unguarded)
    if list(frame.columns) != list(columns):
        raise InputError(f"{path}: found columns {list(frame.columns)}, expected {list(columns)}. {advice}")
    return frame


def _guarded(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
