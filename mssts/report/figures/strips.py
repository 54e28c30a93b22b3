"""Qualitative results: ground truth, baseline and a variant, for videos chosen by rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mssts.core.csv_files import read_csv
from mssts.core.files import verify_digest
from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.frames import evenly_spaced, frame_pixels
from mssts.inference.overlay import Layer
from mssts.report.figures.attention_drawing import GAP, MAX_CELL_ASPECT, Canvas
from mssts.report.style import TEXT_WIDTH, empty_figure
from mssts.report.tables.strips import COLUMNS
from mssts.study import show
from mssts.study.attention_runs import select_results
from mssts.study.runs import Result, StudyRuns
from mssts.study.strips import shares_of
from mssts.ytvis.submission import read_submission

MIN_SCORE = 0.3
FRAMES = 4
OPACITY = 0.55
_TITLES = {
    "gain": "Largest gain of the variant",
    "loss": "Largest loss of the variant",
    "best": "Best",
    "median": "Median",
    "worst": "Worst",
}
_MODELS = (("B", "baseline"), ("V", "variant"))
_LABEL, _GUTTER, _HEADING = 0.12, 0.12, 0.2  # inches: beside a row, between the halves, above a video
_HALF = (TEXT_WIDTH - _GUTTER) / 2
_WIDTH = (_HALF - _LABEL) / FRAMES - GAP


def caption(runs: StudyRuns) -> str:
    """Caption of the figure, with the rule; empty if there is nothing to compare."""
    chosen = _chosen(runs)
    if chosen.empty:
        return ""
    first = chosen.iloc[0]
    return (
        f"Ground truth (T), baseline (B) and {runs.study.titles[first['variant']]} (V), {first['dataset']}, "
        f"{first['split']} split, {first['backbone']}, seed {first['seed']}. A rule chooses the videos from the share "
        "of instances that a model finds, averaged over the IoU thresholds (AR10 of the video): where the variant "
        "finds most more and most less than the baseline; then, of the others, the video of the largest, the median "
        "and the smallest mean of both shares. Evenly spaced frames; predictions of a score of at least "
        f"{MIN_SCORE}, in the colour of the object that they overlap most, with category and score."
    )


def _chosen(runs: StudyRuns) -> pd.DataFrame:
    return read_csv(runs.folder / "strips.csv", COLUMNS, f"Run mssts tables {runs.study.options}.")


def figure(runs: StudyRuns) -> Figure:
    """Videos in two columns, each with three rows of frames."""
    chosen, pair = _chosen(runs), select_results(runs)
    if chosen.empty or pair is None:
        return empty_figure()
    run = pair[0].run
    split = split_annotations(run.dataset, runs.study.data_dir(run.dataset), pair[0].split)
    results = [read_shown(result, split) for result in pair]
    rows = chosen.to_dict("records")
    videos = [split.annotations.videos[int(row["video_id"])] for row in rows]
    bands = [range(start, min(start + 2, len(rows))) for start in range(0, len(rows), 2)]
    heights = [_WIDTH * min(max(videos[n].height / videos[n].width for n in band), MAX_CELL_ASPECT) for band in bands]
    canvas, top = Canvas(sum(_HEADING + 3 * (height + GAP) for height in heights)), 0.0
    for band, height in zip(bands, heights, strict=True):
        for left, n in zip((0.0, _HALF + _GUTTER), band, strict=False):
            row, video = rows[n], videos[n]
            shares = (f"{name} {100 * float(row[f'found_by_{key}']):.0f} %" for name, key in _MODELS)
            heading = f"{_TITLES[row['rule']]}: video {video.id}; found: {', '.join(shares)}"
            canvas.write(left, top + _HEADING - 0.05, heading, fontsize=7.5)
            numbers = evenly_spaced(video.length, FRAMES)
            frames = [frame_pixels(split, video, number) for number in numbers]
            for line, (_, layers) in enumerate(show.labelled_layers(split, video, results, MIN_SCORE)):
                y = top + _HEADING + line * (height + GAP)
                canvas.write(left + _LABEL / 2, y + height / 2, "TBV"[line], ha="center", va="center")
                for column, (number, frame) in enumerate(zip(numbers, frames, strict=True)):
                    x = left + _LABEL + column * (_WIDTH + GAP)
                    canvas.picture(x, y, _WIDTH, height, _painted(frame, layers, number))
                    if column == 0:
                        _label(canvas, x, y, height, layers)
        top += _HEADING + 3 * (height + GAP)
    return canvas.figure


def read_shown(result: Result, split: VideoSplit) -> show.Result:
    """The predictions of a run. Raises InputError if they are not those that were evaluated."""
    path = result.directory / "predictions.json"
    verify_digest(path, result.recorded("predictions_sha256"), "Evaluate the run again.")
    return show.Result("", read_submission(path, split.annotations).predictions, shares_of(result.read_matches()))


def _painted(frame_HW3: np.ndarray, layers: list[Layer], number: int) -> np.ndarray:
    """A frame with its objects, the first on top."""
    painted_HW3, free_HW = frame_HW3 / 255, np.ones(frame_HW3.shape[:2], dtype=bool)
    for layer in layers:
        mask_HW = layer.track.mask(number).astype(bool) & free_HW
        painted_HW3[mask_HW] = (1 - OPACITY) * painted_HW3[mask_HW] + OPACITY * np.array(layer.colour) / 255
        free_HW &= ~mask_HW
    return painted_HW3


def _label(canvas: Canvas, x: float, y: float, height: float, layers: list[Layer]) -> None:
    """Names and scores of the first objects, below each other at the left of the first frame."""
    box = {"facecolor": "white", "alpha": 0.65, "linewidth": 0, "pad": 0.3}
    style: dict[str, Any] = {"fontsize": 6, "va": "top", "bbox": box}
    for position, layer in enumerate(layers[: max(1, int(height / 0.1))]):
        canvas.write(x + 0.01, y + 0.01 + 0.095 * position, layer.label, **style)
