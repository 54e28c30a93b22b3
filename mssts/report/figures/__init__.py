"""The figures of a report, one module each."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from mssts.report.not_drawn import draw
from mssts.report.registry import Entry, entries_of_step
from mssts.report.style import paper_style
from mssts.study.runs import StudyRuns


def write_figures(runs: StudyRuns) -> None:
    """Draw every figure of the registry as PDF and PNG; one that cannot be drawn says why."""
    with paper_style():
        for entry in entries_of_step("figures"):
            draw(partial(_figure, entry, runs), runs.folder / entry.files[0])


def _figure(entry: Entry, runs: StudyRuns) -> Figure:
    return entry.load().figure(runs)
