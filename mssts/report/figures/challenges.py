"""AP on each challenge, with every seed."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mssts.report.figures.dots import draw_values
from mssts.report.formats import plural
from mssts.report.parts import benchmark_heading
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns

PANELS = 4  # beside each other


def caption(runs: StudyRuns) -> str:
    """Caption of the figure; empty without a challenge."""
    found = _challenges(runs)
    if found is None:
        return ""
    return (
        f"AP over all instances and on each challenge, {benchmark_heading(*found[0])}. Small dots: seeds. Bars: means. "
        "Compare models within a panel, not panels; the differences and their intervals stand in the section above."
    )


def _challenges(runs: StudyRuns) -> tuple[Benchmark, dict[str, int]] | None:
    """The first benchmark whose instances show challenges, and how many instances show each."""
    for benchmark in runs.benchmarks():
        counts: dict[str, int] = {}
        for variant in runs.study.variants:
            for one in runs.select(*benchmark, variant):
                counts |= {
                    name: values["instances"] for name, values in (one.metrics or {}).get("attributes", {}).items()
                }
        if shown := {name: count for name, count in sorted(counts.items()) if count}:
            return benchmark, shown
    return None


def figure(runs: StudyRuns) -> Figure:
    """A panel for all instances, and one for each challenge; in it a row for each variant."""
    found = _challenges(runs)
    if found is None:
        return empty_figure()
    benchmark, counts = found
    subsets = {ALL_INSTANCES: "all instances"} | {
        name: f"{name.replace('_', ' ')}\n{plural(count, 'instance')}" for name, count in counts.items()
    }
    rows = -(-len(subsets) // PANELS)
    size = (TEXT_WIDTH, rows * (0.19 * max(len(runs.study.variants), 3) + 0.75))
    figure, axes = plt.subplots(rows, PANELS, figsize=size, squeeze=False, layout="constrained")
    for number, axis in enumerate(axes.flat):
        if number >= len(subsets):
            axis.set_axis_off()
            continue
        subset = list(subsets)[number]
        selected = {name: runs.select(*benchmark, name) for name in runs.study.variants}
        draw_values(axis, {runs.study.titles[n]: [r.value(subset, "AP") for r in own] for n, own in selected.items()})
        axis.set_title(subsets[subset], loc="left", fontsize=8)
        if number % PANELS:
            axis.set_yticklabels([])
    figure.supxlabel("AP (%)", fontsize=8.5)
    return figure
