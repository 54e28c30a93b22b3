"""What a report shows its reader, read from PDF or HTML, and the comparison of its numbers with expected ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Cell = str | tuple[float, ...]
"""What a cell must say: this text, or numbers that round to those in it."""
Rows = dict[tuple[str, str], list[Cell]]
"""Cells that a table must have, by the band above a row and its first cell."""
NUMBER = re.compile(r"(?<![\w.])[-+\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
_ROUNDING = 2e-6  # of numbers that the report reads from files with six decimals


@dataclass
class Table:
    """A table: caption, headings, and the cells of its rows; a band over rows is a row of one cell."""

    caption: str
    columns: tuple[str, ...]
    rows: list[list[str]]

    def banded(self) -> dict[tuple[str, str], list[str]]:
        """The cells after the first of each row, by the band above it and the first."""
        found, band = {}, ""
        for row in self.rows:
            if len(row) == 1 < len(self.columns):
                band = row[0]
            else:
                assert (band, row[0]) not in found, (band, row)
                found[band, row[0]] = row[1:]
        return found


@dataclass
class Shown:
    """All text of a report.

    Attributes:
        tables: The tables.
        sentences: Paragraphs, headings and captions of figures.
        figures: Strings in each figure.
    """

    tables: list[Table] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    figures: list[list[str]] = field(default_factory=list)


def numbers_in(text: str) -> list[str]:
    """The numbers of a text, each as it is printed."""
    return [found.replace("\N{MINUS SIGN}", "-").replace(",", "") for found in NUMBER.findall(text)]


def rounds_to(value: float, printed: str) -> bool:
    """Whether a number, printed with some decimals, is the value."""
    digits = len(printed.partition(".")[2].partition("e")[0])
    power = int(printed.partition("e")[2] or 0)
    return abs(value - float(printed)) <= 0.5 * 10.0 ** (power - digits) + _ROUNDING


def agrees(text: str, expected: Cell) -> bool:
    """Whether a cell says what it must."""
    if isinstance(expected, str):
        return text == expected
    printed = numbers_in(text)
    return len(printed) == len(expected) and all(map(rounds_to, expected, printed))


def wrong_cells(table: Table, expected: Rows) -> list[object]:
    """What differs: rows that are missing or not explained, and cells with other numbers."""
    found = table.banded()
    wrong: list[object] = sorted(found.keys() ^ expected.keys())
    for key in found.keys() & expected.keys():
        texts, cells = found[key], expected[key]
        if len(texts) != len(cells):
            wrong.append((key, texts, cells))
        wrong += [(key, text, cell) for text, cell in zip(texts, cells, strict=False) if not agrees(text, cell)]
    return wrong
