"""The figures of a report, one module each."""

from __future__ import annotations

from mssts.report.registry import entries_of_step
from mssts.report.style import paper_style, save
from mssts.study.results import StudyResults


def write_figures(results: StudyResults) -> None:
    """Draw every figure of the registry as PDF and PNG. Raises InputError for a damaged training log."""
    with paper_style():
        for entry in entries_of_step("figures"):
            save(entry.load().figure(results), results.folder / entry.files[0])
