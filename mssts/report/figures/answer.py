"""The main figure: AP of every variant on the first benchmark, and its difference to the baseline."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mssts.report.figures.dots import draw_differences, draw_values
from mssts.report.parts import benchmark_heading
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.study.contrasts import contrasts
from mssts.study.differences import Measure
from mssts.study.differences_file import read_differences
from mssts.study.runs import ALL_INSTANCES, StudyRuns


def caption(runs: StudyRuns) -> str:
    """Caption of the figure; empty for a study that evaluates nothing."""
    if not runs.study.spec.splits:
        return ""
    where = benchmark_heading(*runs.benchmarks()[0])
    text = f"AP, {where}. Small dots are seeds, the bar is their mean."
    if not contrasts(runs.study):
        return text
    return (
        f"{text} Right: difference to the baseline; the large dot is the mean over seeds. The thin line is the 95 % "
        "interval over videos that decides: it holds for all variants and measures at once; the thick line holds for "
        "its row alone. A filled dot: the thin line excludes zero."
    )


def figure(runs: StudyRuns) -> Figure:
    """A line for each variant: its AP, and its difference to the baseline if the study has one."""
    if not runs.study.spec.splits:
        return empty_figure()
    benchmark = runs.benchmarks()[0]
    titles = {name: runs.study.titles[name] for name in runs.study.variants}
    values = {
        titles[name]: [one.value(ALL_INSTANCES, "AP") for one in runs.select(*benchmark, name)] for name in titles
    }
    found = {
        one.contrast.name: one
        for one in read_differences(runs)
        if (one.benchmark, one.measure, one.contrast.kind) == (benchmark, Measure(ALL_INSTANCES, "AP"), "difference")
    }
    size = (TEXT_WIDTH, 0.24 * max(len(titles), 3) + 0.55)
    columns = 2 if found else 1
    figure, axes = plt.subplots(1, columns, figsize=size, squeeze=False, layout="constrained")
    draw_values(axes[0, 0], values)
    axes[0, 0].set_xlabel("AP (%)")
    if found:
        draw_differences(axes[0, 1], [found.get(name) for name in titles])
        axes[0, 1].set_yticklabels([])
        axes[0, 1].set_xlabel("difference in AP to the baseline (percentage points)")
    return figure
