"""Text of numbers and of tables: Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals
from mssts.evaluation.statistics import Interval

_MINUS = "\N{MINUS SIGN}"
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", _MINUS: r"$-$", "Δ": r"$\Delta$", "“": "``", "”": "''"}
)


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign; the minus is the typographic one."""
    if math.isnan(value):
        return NO_VALUE
    return f"{value:+,.{digits}f}".replace("-", _MINUS) if round(value, digits) else f"{0:.{digits}f}"


def interval_text(interval: Interval) -> str:
    """An interval, such as "[+0.20, +1.80]"."""
    return f"[{signed(interval.low)}, {signed(interval.high)}]"


def mean_and_deviation(values: Sequence[float | None], digits: int = 2) -> str:
    """Mean over runs, and ± the sample standard deviation where there are at least two; "not run" for none."""
    if not values:
        return NOT_RUN
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return NO_VALUE
    mean = decimals(sum(known) / len(known), digits)
    return mean if len(known) == 1 else f"{mean} ± {decimals(pd.Series(known).std(ddof=1), digits)}"


def plural(count: int, word: str) -> str:
    """A count with its noun, in the regular plural where the count is not 1."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def escape_latex(text: str) -> str:
    """Text in which every character that LaTeX reads as a command stands for itself."""
    return text.translate(_LATEX)


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table of text cells."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.values.tolist()]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def latex(frame: pd.DataFrame, caption: str, label: str, text_columns: int) -> str:
    """A `table` environment of text cells with booktabs rules.

    Args:
        frame: The table.
        caption: Its caption, not escaped yet.
        label: For `\\ref`.
        text_columns: Number of columns, from the first, that are left aligned; the others are right aligned.
    """
    style = frame.rename(columns=escape_latex).map(escape_latex).style.hide(axis="index")
    columns = "l" * text_columns + "r" * (len(frame.columns) - text_columns)
    options = {"caption": escape_latex(caption), "label": label, "position_float": "centering", "hrules": True}
    return "% needs \\usepackage{booktabs}\n" + style.to_latex(column_format=columns, **options)
