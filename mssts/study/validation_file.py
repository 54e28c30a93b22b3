"""The file of AP during a training. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mssts.core.csv_files import read_csv

FILE = "validation.csv"
COLUMNS = ["step", "videos", "instances", "AP", "AP_agnostic"]


def read_validation(path: Path) -> pd.DataFrame:
    """Read the AP in percent of each step as text cells. Raises InputError if the file has other columns."""
    return read_csv(path, COLUMNS, "Train the run again.")
