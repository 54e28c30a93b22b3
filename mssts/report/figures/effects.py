"""The effects of a factorial design as a dot plot."""

from __future__ import annotations

from matplotlib.figure import Figure

from mssts.report.figures.ablation import LEGEND, draw_panels
from mssts.report.style import empty_figure
from mssts.study.contrasts import factorial
from mssts.study.runs import StudyRuns


def caption(runs: StudyRuns) -> str:
    """Caption of the figure; empty without a factorial design."""
    return f"Main effects and interactions of the contributions {LEGEND}" if factorial(runs.study).factors else ""


def figure(runs: StudyRuns) -> Figure:
    """Rows of panels for each benchmark, a panel for each measure, in it a line for each effect."""
    if not factorial(runs.study).factors:
        return empty_figure("no full factorial design")
    return draw_panels(runs, "effect", "effect")
