"""The attention figure: maps of the baseline beside those of a variant, drawn and captioned."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mssts.core.files import read_record, write_record
from mssts.report.formats import NOT_RUN
from mssts.report.style import TEXT_WIDTH, empty_figure, paper_style, save
from mssts.study.attention_cases import CHALLENGES, FRAMES_SHOWN, AttentionComparison, Case, Panel
from mssts.study.runs import StudyRuns

MAX_CELL_ASPECT = 0.8  # height / width of a drawn frame: portrait videos are drawn smaller
NOTHING_TO_SHOW = "nothing to show"
_OUTLINE, _PIXEL = "#56e1ff", "#ff4fa3"
_RIGHT = FRAMES_SHOWN + 1  # first column of the right half


def caption(runs: StudyRuns) -> str:
    """The caption that was written beside the figure."""
    cases = runs.folder / "attention/cases.json"
    return read_record(cases)["caption"] if cases.is_file() else "Attention maps."


def write_attention(comparison: AttentionComparison | None, output_dir: Path) -> None:
    """Write attention/attention.pdf and .png, and attention/cases.json with the caption, into `output_dir`.

    Args:
        comparison: What to draw; None prints "not run".
        output_dir: Directory of the report.
    """
    folder = Path(output_dir) / "attention"
    with paper_style():
        save(attention_figure(comparison), folder / "attention")
    text = _caption(comparison) if comparison else f"Attention maps: {NOT_RUN}."
    cases = [_record(panel) for panel in comparison.panels] if comparison else []
    write_record(folder / "cases.json", {"caption": text, "cases": cases})


def attention_figure(comparison: AttentionComparison | None) -> Figure:
    """For each case a row of query maps of both models, the frames, and a row for each observable encoder branch."""
    if comparison is None or not comparison.panels:
        return empty_figure(f"{NOT_RUN}: no instance was found by both models")
    heights = [_panel_height(panel) for panel in comparison.panels]
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    figure = plt.figure(figsize=(TEXT_WIDTH, sum(heights)), layout=layout)
    subfigures = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    for panel, subfigure in zip(comparison.panels, subfigures, strict=True):
        subfigure.suptitle(_challenge(panel.case), x=0.008, ha="left", fontsize=9, fontweight="bold")
        widths = [1] * FRAMES_SHOWN + [0.12] + [1] * FRAMES_SHOWN
        axes = subfigure.subplots(_rows(panel), 2 * FRAMES_SHOWN + 1, width_ratios=widths)
        for axis in axes.flat:
            axis.set_axis_off()
        axes[0, 0].set_title("Baseline, query", fontsize=7.5, loc="left", pad=2)
        axes[0, _RIGHT].set_title(f"{comparison.title}, query", fontsize=7.5, loc="left", pad=2)
        for column, frame in enumerate(panel.frames):
            draw_map(axes[0, column], panel, column, panel.baseline)
            draw_map(axes[0, _RIGHT + column], panel, column, panel.variant)
            draw_map(axes[1, column], panel, column, None, marked=True, title=f"frame {frame + 1}")
            for row, shown in enumerate(panel.temporal.values(), start=1):
                share = f"{100 * shown.shares[column]:.0f} %"
                draw_map(axes[row, _RIGHT + column], panel, column, shown.maps, marked=True, title=share)
        centred = {"ha": "center", "va": "center", "in_layout": False}
        for row, label in enumerate(panel.temporal, start=1):
            axes[row, FRAMES_SHOWN].text(0.5, 0.5, label, fontsize=6, rotation=90, **centred)
        if not panel.temporal:
            text = f"Encoder of {comparison.title}: {NOTHING_TO_SHOW}"
            axes[1, _RIGHT].text(0, 0.5, text, fontsize=6.5, va="center", in_layout=False)
    return figure


def _rows(panel: Panel) -> int:
    return 1 + max(1, len(panel.temporal))


def _panel_height(panel: Panel) -> float:
    """Height in inches of the rows of a case and of its titles."""
    height, width = panel.masks.shape[1:]
    cell = TEXT_WIDTH / (2 * FRAMES_SHOWN + 0.12)
    return _rows(panel) * (cell * min(height / width, MAX_CELL_ASPECT) + 0.15) + 0.2


def draw_map(
    axis: Axes, panel: Panel, column: int, maps: np.ndarray | None, marked: bool = False, title: str = ""
) -> None:
    """Draw a frame with the ground-truth outline.

    Args:
        axis: Where to draw.
        panel: The case.
        column: Position among the frames shown.
        maps: Maps of the frames shown, drawn over a grey frame; None: the frame alone, in colour.
        marked: Whether to mark the pixel that `panel.temporal` is about, in its frame.
        title: Text above the frame.
    """
    height, width = panel.masks.shape[1:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    image = panel.images[column]
    if maps is None:
        axis.imshow(image, extent=extent, interpolation="nearest")
    else:
        axis.imshow(image.mean(-1), cmap="gray", vmin=-0.1, vmax=1.5, extent=extent, interpolation="nearest")
        strength = np.sqrt(maps[column])  # a root, so that weak attention is visible too
        smooth, opacity = "nearest" if marked else "bilinear", 0.9 * strength
        axis.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=opacity, extent=extent, interpolation=smooth)
    axis.contour(panel.masks[column], levels=[0.5], colors=_OUTLINE, linewidths=0.7)
    if marked and column == panel.marked[0]:
        axis.plot(*panel.marked[1:], "+", color=_PIXEL, markersize=5, markeredgewidth=1)
    axis.set_xlim(extent[:2])
    axis.set_ylim(extent[2:])
    axis.set_title(title, fontsize=6.5, pad=1.5)


def _challenge(case: Case) -> str:
    return case.challenge.replace("_", " ").capitalize()


def _record(panel: Panel) -> dict:
    case = panel.case
    return {
        "challenge": case.challenge,
        "score": round(case.score, 4),
        "video_id": case.instance.video_id,
        "annotation_id": case.instance.id,
        "frames": panel.frames,
        "marked_frame": panel.frames[panel.marked[0]],
        "marked_pixel_xy": list(panel.marked[1:]),
    }


def _caption(comparison: AttentionComparison) -> str:
    run, cases = comparison.result.run, [panel.case for panel in comparison.panels]
    listed = [f"{_challenge(case).lower()} {case.score:.2f} (video {case.instance.video_id})" for case in cases]
    missing = [name.replace("_", " ") for name in CHALLENGES if name not in {case.challenge for case in cases}]
    without = f" No instance found by both models shows {', '.join(missing)}." if missing else ""
    nothing = ", ".join(comparison.nothing_to_show)
    silent = f" These parts declare no attention and have {NOTHING_TO_SHOW}: {nothing}." if nothing else ""
    return (
        f"Baseline and {comparison.title}, {run.dataset}, {comparison.result.split} split, {run.backbone}, seed "
        f"{run.seed}. For each challenge the instance that shows it most among those that both models find at an IoU "
        f"of 0.5: {'; '.join(listed) or 'none'}.{without} Upper rows: deformable cross-attention of the instance's "
        "query, summed over heads, points, levels and layers. Lower rows: the frames, and how much "
        "attention the encoder token at the cross pays to each frame (all levels; in percent). The colour scale is "
        "common to the frames of a clip and proportional to the square root of the attention; outline: ground "
        f"truth.{silent}"
    )
