"""What the two attention figures have in common: the frames of a case, outlined, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from mssts.core.files import read_record
from mssts.report.style import TEXT_COLOUR, TEXT_WIDTH
from mssts.study.attention_cases import Case
from mssts.study.attention_comparison import AttentionComparison, Picture
from mssts.study.runs import StudyRuns

COLOURS = "inferno"
SMALL = 6.5  # points
GAP, ABOVE = 0.03, 0.03  # inches between two frames, and between a frame and the text above it
MAX_HEIGHT = 8.7  # inches: with a caption, a page
MAX_CELL_ASPECT = 0.8  # height / width of a drawn frame: portrait videos are drawn smaller
_LEAST = 0.3  # of the height that fits the width, however many cases there are
_OUTLINE, _PIXEL, _DEGRADED = "#56e1ff", "#ff4fa3", "#b00020"


def written_caption(runs: StudyRuns, file: str) -> str:
    """The caption in a record of cases in the report's folder, if there is one."""
    path = runs.folder / file
    return read_record(path)["caption"] if path.is_file() else "Attention maps."


def name_of(challenge: str) -> str:
    """A challenge as figures and captions name it."""
    return challenge.replace("_", " ")


def cell_heights(
    pictures: Sequence[Sequence[Picture]], rows: Sequence[int], width: float, others: float
) -> list[float]:
    """Heights in inches of the drawn frames of each band of cases: by its tallest frame, scaled down to fit a page.

    Args:
        pictures: The cases of each band.
        rows: Frames above each other in each band.
        width: Of a drawn frame in inches.
        others: Height in inches of everything but frames.
    """
    tallest = [max(one.masks.shape[1] / one.masks.shape[2] for one in band) for band in pictures]
    heights = [width * min(aspect, MAX_CELL_ASPECT) for aspect in tallest]
    fitting = (MAX_HEIGHT - others) / sum(height * count for height, count in zip(heights, rows, strict=True))
    return [height * min(max(fitting, _LEAST), 1) for height in heights]


class Cell(NamedTuple):
    """A box that a frame is drawn in: upper left corner, width and height in inches."""

    left: float
    top: float
    width: float
    height: float


class Canvas:
    """A figure of the report's width on which frames and texts are placed, in inches from its upper left corner.

    It has a single axes: one for each frame would take seconds.

    Args:
        height: In inches.
    """

    def __init__(self, height: float) -> None:
        self.figure = plt.figure(figsize=(TEXT_WIDTH, height))
        self._axis = self.figure.add_axes((0, 0, 1, 1), xlim=(0, TEXT_WIDTH), ylim=(height, 0), autoscale_on=False)
        self._axis.set_axis_off()

    def write(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write a text whose baseline begins at a place."""
        self._axis.text(x, y, text, **({"fontsize": SMALL} | style))

    def heading(self, x: float, y: float, case: Case) -> None:
        """Write the challenge of a case."""
        self.write(x, y, name_of(case.challenge).capitalize(), fontsize=8.5, fontweight="bold")

    def above(self, cell: Cell, text: str, **style: Any) -> None:
        """Write a text above the middle of a cell."""
        self.write(cell.left + cell.width / 2, cell.top - ABOVE, text, ha="center", **style)

    def frame_number(self, cell: Cell, picture: Picture, column: int) -> None:
        """Write the number of a frame above its cell; a degraded one says so."""
        degraded = picture.degraded[column]
        text = f"frame {picture.frames[column] + 1}{', degraded' if degraded else ''}"
        self.above(cell, text, color=_DEGRADED if degraded else TEXT_COLOUR)

    def draw(
        self,
        cell: Cell,
        picture: Picture,
        column: int,
        image: np.ndarray | None = None,
        covered: tuple[float, float] | None = None,
        **options: Any,
    ) -> None:
        """Draw a frame of a case, or a map of it, in the middle of a cell, at its top.

        Args:
            cell: Where to draw.
            picture: The case.
            column: Position among the frames shown.
            image: What to draw; the frame itself by default.
            covered: (height, width) that the image covers in pixels of the video, where it is not just the frame.
            options: Of `Axes.imshow`.
        """
        height, width = picture.masks.shape[1:]
        left, top, scale = _fitted(cell, picture)
        rows, columns = covered or (height, width)
        extent = (left, left + columns * scale, top + rows * scale, top)
        shown = picture.images[column] if image is None else image
        options = {"aspect": "auto", "interpolation": "nearest"} | options
        drawn = self._axis.imshow(shown, extent=extent, **options)
        drawn.set_clip_path(Rectangle((left, top), width * scale, height * scale, transform=self._axis.transData))

    def picture(self, left: float, top: float, width: float, height: float, image: np.ndarray) -> None:
        """Draw an image of values in 0..1 into a box, at its shape and centred."""
        rows, columns = image.shape[:2]
        scale = min(width / columns, height / rows)
        left += (width - columns * scale) / 2
        extent = (left, left + columns * scale, top + rows * scale, top)
        self._axis.imshow(image, extent=extent, aspect="auto", interpolation="nearest")

    def outline(self, cell: Cell, picture: Picture, column: int) -> None:
        """Draw the outline of the ground truth on a frame or map."""
        height, width = picture.masks.shape[1:]
        left, top, scale = _fitted(cell, picture)
        x_W, y_H = left + (np.arange(width) + 0.5) * scale, top + (np.arange(height) + 0.5) * scale
        self._axis.contour(x_W, y_H, picture.masks[column], levels=[0.5], colors=_OUTLINE, linewidths=0.8)

    def mark(self, cell: Cell, picture: Picture, x: int, y: int) -> None:
        """Mark a pixel of a frame."""
        left, top, scale = _fitted(cell, picture)
        place = left + (x + 0.5) * scale, top + (y + 0.5) * scale
        self._axis.plot(*place, "+", color=_PIXEL, markersize=5, markeredgewidth=1)

    def colour_bar(self, cell: Cell) -> None:
        """Draw the colours from the smallest to the largest value."""
        extent = (cell.left, cell.left + cell.width, cell.top + cell.height, cell.top)
        self._axis.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, extent=extent, aspect="auto")


def _fitted(cell: Cell, picture: Picture) -> tuple[float, float, float]:
    """Left and top of the drawn frame in inches, and inches per pixel."""
    height, width = picture.masks.shape[1:]
    scale = min(cell.width / width, cell.height / height)
    return cell.left + (cell.width - width * scale) / 2, cell.top, scale


def described(cases: Sequence[Case]) -> str:
    """Challenge, score and video of each case, or "none"."""
    scores = {case.challenge: "" if case.score is None else f" {case.score:.2f}" for case in cases}
    listed = [f"{name_of(case.challenge)}{scores[case.challenge]} (video {case.instance.video_id})" for case in cases]
    return "; ".join(listed) or "none"


def absent(comparison: AttentionComparison, pictures: Sequence[Picture]) -> str:
    """Challenges that no instance to choose from shows, with commas between them."""
    shown = {picture.case.challenge for picture in pictures}
    return ", ".join(name_of(name) for name in comparison.challenges if name not in shown)


def record_of(picture: Picture) -> dict[str, Any]:
    """The case of a picture, for the file of the cases."""
    case = picture.case
    return {
        "challenge": case.challenge,
        "score": None if case.score is None else round(case.score, 4),
        "video_id": case.instance.video_id,
        "annotation_id": case.instance.id,
        "frames": picture.frames,
        "degraded": picture.degraded.tolist(),
    }
