"""Text of numbers and of tables: CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from mssts.core.files import atomic_write

NOT_RUN = "not run"
NO_VALUE = "-"
_MINUS = "\N{MINUS SIGN}"

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    _MINUS: r"$-$",
    "Δ": r"$\Delta$",
    "“": "``",
    "”": "''",
}


def decimals(value: float | None, digits: int = 2) -> str:
    """A number with fixed decimals; a dash for a value that does not exist (null in the metrics, NaN)."""
    if value is None or math.isnan(value):
        return NO_VALUE
    return f"{value + 0.0:.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, the minus as a typographic minus."""
    if math.isnan(value):
        return NO_VALUE
    return f"{value:+,.{digits}f}".replace("-", _MINUS) if round(value, digits) else f"{0:.{digits}f}"


def mean_and_deviation(values: list[float | None], digits: int = 2) -> str:
    """Mean over runs, and ± the sample standard deviation where there are at least two; "not run" for none."""
    if not values:
        return NOT_RUN
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return NO_VALUE
    mean = decimals(sum(known) / len(known), digits)
    return mean if len(known) == 1 else f"{mean} ± {decimals(pd.Series(known).std(ddof=1), digits)}"


def plural(count: int, word: str) -> str:
    """A count with its word, the regular plural where it is not 1."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def escape_latex(text: str) -> str:
    """Text in which every character that LaTeX reads as a command stands for itself."""
    return "".join(_LATEX.get(character, character) for character in text)


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table; every cell as text, a bar in a cell escaped."""
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in [list(frame.columns), *frame.values.tolist()]]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "|".join(" --- " for _ in frame.columns) + "|")
    return "\n".join(lines) + "\n"


def latex(frame: pd.DataFrame, caption: str, label: str, text_columns: int) -> str:
    """A `table` environment with booktabs rules; the first `text_columns` columns left, the others right aligned."""
    columns = "l" * text_columns + "r" * (len(frame.columns) - text_columns)
    rows = [" & ".join(escape_latex(str(cell)) for cell in row) + r" \\" for row in frame.values.tolist()]
    head = " & ".join(escape_latex(str(column)) for column in frame.columns) + r" \\"
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(caption)}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        *(f"    {line}" for line in [r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]),
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic_write(path) as file:
        file.write(text)


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of text cells as CSV with plain line feeds."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def read_csv(path: Path) -> pd.DataFrame:
    """A table of text cells, empty cells as empty text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
