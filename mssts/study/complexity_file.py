"""The file of the models' parameters and FLOPs. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mssts.core.csv_files import read_csv
from mssts.core.errors import InputError

FILE = "complexity.csv"
COLUMNS = ["dataset", "backbone", "variant", "frames", "height", "width", "parameters", "flops"]
COUNTED = "A multiply-add counts as two FLOPs; sampling of deformable attention and mask convolutions are not counted."


def read_complexity(path: Path) -> pd.DataFrame:
    """Read the table of `mssts complexity`, numbers as integers.

    Raises:
        InputError: The file is missing or has other columns.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file. Write it first (mssts complexity).")
    frame = read_csv(path)
    if list(frame.columns) != COLUMNS:
        raise InputError(f"{path}: found columns {list(frame.columns)}. Write it again (mssts complexity).")
    return frame.astype(dict.fromkeys(COLUMNS[3:], int))
