"""Attention of a decoder query and of an encoder token, baseline beside a variant [ours]."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mssts.core.csv_files import NOT_RUN
from mssts.report.figures import attention_drawing as drawing
from mssts.report.figures.attention_drawing import Canvas, Cell
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.study.attention_cases import FRAMES_SHOWN
from mssts.study.attention_comparison import AttentionComparison, Picture, QueryPanel
from mssts.study.runs import StudyRuns

CASES = "attention/queries.json"
TITLE = "Attention of queries"
NOTHING_TO_SHOW = "nothing to show"
_GUTTER = 0.14  # inches between the halves
_RIGHT = (TEXT_WIDTH + _GUTTER) / 2  # inches: where the right half begins
_WIDTH = (TEXT_WIDTH - _GUTTER) / 2 / FRAMES_SHOWN - drawing.GAP  # of a frame
_HEADING, _TITLE = 0.18, 0.13  # inches: above a case, above a row of frames


def caption(runs: StudyRuns) -> str:
    """The caption that was written beside the figure."""
    return drawing.written_caption(runs, CASES)


def figure(comparison: AttentionComparison | None) -> Figure:
    """For each case a row of query maps of both models, the frames, and a row for each observable encoder branch."""
    if comparison is None or not comparison.queries:
        return empty_figure(f"{NOT_RUN}: no instance was found by both models" if comparison else NOT_RUN)
    panels, rows = comparison.queries, [_rows(panel) for panel in comparison.queries]
    others = len(panels) * _HEADING + sum(rows) * _TITLE
    heights = drawing.cell_heights([[panel.picture] for panel in panels], rows, _WIDTH, others)
    drawn = sum(height * count for height, count in zip(heights, rows, strict=True))
    canvas, top = Canvas(drawn + others), 0.0
    for panel, height in zip(panels, heights, strict=True):
        _draw_case(canvas, panel, comparison.title, top, height)
        top += _HEADING + _rows(panel) * (_TITLE + height)
    return canvas.figure


def _rows(panel: QueryPanel) -> int:
    return 1 + max(1, len(panel.temporal))


def _draw_case(canvas: Canvas, panel: QueryPanel, title: str, top: float, height: float) -> None:
    """Draw a case below a place, with frames of a height."""
    picture, (marked, *pixel) = panel.picture, panel.marked
    uppers = [top + _HEADING + _TITLE + row * (_TITLE + height) for row in range(_rows(panel))]
    canvas.heading(0, top + _HEADING - 0.04, picture.case)
    canvas.write(0, uppers[0] - drawing.ABOVE, "Baseline, query")
    canvas.write(_RIGHT, uppers[0] - drawing.ABOVE, f"{title}, query")
    for column in range(len(picture.frames)):
        (left, *lower_left), (right, *lower_right) = (
            [Cell(start + column * (_WIDTH + drawing.GAP), upper, _WIDTH, height) for upper in uppers]
            for start in (0, _RIGHT)
        )
        _draw_map(canvas, left, picture, column, panel.baseline)
        _draw_map(canvas, right, picture, column, panel.variant)
        canvas.draw(lower_left[0], picture, column)
        canvas.frame_number(lower_left[0], picture, column)
        canvas.outline(lower_left[0], picture, column)
        for cell, shown in zip(lower_right, panel.temporal.values(), strict=False):
            _draw_map(canvas, cell, picture, column, shown.maps, smooth=False)
            uniform = f" (uniform {100 / panel.length:.0f} %)" if column == 0 else ""
            canvas.above(cell, f"{100 * shown.shares[column]:.0f} %{uniform}")
        if column == marked:
            for cell in (lower_left[0], *lower_right[: len(panel.temporal)]):
                canvas.mark(cell, picture, *pixel)
    for upper, label in zip(uppers[1:], panel.temporal, strict=False):
        canvas.write(_RIGHT - 0.06, upper + height / 2, label, rotation=90, ha="center", va="center")
    if not panel.temporal:
        canvas.write(_RIGHT, uppers[1] + height / 2, f"Encoder of {title}: {NOTHING_TO_SHOW}")


def _draw_map(canvas: Canvas, cell: Cell, picture: Picture, column: int, maps: np.ndarray, smooth: bool = True) -> None:
    """Draw a map over its grey frame; the root makes weak attention visible too."""
    canvas.draw(cell, picture, column, picture.images[column].mean(-1), cmap="gray", vmin=-0.1, vmax=1.5)
    strength = np.sqrt(maps[column])
    options = {"vmin": 0, "vmax": 1, "alpha": 0.9 * strength, "interpolation": "bilinear" if smooth else "nearest"}
    canvas.draw(cell, picture, column, strength, cmap=drawing.COLOURS, **options)
    canvas.outline(cell, picture, column)


def record(comparison: AttentionComparison | None) -> dict[str, Any]:
    """Caption and cases."""
    if comparison is None:
        return {"caption": f"{TITLE}: {NOT_RUN}.", "cases": []}
    cases = [
        drawing.record_of(panel.picture)
        | {
            "marked_frame": panel.picture.frames[panel.marked[0]],
            "marked_pixel_xy": list(panel.marked[1:]),
            "uniform_share": round(1 / panel.length, 4),
            "shares": {name: [round(float(share), 4) for share in one.shares] for name, one in panel.temporal.items()},
        }
        for panel in comparison.queries
    ]
    return {"caption": _caption(comparison), "cases": cases}


def _caption(comparison: AttentionComparison) -> str:
    run, pictures = comparison.result.run, [panel.picture for panel in comparison.queries]
    listed = drawing.described([picture.case for picture in pictures])
    missing = drawing.absent(comparison, pictures)
    without = f" No instance found by both models shows {missing}." if missing else ""
    nothing = ", ".join(comparison.nothing_to_show)
    silent = f" These parts declare no attention and have {NOTHING_TO_SHOW}: {nothing}." if nothing else ""
    return (
        f"Baseline and {comparison.title}, {run.dataset}, {comparison.result.split} split, {run.backbone}, seed "
        f"{run.seed}. For each challenge the instance that shows it most among those that both models find at an IoU "
        f"of 0.5: {listed}.{without} Upper rows: deformable cross-attention of the instance query, summed over "
        "heads, points, levels and layers. Lower rows: the frames, and how much attention the encoder token at the "
        "cross pays to each frame of the video (all levels; in percent; uniform: the same to every frame). Degraded: "
        "the visible, uncovered area of the instance is at most half of its largest area. The colour scale is common "
        f"to the frames of a clip and proportional to the square root of the attention; outline: ground truth.{silent}"
    )
