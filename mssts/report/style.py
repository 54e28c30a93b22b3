"""The look of figures, and how they are written so that the same data give the same bytes."""

from __future__ import annotations

import io
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.text import Text

from mssts.core.csv_files import NOT_RUN
from mssts.core.errors import printable
from mssts.core.files import atomic_write
from mssts.core.workspace import here_or_shipped

TEXT_WIDTH = 6.9  # inches: the text of an A4 page of the report
PALETTE = sns.color_palette("colorblind").as_hex()
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
TEXT_COLOUR = "#222222"
_LEGEND_COLUMNS = 4
STYLE = here_or_shipped("reports/templates/paper.mplstyle")
_DPI = 200
_LINE, _LINES = 90, 6  # characters of a line, and lines, of a figure that holds only text
_NO_METADATA = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None, "ModDate": None},
    "png": {"Software": None},
}


def colour_and_dash(position: int) -> tuple[str, object]:
    """Line style of the n-th series; distinct without colour as well, and beyond the length of the palette."""
    return PALETTE[position % len(PALETTE)], DASHES[(position + position // len(PALETTE)) % len(DASHES)]


def legend_height(names: int) -> float:
    """Inches that `legend_above` needs for so many names."""
    return 0.2 * -(-names // _LEGEND_COLUMNS)


def legend_above(figure: Figure) -> None:
    """One legend for all panels, above them: each name once."""
    lines = {line.get_label(): line for axis in figure.axes for line in axis.lines}
    named = {str(name): line for name, line in lines.items() if not str(name).startswith("_")}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=_LEGEND_COLUMNS, handlelength=2.4)


def paper_style() -> AbstractContextManager[None]:
    """The style of the report's figures, independent of the user's own settings."""
    return plt.style.context(["default", STYLE])


def empty_figure(text: str = NOT_RUN) -> Figure:
    """A figure that says "not run", or another text, of which it shows the beginning."""
    lines = textwrap.wrap(text, _LINE, max_lines=_LINES)
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 0.4 + 0.2 * len(lines)))
    axis.set_axis_off()
    axis.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", parse_math=False)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.pdf and `stem`.png without dates and program names, and close the figure."""
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    _freeze_layout(figure)
    for kind, metadata in _NO_METADATA.items():
        content = io.BytesIO()
        figure.savefig(content, format=kind, metadata=metadata, dpi=_DPI)
        with atomic_write(stem.with_suffix(f".{kind}"), "wb") as file:
            file.write(content.getvalue())
    plt.close(figure)


def _freeze_layout(figure: Figure) -> None:
    """Fix the layout, rounded: the last digits of the solver differ between processes and shift antialiased lines."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        left, bottom, width, height = (round(number, 5) for number in axis.get_position(original=True).bounds)
        axis.set_position((left, bottom, width, height))
