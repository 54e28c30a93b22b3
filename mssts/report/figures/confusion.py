"""Confusion of categories, of the baseline and of a variant."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mssts.report.formats import plural
from mssts.report.parts import benchmark_heading
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.report.tables.confusion import MISSED
from mssts.study.attention_runs import select_variant
from mssts.study.resolve import BASELINE
from mssts.study.runs import StudyRuns

NUMBERS_UP_TO = 10  # categories


def caption(runs: StudyRuns) -> str:
    """Caption of the figure; empty for a study that evaluates nothing."""
    if not runs.study.spec.splits:
        return ""
    where = benchmark_heading(*runs.benchmarks()[0])
    return (
        f"Which category the instances of each category are found as, in percent, {where}: the category of the "
        "detection of highest score with an IoU of at least 0.5. Instances of all seeds together."
    )


def figure(runs: StudyRuns) -> Figure:
    """A matrix for the baseline and one for the variant of the attention figures, where they have been run."""
    variants = [name for name in (BASELINE, select_variant(runs)) if name in runs.study.variants]
    benchmark = runs.benchmarks()[0] if runs.study.spec.splits else None
    found = {
        name: [m for one in runs.select(*benchmark, name) if (m := one.metrics) and m.get("found_as")]
        for name in variants
        if benchmark
    }
    found = {name: metrics for name, metrics in found.items() if metrics}
    if not found:
        return empty_figure()
    names = list(next(iter(found.values()))[0]["per_category"])
    size = (TEXT_WIDTH, min(0.13 * len(names) + 1.9, 5.0))
    figure, axes = plt.subplots(1, len(found), figsize=size, squeeze=False, sharey=True, layout="constrained")
    for axis, (variant, metrics) in zip(axes[0], found.items(), strict=True):
        counts_KC = _counts(metrics, names)
        shares_KC = 100 * counts_KC / np.maximum(counts_KC.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares_KC, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares_KC) if len(names) <= NUMBERS_UP_TO else ():
            colour = "white" if share > 60 else "black"
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)
        rows = [f"{name} ({count})" for name, count in zip(names, counts_KC.sum(axis=1) // len(metrics), strict=True)]
        axis.set_yticks(range(len(names)), rows, fontsize=7 if len(names) <= NUMBERS_UP_TO else 6)
        axis.set_xticks(range(len(names) + 1), [*names, MISSED], rotation=90, fontsize=6.5)
        axis.set_title(f"{runs.study.titles[variant]}, {plural(len(metrics), 'seed')}", loc="left")
        axis.set_xlabel("found as")
        axis.grid(visible=False)
        axis.tick_params(length=0)
    axes[0, 0].set_ylabel("category (instances)")
    return figure


def _counts(metrics: list[dict[str, Any]], names: list[str]) -> np.ndarray:
    """Instances of all seeds: a row for each category, a column for each that they are found as, then for missed."""
    position = {name: number for number, name in enumerate([*names, None])}
    counts_KC = np.zeros((len(names), len(names) + 1), dtype=int)
    for name, found, count in (triple for one in metrics for triple in one["found_as"]):
        counts_KC[position[name], position[found]] += count
    return counts_KC
