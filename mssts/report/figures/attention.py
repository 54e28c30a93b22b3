"""The attention figure: encoder maps of the baseline and of a variant, without a query, as published [page]."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.report.figures import attention_drawing as drawing
from mssts.report.figures.attention_drawing import Canvas, Cell
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.study.attention_cases import FRAMES_SHOWN
from mssts.study.attention_comparison import AttentionComparison, EncoderPanel
from mssts.study.runs import StudyRuns

CASES = "attention/cases.json"
TITLE = "Attention maps"
_BESIDE = 2  # cases beside each other
_BETWEEN = 0.16  # inches between them
_WIDTH = ((TEXT_WIDTH + _BETWEEN) / _BESIDE - _BETWEEN) / FRAMES_SHOWN - drawing.GAP  # of a frame
_ROWS = 3  # frames, baseline, variant
_HEADING, _TITLE, _LEGEND = 0.19, 0.14, 0.24  # inches: above a case, above a row of frames, below the figure


def caption(runs: StudyRuns) -> str:
    """The caption that was written beside the figure."""
    return drawing.written_caption(runs, CASES)


def figure(comparison: AttentionComparison | None) -> Figure:
    """For each case its frames, and below them the encoder map of each model."""
    if comparison is None or not comparison.encoder:
        return empty_figure(f"{NOT_RUN}: no instance shows a challenge" if comparison else NOT_RUN)
    panels = comparison.encoder
    bands = [panels[start : start + _BESIDE] for start in range(0, len(panels), _BESIDE)]
    others = len(bands) * (_HEADING + _ROWS * _TITLE) + _LEGEND
    pictures = [[panel.picture for panel in band] for band in bands]
    heights = drawing.cell_heights(pictures, [_ROWS] * len(bands), _WIDTH, others)
    canvas, top = Canvas(_ROWS * sum(heights) + others), 0.0
    for band, height in zip(bands, heights, strict=True):
        for position, panel in enumerate(band):
            left = position * (TEXT_WIDTH + _BETWEEN) / _BESIDE
            _draw_case(canvas, panel, comparison.title, left, top, height)
        top += _HEADING + _ROWS * (_TITLE + height)
    _draw_legend(canvas, top)
    return canvas.figure


def _draw_case(canvas: Canvas, panel: EncoderPanel, title: str, left: float, top: float, height: float) -> None:
    """Draw a case below and to the right of a place, with frames of a height."""
    picture = panel.picture
    canvas.heading(left, top + _HEADING - 0.04, picture.case)
    scale = dict(zip(("vmin", "vmax"), panel.limits, strict=True))
    for row in range(_ROWS):
        upper = top + _HEADING + _TITLE + row * (_TITLE + height)
        for column in range(len(picture.frames)):
            cell = Cell(left + column * (_WIDTH + drawing.GAP), upper, _WIDTH, height)
            if row == 0:
                canvas.draw(cell, picture, column)
                canvas.frame_number(cell, picture, column)
            else:
                image = panel.maps[row - 1][column]
                canvas.draw(cell, picture, column, image, panel.extent, cmap=drawing.COLOURS, **scale)
            canvas.outline(cell, picture, column)
        if row > 0:
            number, found = panel.aurocs[row - 1], picture.case.ranks[row - 1] is not None
            value = NO_VALUE if number is None else f"{number:.2f}"
            text = f"{('Baseline', title)[row - 1]}: AUROC {value}, {'found' if found else 'not found'}"
            canvas.write(left, upper - drawing.ABOVE, text)


def _draw_legend(canvas: Canvas, top: float) -> None:
    width, y = 1.8, top + _LEGEND - 0.05
    left = (TEXT_WIDTH - width) / 2
    canvas.colour_bar(Cell(left, y - 0.09, width, 0.1))
    canvas.write(left - 0.06, y, "smallest", ha="right")
    canvas.write(left + width + 0.06, y, "largest value in the video, both models")


def record(comparison: AttentionComparison | None) -> dict[str, Any]:
    """Caption and cases."""
    if comparison is None:
        return {"caption": f"{TITLE}: {NOT_RUN}.", "cases": []}
    cases = [
        drawing.record_of(panel.picture)
        | {
            "auroc": [None if number is None else round(number, 4) for number in panel.aurocs],
            "found": [rank is not None for rank in panel.picture.case.ranks],
            "limits": [round(limit, 4) for limit in panel.limits],
        }
        for panel in comparison.encoder
    ]
    return {"caption": _caption(comparison), "cases": cases}


def _caption(comparison: AttentionComparison) -> str:
    run, pictures = comparison.result.run, [panel.picture for panel in comparison.encoder]
    listed = drawing.described([picture.case for picture in pictures])
    missing = drawing.absent(comparison, pictures)
    without = f" No instance shows {missing}." if missing else ""
    return (
        f"Encoder maps of the baseline and of {comparison.title}, {run.dataset}, {comparison.result.split} split, "
        f"{run.backbone}, seed {run.seed}: the encoder's output at stride 8, its maximum over channels; no query takes "
        "part. For each challenge the instance that shows it most, among all instances, whether or not a model finds "
        f"it (at an IoU of 0.5): {listed}.{without} One colour scale for both models and all frames of a video. "
        "Outline: ground truth. AUROC: how well the map separates the outlined instance from the background in all "
        "frames that show it; 0.5 is chance. Degraded: the visible, uncovered area of the instance is at most half of "
        "its largest area."
    )
