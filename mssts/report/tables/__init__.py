"""The tables of a report, one module each."""

from __future__ import annotations

from pathlib import Path

from mssts.core.csv_files import write_csv
from mssts.core.files import atomic_write
from mssts.report.parts import Table
from mssts.report.registry import entries_of_step
from mssts.study.runs import StudyRuns


def write_tables(runs: StudyRuns) -> None:
    """Write every table of the registry as CSV, Markdown and LaTeX; runs that are missing print "not run"."""
    files = [(entry.load(), runs.folder / file) for entry in entries_of_step("tables") for file in entry.files]
    for module, path in files:
        if path.suffix == ".csv":
            write_csv(path, module.frame(runs))
    for module, path in files:  # some are made from the CSV file of another
        if path.suffix == ".md":
            _write(path, [part.markdown() for part in module.parts(runs)])
        elif path.suffix == ".tex":
            tables = [part for part in module.parts(runs) if isinstance(part, Table)]
            label = f"tab:{runs.study.name}-{path.stem}"
            _write(path, [table.latex(f"{label}-{number}") for number, table in enumerate(tables, start=1)])


def _write(path: Path, texts: list[str]) -> None:
    with atomic_write(path) as file:
        file.write("\n".join(texts))
