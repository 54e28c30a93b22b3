"""The differences to the baseline as a dot plot."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mssts.report.figures.dots import draw_differences
from mssts.report.formats import plural
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.study.contrasts import Kind
from mssts.study.differences import Difference, Measure
from mssts.study.differences_file import read_differences
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns

PANELS = 5  # beside each other
MAX_HEIGHT = 9.0  # inches: a page with a caption
LEGEND = (
    "with 95 % intervals over videos: thin lines hold for all panels of a dataset, split and backbone at once, thick "
    "ones for one row alone. A filled dot: the thin line excludes zero. Small dots: seeds. *: a challenge announced "
    "before the runs."
)


def caption(runs: StudyRuns) -> str:
    """Caption of the figure."""
    return f"Differences to the baseline {LEGEND}"


def figure(runs: StudyRuns) -> Figure:
    """Rows of panels for each benchmark, a panel for each measure, in it a line for each variant."""
    return draw_panels(runs, "difference", "difference to the baseline")


def draw_panels(runs: StudyRuns, kind: Kind, name: str) -> Figure:
    """Rows of panels for each benchmark, a panel for each measure, in it a line for each contrast of a kind."""
    found = [one for one in read_differences(runs) if one.size.instances and one.contrast.kind == kind]
    panels: dict[tuple[Benchmark, Measure], list[Difference]] = {}
    for one in found:
        panels.setdefault((one.benchmark, one.measure), []).append(one)
    benchmarks = {key: [family for (own, _), family in panels.items() if own == key] for key, _ in panels}
    rows = [
        (benchmark if start == 0 else None, families[start : start + PANELS])
        for benchmark, families in benchmarks.items()
        for start in range(0, len(families), PANELS)
    ]
    if not rows:
        return empty_figure()
    columns = max(len(families) for _, families in rows)
    lines = max(len(family) for family in panels.values())
    height = min(len(rows) * (0.19 * max(lines, 3) + 1.0), MAX_HEIGHT)
    size = TEXT_WIDTH, height
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, sharex="row", layout="constrained")
    for (benchmark, families), row_axes in zip(rows, axes, strict=True):
        for column, axis in enumerate(row_axes):
            if column >= len(families):
                axis.set_axis_off()
                continue
            family = families[column]
            draw_differences(axis, family)
            axis.set_title(_title(family[0], heading=benchmark is not None), loc="left")
            videos, instances = family[0].size
            size_text = f"{plural(videos, 'video')}, {plural(instances, 'instance')}"
            axis.set_xlabel(size_text, loc="left", fontsize=6.5)
            if column:
                axis.set_yticklabels([])
        if benchmark:
            text, bold = _heading(runs, benchmark), {"fontweight": "bold", "fontsize": 8.5}
            heading = row_axes[0].annotate(text, (0, 1), (0, 29), "axes fraction", "offset points", **bold)
            heading.set_in_layout(False)  # it may extend over the panels beside its own
    figure.supxlabel(f"{name} (percentage points), 95 % intervals over videos", fontsize=8.5)
    return figure


def _title(one: Difference, heading: bool) -> str:
    """Two lines, and an empty one that keeps the height of a heading above."""
    mark = "*" if one.announced and one.measure.subset != ALL_INSTANCES else ""
    title = f"{one.measure.title.replace(' on ', ' on' + chr(10))}{mark}"
    return "\n" * (1 + heading - title.count("\n")) + title


def _heading(runs: StudyRuns, benchmark: Benchmark) -> str:
    backbone = [benchmark.backbone] if len(runs.study.spec.backbones) > 1 else []
    return " · ".join([benchmark.dataset, f"{benchmark.split} split", *backbone])
