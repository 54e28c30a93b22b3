"""The main figure: effects on AP on the first benchmark; AP of every variant and its difference to the baseline."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mssts.report.figures.dots import draw_differences, draw_values
from mssts.report.parts import benchmark_heading
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.study.contrasts import contrasts, factorial
from mssts.study.differences import Measure
from mssts.study.differences_file import read_differences
from mssts.study.runs import ALL_INSTANCES, StudyRuns

_ROW = 0.2  # inches for a line of dots
_AXES = 0.55  # inches for the labels of an axis


def caption(runs: StudyRuns) -> str:
    """Caption of the figure; empty for a study that evaluates nothing."""
    if not runs.study.spec.splits:
        return ""
    where = benchmark_heading(*runs.benchmarks()[0])
    top = "Above: main effects and interactions of the contributions. " if factorial(runs.study).factors else ""
    text = f"{top}AP, {where}. Small dots are seeds, the bar is their mean."
    if not contrasts(runs.study):
        return text
    rows = "effects, or all variants, and for all measures" if top else "variants and measures"
    return (
        f"{text} Right: difference to the baseline; the large dot is the mean over seeds. The thin line is the 95 % "
        f"interval over videos that decides: it holds for all {rows} at once; the thick line holds for its "
        "row alone. A filled dot: the thin line excludes zero."
    )


def figure(runs: StudyRuns) -> Figure:
    """The effects if the study has any; a line for each variant: its AP, and its difference to the baseline."""
    if not runs.study.spec.splits:
        return empty_figure()
    benchmark = runs.benchmarks()[0]
    titles = {name: runs.study.titles[name] for name in runs.study.variants}
    values = {
        titles[name]: [one.value(ALL_INSTANCES, "AP") for one in runs.select(*benchmark, name)] for name in titles
    }
    in_ap = [
        one
        for one in read_differences(runs)
        if (one.benchmark, one.measure) == (benchmark, Measure(ALL_INSTANCES, "AP"))
    ]
    effects = [one for one in in_ap if one.contrast.kind == "effect"]
    differences = {one.contrast.name: one for one in in_ap if one.contrast.kind == "difference"}
    lines = [len(effects), max(len(titles), 3)] if effects else [max(len(titles), 3)]
    heights = [_ROW * count + _AXES for count in lines]
    figure = plt.figure(figsize=(TEXT_WIDTH, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 2 if differences else 1, height_ratios=heights)
    if effects:
        axis = draw_differences(figure.add_subplot(grid[0, :]), effects)
        axis.set_xlabel("effect on AP (percentage points)")
    axis = draw_values(figure.add_subplot(grid[-1, 0]), values)
    axis.set_xlabel("AP (%)")
    if differences:
        axis = draw_differences(figure.add_subplot(grid[-1, 1]), [differences.get(name) for name in titles])
        axis.set_yticklabels([])
        axis.set_xlabel("difference in AP to the baseline (percentage points)")
    return figure
