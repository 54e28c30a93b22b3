"""Pages on which ground truth and predictions play over the frames of videos that a rule chooses."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mssts.core.files import write_bytes
from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.frames import evenly_spaced, frame_pixels
from mssts.inference.overlay import Layer
from mssts.report.figures.strips import MIN_SCORE, read_shown
from mssts.report.html.run_pages import RunPages
from mssts.study import show
from mssts.study.attention_runs import select_results
from mssts.study.runs import Result, StudyRuns
from mssts.study.strips import shares_of, shares_of_both
from mssts.ytvis.tracks import Video

MOST_PAGES = 40  # of videos; of more, a rule chooses
EXTREMES = 12  # videos of the largest gain, and as many of the largest loss
MOST_FRAMES = 60  # of a video, evenly spaced
MOST_SIDE = 320  # pixels of a frame; larger ones are made smaller
QUALITY = 88  # of the JPEG files
MOST_OBJECTS = 127  # of a picture; a palette has 256 colours
ALPHA = 115  # of masks within their outlines, of 255
RULE_OF_ALL = "Every video has a page."


class _Row(NamedTuple):
    """A video of the list. difference: share that the variant finds minus that of the baseline."""

    video: Video
    shares: list[float | None]
    difference: float | None
    reason: str


class VideoPages:
    """The list of videos of the first benchmark with predictions, and their pages.

    Attributes:
        rows: One for each video, the largest difference first; empty if nothing has predicted anything.
    """

    def __init__(self, runs: StudyRuns, pages: RunPages) -> None:
        self._runs, self._pages = runs, pages
        self._results, self._pair = _shown_results(runs)
        self.rows: list[_Row] = []
        if self._results:
            first = self._results[0]
            data_dir = runs.study.data_dir(first.run.dataset)
            self._split = split_annotations(first.run.dataset, data_dir, first.split)
            self.rows = self._ranked()

    def _ranked(self) -> list[_Row]:
        found = [shares_of(result.read_matches()) for result in self._results]
        baseline, variant = (found[self._results.index(result)] for result in self._pair)
        reasons = choose(baseline, variant)
        rows = [
            _Row(
                video,
                [shares[video.id] for shares in found],
                _difference(baseline[video.id], variant[video.id]),
                reasons.get(video.id, ""),
            )
            for video in self._split.videos
        ]
        return sorted(rows, key=lambda row: (-abs(row.difference or 0.0), row.video.id))

    def _listing(self) -> dict[str, Any]:
        """Content of the page that lists the videos."""
        return self._common() | {
            "rule": self._rule(),
            "variants": [self._title(result) for result in self._results],
            "hrefs": [self._pages.of_run(result.run) for result in self._results],
            "videos": [
                {
                    "id": row.video.id,
                    "name": _name(row.video),
                    "href": _address(row.video) if row.reason else "",
                    "frames": row.video.length,
                    "objects": sum(not one.crowd for one in self._split.annotations.tracks_of[row.video.id]),
                    "shares": row.shares,
                    "difference": row.difference,
                    "reason": row.reason,
                }
                for row in self.rows
            ],
        }

    def write(self, folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
        """Write frames and masks of the chosen videos.

        Returns:
            Address, template and content of each page, the list of videos first; none without predictions.
        """
        if not self.rows:
            return []
        chosen = [row for row in self.rows if row.reason]
        for row in chosen:
            (folder / _files(row.video)).mkdir(parents=True)
            frames = [_frame(self._split, row.video, frame) for frame in _numbers(row.video)]
            write_bytes(folder / _files(row.video) / "frames.jpg", _jpeg(_grid(frames)))
        panels = self._panels(folder, chosen)
        addresses = ["", *(_address(row.video) for row in chosen), ""]
        pages = [
            (address, "video.html", self._page(row, own) | {"previous": previous, "next": following, "rank": rank})
            for rank, (row, own, previous, address, following) in enumerate(
                zip(chosen, panels, addresses, addresses[1:], addresses[2:], strict=False), start=1
            )
        ]
        return [("videos.html", "videos.html", self._listing()), *pages]

    def _panels(self, folder: Path, chosen: list[_Row]) -> list[list[dict[str, Any]]]:
        """Write the masks of the ground truth and of every run; the pictures on each page."""
        panels: list[list[dict[str, Any]]] = [[] for _ in chosen]
        for position, result in enumerate(self._results):  # one file of predictions in memory at a time
            predicted = read_shown(result, self._split)
            for row, own in zip(chosen, panels, strict=True):
                (_, truth), (_, layers) = show.labelled_layers(self._split, row.video, [predicted], MIN_SCORE)
                named: dict[str, Any] = {"title": "Ground truth", "href": "", "share": None}
                if position == 0:
                    own.append(named | _masks(folder, row.video, "truth", truth))
                named = {
                    "title": self._title(result),
                    "href": self._pages.of_run(result.run),
                    "share": row.shares[position],
                }
                own.append(named | _masks(folder, row.video, f"run-{result.run.variant}", layers))
        return panels

    def _page(self, row: _Row, panels: list[dict[str, Any]]) -> dict[str, Any]:
        """Content of the page of a video."""
        (width, height), numbers = _size(row.video), _numbers(row.video)
        return self._common() | {
            "id": row.video.id,
            "name": _name(row.video),
            "difference": row.difference,
            "files": _files(row.video).removeprefix("videos/"),
            "width": width,
            "height": height,
            "columns": _columns(len(numbers)),
            "numbers": [frame + 1 for frame in numbers],
            "length": row.video.length,
            "panels": panels,
            "count": sum(bool(one.reason) for one in self.rows),
        }

    def _common(self) -> dict[str, Any]:
        """What all pages say: of what the videos are, and which two models are compared, if two are."""
        first, (one, other) = self._results[0], self._pair
        return {
            "compared": [] if one is other else [self._title(one), self._title(other)],
            "dataset": first.run.dataset,
            "split": first.split,
            "backbone": first.run.backbone,
            "seed": first.run.seed,
            "min_score": MIN_SCORE,
        }

    def _rule(self) -> str:
        if len(self.rows) <= MOST_PAGES:
            return RULE_OF_ALL
        pages, sample = sum(bool(row.reason) for row in self.rows), MOST_PAGES - 2 * EXTREMES + 1
        return (
            f"{pages} of {len(self.rows)} videos have a page, chosen by rule: up to {EXTREMES} of the largest gain, "
            f"up to {EXTREMES} of the largest loss, and of the others {sample} evenly spaced in the order of the mean "
            "of both shares, from best to worst."
        )

    def _title(self, result: Result) -> str:
        return self._runs.study.titles[result.run.variant]


def choose(baseline: Mapping[int, float | None], variant: Mapping[int, float | None]) -> dict[int, str]:
    """Choose the videos that have a page: all of a small split, else those of most change and a fair sample.

    Args:
        baseline: {video id: share found}, None for a video without instances; of more than `MOST_PAGES` videos such a
            one is never chosen.
        variant: Likewise.

    Returns:
        {video id: why it has a page}.
    """
    if len(baseline) <= MOST_PAGES:
        return dict.fromkeys(baseline, "all")
    found = shares_of_both(baseline, variant)
    by_gain = sorted(found, key=lambda key: found[key][0] - found[key][1])
    gains = [key for key in by_gain[:EXTREMES] if found[key][1] > found[key][0]]
    losses = [key for key in by_gain[::-1][:EXTREMES] if found[key][1] < found[key][0]]
    chosen = dict.fromkeys(gains, "gain") | dict.fromkeys(losses, "loss")
    others = sorted(found.keys() - chosen.keys(), key=lambda key: (-sum(found[key]), key))
    places = evenly_spaced(len(others), MOST_PAGES - 2 * EXTREMES + 1)
    names = {0: "best", (len(places) - 1) // 2: "median", len(places) - 1: "worst"}
    return chosen | {others[place]: names.get(number, "sample") for number, place in enumerate(places)}


def _shown_results(runs: StudyRuns) -> tuple[list[Result], tuple[Result, ...]]:
    """What the pages show, of one dataset, split, backbone and seed, and which two of it are compared."""
    pair = select_results(runs)
    present = [result for result in runs.results if result.metrics and _predictions(result).is_file()]
    if not present:
        return [], ()
    pair = pair or (present[0], present[0])
    first = pair[0]
    shown = [
        result
        for result in present
        if (result.run.dataset, result.split, result.run.backbone, result.run.seed)
        == (first.run.dataset, first.split, first.run.backbone, first.run.seed)
        and (result.run.variant in runs.study.variants or result is first)
    ]
    return shown, pair


def _predictions(result: Result) -> Path:
    return result.directory / "predictions.json"


def _difference(baseline: float | None, variant: float | None) -> float | None:
    return None if baseline is None or variant is None else variant - baseline


def _address(video: Video) -> str:
    return f"videos/{video.id}.html"


def _files(video: Video) -> str:
    """Folder of the frames and masks of a video."""
    return f"videos/{video.id}"


def _name(video: Video) -> str:
    """Folder of the first frame, or its file."""
    path = Path(video.file_names[0])
    return path.parent.name or path.name


def _numbers(video: Video) -> list[int]:
    """Positions of the frames that are shown."""
    return evenly_spaced(video.length, MOST_FRAMES)


def _size(video: Video) -> tuple[int, int]:
    """Width and height of a frame as it is shown, in pixels."""
    factor = min(1.0, MOST_SIDE / max(video.width, video.height))
    return max(1, round(video.width * factor)), max(1, round(video.height * factor))


def _frame(split: VideoSplit, video: Video, number: int) -> np.ndarray:
    image = Image.fromarray(frame_pixels(split, video, number))
    return np.asarray(image.resize(_size(video), Image.Resampling.BOX))


def _masks(folder: Path, video: Video, name: str, layers: Sequence[Layer]) -> dict[str, Any]:
    """Write the masks of a ground truth or a run as one PNG with a palette.

    Value 0 is transparent, 1 to N are the objects, half transparent, and N + 1 to 2 N their outlines.
    """
    layers, sheets = layers[:MOST_OBJECTS], []
    for number in _numbers(video):
        labels_HW = np.zeros((video.height, video.width), np.uint8)
        for value, layer in reversed(list(enumerate(layers, 1))):  # the first is on top
            labels_HW[layer.track.mask(number).astype(bool)] = value
        labels_HW = np.asarray(Image.fromarray(labels_HW).resize(_size(video), Image.Resampling.NEAREST))
        sheets.append(labels_HW + np.uint8(len(layers)) * outlines(labels_HW))
    image, colours = Image.fromarray(_grid(sheets)), [layer.colour for layer in layers]
    image.putpalette([value for colour in ((0, 0, 0), *colours, *colours) for value in colour])
    alpha, content = [0, *[ALPHA] * len(layers), *[255] * len(layers)], io.BytesIO()
    image.save(content, "PNG", transparency=bytes(alpha), optimize=True)
    write_bytes(folder / _files(video) / f"{name}.png", content.getvalue())
    objects = [{"label": layer.label, "colour": "#{:02x}{:02x}{:02x}".format(*layer.colour)} for layer in layers]
    return {"sheet": f"{name}.png", "objects": objects}


def outlines(labels_HW: np.ndarray) -> np.ndarray:
    """The pixels of objects that have a neighbour of another value, (H, W) bool; the border of the frame is none."""
    padded = np.pad(labels_HW, 1, mode="edge")
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (labels_HW > 0) & np.any([other != labels_HW for other in beside], axis=0)


def _columns(count: int) -> int:
    """Columns of the grid in which the frames of a video lie in a file."""
    return math.isqrt(count - 1) + 1


def _grid(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size in the rows of one picture."""
    columns, (height, width) = _columns(len(cells)), cells[0].shape[:2]
    grid = np.zeros((-(-len(cells) // columns) * height, columns * width, *cells[0].shape[2:]), np.uint8)
    for place, cell in enumerate(cells):
        top, left = place // columns * height, place % columns * width
        grid[top : top + height, left : left + width] = cell
    return grid


def _jpeg(pixels_HW3: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels_HW3).save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
