"""Text of numbers and of tables, and free text as Markdown, LaTeX and the document's template show it.

Titles, questions and the names in a user's files are free text: each format has one function that makes every
character of it stand for itself. Figures read no markup (reports/templates/paper.mplstyle), and `mssts.core.csv_files`
does the same for CSV.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals
from mssts.core.errors import printable
from mssts.evaluation.statistics import Interval

_MINUS = "\N{MINUS SIGN}"
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "`": r"\textasciigrave{}", '"': r"{\ttfamily\char34}"}
    | {"±": r"$\pm$", _MINUS: r"$-$", "Δ": r"$\Delta$", "“": "``", "”": "''"}
)
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_MARKDOWN = re.compile(
    r"[\\`*<>|~$]"  # code, emphasis, HTML, cells, strikethrough, mathematics
    r"|&(?=#?\w+;)"  # entities
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis
    r"|\](?=[(\[:])"  # links
    r"|^(?:#(?=#{0,5}\s)|[-+](?=\s))"  # headings, lists
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
    """Text for a paragraph or cell of LaTeX."""
    text = re.sub("-(?=-)", "-{}", _one_line(text).translate(_LATEX))  # two would make a dash
    return f"{{{text[0]}}}{text[1:]}" if text[:1] in ("[", "*") else text  # options of the row before it


def escape_markdown(text: str) -> str:
    """Text for a paragraph, list item or cell of Markdown; underscores within words, which are safe, stay as they are.

    HTML is written as entities, which hold in every dialect.
    """
    escaped = _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), _one_line(text))
    return re.sub(r"^([0-9]+)([.)])(?=\s)", r"\1\\\2", escaped)  # a numbered list


def plain(content: Any) -> Any:
    """JSON values for the document's template, which shows text as it is: text without control characters."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return printable(content) if isinstance(content, str) else content


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table of text cells."""
    rows = [list(map(escape_markdown, row)) for row in [list(frame.columns), *frame.values.tolist()]]
    rows.insert(1, ["---"] * len(frame.columns))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


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
