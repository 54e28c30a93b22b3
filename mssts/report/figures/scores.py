"""Precision over recall, and calibration of the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mssts.core.csv_files import decimals
from mssts.evaluation.average_precision import RECALL_POINTS
from mssts.evaluation.curves import calibration_error
from mssts.report.parts import benchmark_heading
from mssts.report.style import TEXT_COLOUR, TEXT_WIDTH, colour_and_dash, empty_figure, legend_above, legend_height
from mssts.study.runs import Benchmark, StudyRuns

ROWS = 3  # benchmarks shown, the first of the study
FEWEST = 20  # detections of a tenth of the scores that are drawn
_CURVES = {"AP50": "precision at IoU 0.5", "AP75": "precision at IoU 0.75"}
_SEED: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.45}


def caption(runs: StudyRuns) -> str:
    """Caption of the figure."""
    return (
        "Precision over recall, averaged over categories, at two IoU thresholds; and how often detections are right "
        "(matched at an IoU of 0.5 in their category) against their score, in tenths of the scores with at least "
        f"{FEWEST} detections. Thin lines: seeds. Thick lines: means, on the right over all detections. Dashed: scores "
        f"that are true probabilities; below it scores are too high, above it too low. {_calibration_errors(runs)}"
    )


def _calibration_errors(runs: StudyRuns) -> str:
    """Sentence on the first benchmark; empty without one."""
    shown, texts = _shown(runs), []
    for variant, metrics in shown[0][1].items() if shown else ():
        error = calibration_error([part for one in metrics for part in one["calibration"]])
        texts.append(f"{runs.study.titles[variant]} {decimals(error, 3)}")
    return f"Expected calibration error on the first split: {', '.join(texts)}." if texts else ""


def _shown(runs: StudyRuns) -> list[tuple[Benchmark, dict[str, list[dict[str, Any]]]]]:
    """Metrics of the seeds of each variant of each benchmark that has curves."""
    found = []
    for benchmark in runs.benchmarks():
        metrics = {
            variant: [m for one in runs.select(*benchmark, variant) if (m := one.metrics) and "precision_recall" in m]
            for variant in runs.study.variants
        }
        if any(metrics.values()):
            found.append((benchmark, {variant: own for variant, own in metrics.items() if own}))
    return found[:ROWS]


def figure(runs: StudyRuns) -> Figure:
    """A row of panels for each benchmark: precision at two thresholds, and calibration."""
    shown = _shown(runs)
    if not shown:
        return empty_figure()
    size = (TEXT_WIDTH, 2.15 * len(shown) + legend_height(len(runs.study.variants)))
    figure, axes = plt.subplots(len(shown), 3, figsize=size, squeeze=False, layout="constrained")
    for (benchmark, metrics), row in zip(shown, axes, strict=True):
        for position, variant in enumerate(runs.study.variants):
            if variant in metrics:
                _draw(row, metrics[variant], runs.study.titles[variant], *colour_and_dash(position))
        for axis, label in zip(row, _CURVES.values(), strict=False):
            axis.set(xlabel="recall", ylabel=label, xlim=(0, 1), ylim=(0, 1.02))
        row[2].plot([0, 1], [0, 1], color=TEXT_COLOUR, linewidth=0.6, linestyle=(0, (4, 3)))
        row[2].set(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
        if len(shown) > 1:
            row[0].set_title(benchmark_heading(*benchmark), loc="left")
    legend_above(figure)
    return figure


def _draw(row: Sequence[Axes], metrics: list[dict[str, Any]], title: str, colour: str, dash: Any) -> None:
    for axis, name in zip(row, _CURVES, strict=False):
        curves_SP = np.array([one["precision_recall"][name] for one in metrics], dtype=float)
        if len(metrics) > 1:
            axis.plot(RECALL_POINTS, curves_SP.T, color=colour, **_SEED)
        axis.plot(RECALL_POINTS, curves_SP.mean(axis=0), color=colour, linestyle=dash, label=title)
    for bins in [one["calibration"] for one in metrics] if len(metrics) > 1 else []:
        row[2].plot(*_reliability([bins]), color=colour, **_SEED)
    row[2].plot(*_reliability([one["calibration"] for one in metrics]), color=colour, linestyle=dash, marker=".")


def _reliability(runs: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[list[float], list[float]]:
    """Mean score and share of right detections of the tenths of the scores with enough detections."""
    points = []
    for parts in zip(*runs, strict=False):
        counts = np.array([part["detections"] for part in parts])
        if counts.sum() >= FEWEST:
            values = np.array([[part["score"] or 0.0, part["right"] or 0.0] for part in parts])
            points.append(counts @ values / counts.sum())
    return [float(score) for score, _ in points], [float(right) for _, right in points]
