"""What a browser needs of a table beside its cells: the numbers by which columns are sorted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.report.formats import signed

_NUMBER = re.compile(r"\[?([-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)", re.IGNORECASE)
_MINUS = "\N{MINUS SIGN}"


def sort_value(cell: str) -> str:
    """The number at the beginning of a cell, such as that of "12.34 ± 0.56"; empty, which sorts last, if none is."""
    found = _NUMBER.match(cell.replace(_MINUS, "-"))
    return found[1].replace(",", "").removeprefix("+") if found else ""


def points(share: float | None) -> str:
    """A difference of two shares in percentage points; a dash for None."""
    return NO_VALUE if share is None else signed(100 * share, 0)


def number_columns(rows: Sequence[Sequence[str]]) -> list[bool]:
    """For each column of some rows, whether every cell that is no word, such as "not run", is a number."""

    def is_number(cell: str) -> bool:
        return bool(re.fullmatch(r"[-+]?\d[\d,]*(\.\d+)?( ± [\d.]+)?", cell))

    columns = [[cell for cell in column if cell not in (NOT_RUN, NO_VALUE, "")] for column in zip(*rows, strict=True)]
    return [bool(column) and all(map(is_number, column)) for column in columns]
