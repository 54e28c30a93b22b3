"""CSV files of text cells, and the cells that stand for missing numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mssts.core.errors import InputError
from mssts.core.files import atomic_write

NOT_RUN = "not run"
NO_VALUE = "-"


def decimals(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NO_VALUE
    return f"{value:z.{digits}f}"  # z: no minus sign before a zero


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of text cells atomically, with plain line feeds."""
    with atomic_write(path) as file:
        file.write(frame.to_csv(index=False, lineterminator="\n"))


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
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(frame.columns) != list(columns):
        raise InputError(f"{path}: found columns {list(frame.columns)}, expected {list(columns)}. {advice}")
    return frame
