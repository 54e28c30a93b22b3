"""What the errors cost, as a plot."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mssts.evaluation.errors import KINDS
from mssts.report.parts import benchmark_heading
from mssts.report.style import TEXT_WIDTH, colour_and_dash, empty_figure, legend_above, legend_height
from mssts.study.runs import StudyRuns

PANELS = 4  # benchmarks shown, the first of the study


def caption(runs: StudyRuns) -> str:
    """Caption of the figure."""
    return (
        "AP that the correction of the errors of one kind would gain. Small dots: seeds. Bars: means. The kinds are "
        "those of the table."
    )


def figure(runs: StudyRuns) -> Figure:
    """A panel for each benchmark, a group of rows for each kind of error, in it a row for each variant."""
    gains = {
        benchmark: {
            variant: np.array(
                [
                    [100 * one.metrics["errors"][kind]["AP"] for kind in KINDS]
                    for one in runs.select(*benchmark, variant)
                    if one.metrics and all(one.metrics["errors"][kind]["AP"] is not None for kind in KINDS)
                ]
            ).reshape(-1, len(KINDS))
            for variant in runs.study.variants
        }
        for benchmark in runs.benchmarks()
    }
    shown = [benchmark for benchmark, own in gains.items() if any(map(len, own.values()))][:PANELS]
    if not shown:
        return empty_figure()
    columns, variants = min(2, len(shown)), list(runs.study.variants)
    rows, step = -(-len(shown) // columns), 0.8 / len(variants)
    height = (0.065 * len(variants) + 0.1) * len(KINDS) + 0.6
    size = (TEXT_WIDTH, height * rows + legend_height(len(variants)))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axis, benchmark in zip(axes.flat, shown, strict=False):
        for position, variant in enumerate(variants):
            gains_SE = gains[benchmark][variant]
            if not len(gains_SE):
                continue
            colour, _ = colour_and_dash(position)
            y_E = np.arange(len(KINDS)) + (position - (len(variants) - 1) / 2) * step
            mean_E = gains_SE.mean(axis=0)
            axis.barh(y_E, mean_E, height=0.85 * step, color=colour, alpha=0.55)
            axis.plot([], [], color=colour, linewidth=4, label=runs.study.titles[variant])
            if len(gains_SE) > 1:
                axis.plot(gains_SE.T, y_E, "o", color="black", alpha=0.5, markersize=2, markeredgewidth=0)
        axis.set_yticks(range(len(KINDS)), KINDS)
        axis.set_ylim(len(KINDS) - 0.5, -0.5)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("AP gained (percentage points)")
        if len(shown) > 1:
            axis.set_title(benchmark_heading(*benchmark), loc="left", fontsize=8)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_axis_off()
    legend_above(figure)
    return figure
