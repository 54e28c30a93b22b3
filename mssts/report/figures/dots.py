"""Rows of dots: values of seeds with their mean, and differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from mssts.core.csv_files import NOT_RUN
from mssts.report.conclusions import DECIDED, verdict
from mssts.report.formats import plural
from mssts.report.style import PALETTE, TEXT_COLOUR
from mssts.study.differences import Difference

_SEED: dict[str, Any] = {
    "color": TEXT_COLOUR,
    "alpha": 0.45,
    "markersize": 2.6,
    "markeredgewidth": 0,
    "linestyle": "none",
}


def draw_values(axis: Axes, values: Mapping[str, Sequence[float | None]]) -> Axes:
    """A row for each name: a dot for each seed, and a bar at their mean, written beside; "not run" where none is."""
    for row, of_seeds in enumerate(values.values()):
        known = [round(value, 6) for value in of_seeds if value is not None]
        if not known:
            _write(axis, row, NOT_RUN)
            continue
        mean = sum(known) / len(known)
        axis.plot([mean, mean], [row - 0.28, row + 0.28], color=PALETTE[0], linewidth=1.8, zorder=2)
        axis.plot(known, [row] * len(known), "o", zorder=3, **_SEED)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axis.annotate(f"{mean:.1f}", (1, row), (3, 0), **place, va="center", fontsize=7, color=PALETTE[0])
    _rows(axis, list(values))
    return axis


def draw_differences(axis: Axes, family: Sequence[Difference | None]) -> Axes:
    """A row for each contrast: its mean with the intervals, filled where the verdict is above or below, and its seeds.

    A row of None stays empty; one without intervals says why.
    """
    axis.axvline(0, color=TEXT_COLOUR, linewidth=0.8, zorder=1)
    for row, one in enumerate(family):
        if one is None:
            continue
        if one.intervals is None or one.mean is None:
            _write(axis, row, f"only {plural(one.size.videos, 'video')}" if one.seeds else NOT_RUN)
            continue
        for interval, width in ((one.intervals.simultaneous, 0.8), (one.intervals.pointwise, 2.0)):
            axis.plot([interval.low, interval.high], [row, row], color=PALETTE[0], linewidth=width, zorder=2)
        face = PALETTE[0] if verdict(one) in DECIDED else "white"
        axis.plot(one.mean, row, "o", color=PALETTE[0], mfc=face, markersize=4.5, markeredgewidth=1.1, zorder=3)
        if one.seeds > 1:
            axis.plot(one.by_seed, [row + 0.26] * len(one.by_seed), "o", zorder=4, **_SEED)
    _rows(axis, [one.contrast.title if one else "" for one in family])
    axis.update_datalim([(-0.01, 0), (0.01, 0)])  # a scale that can be read where nothing differs
    return axis


def _rows(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.08)


def _write(axis: Axes, row: int, text: str) -> None:
    over_lines: dict[str, Any] = {"facecolor": axis.get_facecolor(), "edgecolor": "none", "pad": 1}
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
    axis.annotate(text, (0.05, row), **place, fontsize=7, bbox=over_lines)
