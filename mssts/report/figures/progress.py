"""AP during training, and final AP against the number of parameters."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.report.style import TEXT_WIDTH, colour_and_dash, empty_figure, legend_above, legend_height
from mssts.report.tables.validation import frame
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns

ROWS = 3  # benchmarks shown, the first of the study


def caption(runs: StudyRuns) -> str:
    """Caption of the figure."""
    measured = frame(runs)
    if measured.empty:
        during = "AP during training was not measured (execution.validate_every)"
    else:
        videos, instances = measured[["videos", "instances"]].iloc[0]
        during = (
            f"AP during training on {videos} fixed videos ({instances} instances) of the first split, so few that only "
            "the course can be read from it, no difference"
        )
    return (
        f"Left: {during}. Right: final AP on all videos against the parameters at inference. Small dots and thin "
        "lines: seeds. Large dots and thick lines: their means."
    )


def figure(runs: StudyRuns) -> Figure:
    """A row for each benchmark: AP over steps, and AP over parameters."""
    measured = frame(runs)
    benchmarks = [one for one in runs.benchmarks() if any(_finals(runs, one, name) for name in runs.study.variants)]
    if not benchmarks and measured.empty:
        return empty_figure()
    shown = (benchmarks or runs.benchmarks())[:ROWS]
    size = (TEXT_WIDTH, 2.1 * len(shown) + legend_height(len(runs.study.variants)))
    figure, axes = plt.subplots(len(shown), 2, figsize=size, squeeze=False, layout="constrained")
    for benchmark, (left, right) in zip(shown, axes, strict=True):
        for position, variant in enumerate(runs.study.variants):
            colour, dash = colour_and_dash(position)
            title, finals = runs.study.titles[variant], _finals(runs, benchmark, variant)
            own = measured[
                (measured["dataset"] == benchmark.dataset)
                & (measured["backbone"] == benchmark.backbone)
                & (measured["variant"] == variant)
                & (measured["AP"] != NO_VALUE)
            ]
            _draw_steps(left, own, title, colour, dash)
            if finals:
                x, mean = finals[0][0], sum(ap for _, ap in finals) / len(finals)
                right.plot(*zip(*finals, strict=True), "o", color=colour, markersize=2.6, alpha=0.6, markeredgewidth=0)
                right.plot(x, mean, "o", color=colour, markersize=5, label=title)
        where = f"{benchmark.dataset}, {benchmark.split} split" + (f", {benchmark.backbone}" if len(shown) > 1 else "")
        left.set(xlabel="optimizer step", ylabel="AP (%), few videos")
        right.set(xlabel="parameters (thousands)", ylabel="AP (%)")
        right.set_title(where, loc="left", fontsize=8)
        if not left.lines:
            left.annotate(NOT_RUN, (0.5, 0.5), xycoords="axes fraction", ha="center")
    legend_above(figure)
    return figure


def _draw_steps(axis: Axes, measured: pd.DataFrame, title: str, colour: str, dash: object) -> None:
    if measured.empty:
        return
    numbers = measured.astype({"step": int, "AP": float})
    seeds = numbers.groupby("seed")
    for _, own in seeds if len(seeds) > 1 else ():
        axis.plot(own["step"], own["AP"], color=colour, linewidth=0.5, alpha=0.45)
    mean = numbers.groupby("step")["AP"].mean()
    axis.plot(mean.index, mean, color=colour, linestyle=dash, marker=".", label=title)


def _finals(runs: StudyRuns, benchmark: Benchmark, variant: str) -> list[tuple[float, float]]:
    """Thousands of parameters and AP of each seed."""
    return [
        (one.run.record["parameters"] / 1000, value)
        for one in runs.select(*benchmark, variant)
        if one.run.record and (value := one.value(ALL_INSTANCES, "AP")) is not None
    ]
