"""Text of numbers and of tables, and free text as Markdown, LaTeX and the document's template show it.

Titles, questions and the names in a user's files are free text: each format has one function that makes every
character of it stand for itself. Figures read no markup (reports/templates/paper.mplstyle), and `mssts.core.csv_files`
does the same for CSV.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
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


def markdown(frame: pd.DataFrame, bold: Collection[tuple[int, str]] = ()) -> str:
    """A pipe table of text cells; bold: (row, column) of those in bold."""
    rows = [list(map(escape_markdown, row)) for row in [list(frame.columns), *frame.values.tolist()]]
    for number, column in bold:
        position = list(frame.columns).index(column)
        rows[number + 1][position] = f"**{rows[number + 1][position]}**"
    rows.insert(1, ["---"] * len(frame.columns))
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


_COLUMN, _PAGE = 237.0, 496.0  # points: width of a column and of the text in usual two-column styles
_SIZES = (("small", 4.9), ("footnotesize", 4.45), ("scriptsize", 3.95), ("tiny", 3.1))  # points of a character
_ROWS = 45  # of a table that fits a page
_COLUMN_SPACE = 3.0  # points at each side of a column


def latex(
    columns: Sequence[str], blocks: Sequence[tuple[str, Sequence[Sequence[str]]]], caption: str, label: str, texts: int
) -> str:
    """Tables of escaped cells with booktabs rules, in the largest type with which they fit a column or a page.

    Args:
        columns: Headings, not escaped yet.
        blocks: (heading, rows). The heading of a single block is said in the caption.
        caption: Not escaped yet.
        label: For `\\ref`; further tables, of blocks that do not fit the first page, have a number behind it.
        texts: Number of columns, from the first, that are left aligned; the others are right aligned.
    """
    if len(blocks) == 1:
        caption = f"{blocks[0][0]}. {caption}" if blocks[0][0] else caption
        blocks = [("", blocks[0][1])]
    heads = [escape_latex(column) for column in columns]
    rows_of_cells: list[Sequence[str]] = [heads, *(row for _, rows in blocks for row in rows)]
    widths = [max(len(_plain(cell)) for cell in cells) for cells in zip(*rows_of_cells, strict=True)]
    space = 2 * _COLUMN_SPACE * len(columns)
    characters = max(sum(widths), *(len(heading) for heading, _ in blocks))
    fits = [(name, space + size * characters) for name, size in _SIZES]
    in_column = [name for name, width in fits[:2] if width <= _COLUMN]
    size = next(iter(in_column), next((name for name, width in fits if width <= _PAGE), fits[-1][0]))
    environment = "table" if in_column else "table*"
    layout = "l" * texts + "r" * (len(columns) - texts)
    pages: list[list[str]] = [[]]
    for heading, rows in blocks:
        lines = [rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{escape_latex(heading)}}}}} \\"] if heading else []
        lines += [" & ".join(row) + r" \\" for row in rows]
        if pages[-1] and len(pages[-1]) + len(lines) > _ROWS:
            pages.append([])
        pages[-1] += [*([r"\midrule"] if pages[-1] else []), *lines]
    return "\n".join(
        rf"""% needs \usepackage{{booktabs}}
\begin{{{environment}}}
\centering
\{size}
\setlength{{\tabcolsep}}{{{_COLUMN_SPACE:g}pt}}
\caption{{{escape_latex(caption) if number == 1 else "Continued."}}}
\label{{{label if number == 1 else f"{label}-{number}"}}}
\begin{{tabular}}{{{layout}}}
\toprule
{" & ".join(heads)} \\
\midrule
{chr(10).join(lines)}
\bottomrule
\end{{tabular}}
\end{{{environment}}}
"""
        for number, lines in enumerate(pages, start=1)
    )


def _plain(cell: str) -> str:
    """An escaped cell without its commands, to estimate its width."""
    return re.sub(r"\\[a-z]+\{?|[\\{}$]", "", cell)
