"""The tables of a report, one module each."""

from __future__ import annotations

from mssts.core.csv_files import write_csv
from mssts.core.files import atomic_write
from mssts.report.registry import entries_of_step
from mssts.study.runs import StudyRuns


def write_tables(runs: StudyRuns) -> None:
    """Write every table of the registry as CSV, Markdown and LaTeX; runs that are missing print "not run"."""
    for entry in entries_of_step("tables"):
        module = entry.load()
        for path in (runs.folder / file for file in entry.files):
            if path.suffix == ".csv":
                write_csv(path, module.frame(runs))
                continue
            label = f"tab:{runs.study.name}-{path.stem}"
            texts = [
                part.markdown() if path.suffix == ".md" else part.latex(f"{label}-{number}")
                for number, part in enumerate(module.parts(runs), start=1)
            ]
            with atomic_write(path) as file:
                file.write("\n".join(texts))
