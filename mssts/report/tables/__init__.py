"""The tables of a report, one module each."""

from __future__ import annotations

from mssts.core.csv_files import write_csv
from mssts.core.files import atomic_write
from mssts.report.registry import entries_of_step
from mssts.study.results import StudyResults


def write_tables(results: StudyResults) -> None:
    """Write every table of the registry as CSV, Markdown and LaTeX; runs that are missing print "not run"."""
    for entry in entries_of_step("tables"):
        module = entry.load()
        for path in (results.folder / file for file in entry.files):
            if path.suffix == ".csv":
                write_csv(path, module.frame(results))
                continue
            label = f"tab:{results.study.name}-{path.stem}"
            texts = [
                part.markdown() if path.suffix == ".md" else part.latex(f"{label}-{number}")
                for number, part in enumerate(module.parts(results), start=1)
            ]
            with atomic_write(path) as file:
                file.write("\n".join(texts))
