"""The differences to the baseline as a dot plot."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mssts.core.csv_files import NOT_RUN
from mssts.report.style import PALETTE, TEXT_COLOUR, TEXT_WIDTH, empty_figure
from mssts.study.differences import Difference, measured, read_differences
from mssts.study.runs import Benchmark, StudyRuns


def caption(runs: StudyRuns) -> str:
    """Caption of the figure."""
    return "Differences to the baseline with 95 % intervals over videos; a filled dot: the interval excludes zero."


def figure(runs: StudyRuns) -> Figure:
    """A row of panels for each benchmark, a column for each measure, a line for each variant."""
    found = read_differences(runs)
    measures = measured(found)
    if not measures:
        return empty_figure()
    benchmarks = list(dict.fromkeys(difference.benchmark for difference in found if difference.interval))
    variants = len({difference.variant for difference in found})
    shape, height = (len(benchmarks), len(measures)), len(benchmarks) * (0.19 * max(variants, 3) + 0.7)
    figure, axes = plt.subplots(*shape, figsize=(TEXT_WIDTH, height), squeeze=False, sharex="row", layout="constrained")
    for row, benchmark in enumerate(benchmarks):
        for column, measure in enumerate(measures):
            axis = axes[row, column]
            family = [one for one in found if (one.benchmark, one.measure) == (benchmark, measure)]
            if not any(difference.interval for difference in family):
                axis.set_axis_off()
                continue
            draw_differences(axis, family, runs.study.titles)
            axis.set_title(f"\n{measure.title}", loc="left")  # the empty line keeps the height of the heading
            if column:
                axis.set_yticklabels([])
                continue
            text, bold = _heading(runs, benchmark), {"fontweight": "bold", "fontsize": 8.5}
            heading = axis.annotate(text, (0, 1), (0, 18), "axes fraction", "offset points", **bold)
            heading.set_in_layout(False)  # it may extend over the panels beside its own
    figure.supxlabel("difference to the baseline (percentage points), 95 % interval over videos", fontsize=8.5)
    return figure


def draw_differences(axis: Axes, family: list[Difference], titles: dict[str, str]) -> Axes:
    """A dot with its interval for each variant, filled where it excludes zero; or "not run" or "undefined"."""
    axis.axvline(0, color=TEXT_COLOUR, linewidth=0.8, zorder=1)
    for row, difference in enumerate(family):
        interval = difference.interval
        if interval is None:
            text = "undefined" if difference.seeds else NOT_RUN
            axis.annotate(text, (0, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
            continue
        axis.plot([interval.low, interval.high], [row, row], color=PALETTE[0], linewidth=1.4, zorder=2)
        face = PALETTE[0] if interval.excludes_zero else "white"
        axis.plot(interval.mean, row, "o", color=PALETTE[0], mfc=face, markersize=4.5, markeredgewidth=1.1, zorder=3)
    axis.set_yticks(range(len(family)), [titles[difference.variant] for difference in family])
    axis.set_ylim(len(family) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.08)
    return axis


def _heading(runs: StudyRuns, benchmark: Benchmark) -> str:
    backbone = [benchmark.backbone] if len(runs.study.spec.backbones) > 1 else []
    return " · ".join([benchmark.dataset, f"{benchmark.split} split", *backbone])
