"""Tables and sentences of a report, as Markdown, as LaTeX and for the document's template, and their common cells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase
from typing import Any, Literal

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals
from mssts.data.datasets import LOCAL
from mssts.report.formats import escape_latex, escape_markdown, latex, markdown
from mssts.study.runs import ALL_INSTANCES, BOX_AP, METRICS, Benchmark, Evaluated, External, Result, StudyRuns

EXTERNAL = "external method"
KEYS = ["Dataset", "Split", "Backbone", "Variant", "Seeds"]
"""First columns of the tables with a row for each variant."""
RESULT_KEYS = ["dataset", "split", "backbone", "variant", "seed"]
"""First columns of the files with rows for each result."""
_COLUMN_TITLES = {"AP_agnostic": "class-agn. AP", BOX_AP: "box AP"}


def benchmark_heading(dataset: str, split: str, backbone: str) -> str:
    """Heading of the rows of one dataset, split and backbone."""
    made_by = f"{EXTERNAL}s" if backbone == NO_VALUE else f"backbone {backbone}"
    return f"dataset {dataset}, local {split.removeprefix(LOCAL)} split, {made_by}"


@dataclass(frozen=True)
class Table:
    """A table for readers.

    Attributes:
        frame: Its rows; every cell is text.
        note: Caption, "" for none.
        by: Columns whose values head a block of rows in the document and are no columns there.
        heading: Makes the heading of a block from these values.
        row_notes: A footnote for each row, "" for none.
        bold: (row, column) of the cells in bold.
        text_columns: Number of columns beside `by` that hold text; they are left aligned.
        size: Of the type in the document, in points.
        tint: Colour of the headings of blocks.
    """

    frame: pd.DataFrame
    note: str = ""
    by: tuple[str, ...] = ("Dataset", "Split", "Backbone")
    heading: Callable[..., str] = benchmark_heading
    row_notes: Sequence[str] = ()
    bold: Collection[tuple[int, str]] = ()
    text_columns: int = 1
    size: float = 8.0
    tint: Literal["plain", "ours", "quoted"] = "plain"

    def markdown(self) -> str:
        """A pipe table with its note."""
        return markdown(self.frame, self.bold) + (f"\n{escape_markdown(self.note)}\n" if self.note else "")

    def latex(self, label: str) -> str:
        """A `table` environment; nothing without rows."""
        if self.frame.empty:
            return ""
        blocks: dict[tuple[str, ...], list[list[str]]] = {}
        for number, (keys, row) in enumerate(zip(*self._cells(), strict=True)):
            cells = [escape_latex(cell) for cell in row]
            named = zip(self._shown, cells, strict=True)
            marked = [rf"\textbf{{{cell}}}" if (number, name) in self.bold else cell for name, cell in named]
            blocks.setdefault(keys, []).append(marked)
        headed = [(self.heading(*keys), rows) for keys, rows in blocks.items()]
        return latex(self._titles, headed, self.note, label, self.text_columns)

    @property
    def _shown(self) -> list[str]:
        """Columns that are none in `by`."""
        return [column for column in self.frame.columns if column not in self.by]

    @property
    def _titles(self) -> list[str]:
        return [_COLUMN_TITLES.get(column, column).replace("_", " ") for column in self._shown]

    def _cells(self) -> tuple[list[tuple[str, ...]], list[list[str]]]:
        """Values of `by`, and the cells, of each row."""
        return list(map(tuple, self.frame[list(self.by)].values.tolist())), self.frame[self._shown].values.tolist()

    def document(self) -> dict[str, Any]:
        """The table in blocks; a row with a footnote carries its mark at the first cell."""
        notes = self.row_notes or [""] * len(self.frame)
        marks = dict(zip(dict.fromkeys(filter(None, notes)), ascii_lowercase, strict=False))
        blocks: dict[tuple[str, ...], list[list[Any]]] = {}
        for number, (keys, row, note) in enumerate(zip(*self._cells(), notes, strict=True)):
            named = zip(self._shown, row, strict=True)
            bold = [{"text": cell, "bold": True} if (number, name) in self.bold else cell for name, cell in named]
            first = {"text": row[0], "mark": marks[note]} if note else bold[0]
            blocks.setdefault(keys, []).append([first, *bold[1:]])
        return {
            "kind": "table",
            "columns": self._titles,
            "blocks": [
                {"label": self.heading(*keys), "keys": dict(zip(self.by, keys, strict=True)), "rows": rows}
                for keys, rows in blocks.items()
            ],
            "note": self.note,
            "footnotes": [(mark, note) for note, mark in marks.items()],
            "text_columns": self.text_columns,
            "size": self.size,
            "tint": self.tint,
        }


@dataclass(frozen=True)
class Sentences:
    """Sentences under a title."""

    title: str
    sentences: list[str]

    def markdown(self) -> str:
        """A list."""
        return "\n".join(f"- {escape_markdown(sentence)}" for sentence in self.sentences) + "\n"

    def document(self) -> dict[str, Any]:
        """Title and sentences."""
        return {"kind": "sentences", "title": self.title, "sentences": self.sentences}


def result_keys(result: Result) -> list[str]:
    """Cells of `RESULT_KEYS` of one result."""
    run = result.run
    return [run.dataset, result.split, run.backbone, run.variant, str(run.seed)]


def rows_by_variant(runs: StudyRuns) -> Iterator[tuple[list[str], Benchmark, list[Result]]]:
    """Cells of `KEYS`, benchmark and evaluated results over seeds of each variant, the pre-trained one first."""
    for benchmark, (variant, title) in product(runs.benchmarks(), runs.study.titles.items()):
        if results := runs.select(*benchmark, variant):
            present = [result for result in results if result.metrics is not None]
            seeds = str(len(present)) if len(present) == len(results) else f"{len(present)} of {len(results)}"
            yield [*benchmark, title, seeds], benchmark, present


def external_keys(other: External) -> list[str]:
    """Cells of `KEYS` of another method."""
    return [other.dataset, other.split, NO_VALUE, f"{other.title} ({EXTERNAL})", NO_VALUE]


def metric_cells(result: Evaluated) -> list[str]:
    """Cells of `METRICS` of one result, in percent."""
    return [NOT_RUN if result.metrics is None else decimals(result.value(ALL_INSTANCES, name)) for name in METRICS]
