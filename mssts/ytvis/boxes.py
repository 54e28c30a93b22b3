"""Boxes of predictions: a file beside a submission, and never part of it [ours].

A JSON list with an entry for each prediction, in the order of the submission: a box [x, y, width, height] for each
frame of its video, in pixels of the video from its upper left corner. A box may extend beyond the frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mssts.core.errors import InputError
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.json_input import garbage_collection_disabled, is_finite_number, parse_json, read_bytes, shown
from mssts.ytvis.problems import Problems
from mssts.ytvis.submission import Submission

WHAT = "list of the boxes of predictions, an entry for each prediction"


def boxes_beside(submission: Path) -> Path:
    """The boxes of a submission's predictions, such as predictions.boxes.json beside predictions.json and its zip."""
    return submission.parent / f"{submission.stem}.boxes.json"


def read_boxes(path: Path, submission: Submission, annotations: Annotations) -> np.ndarray:
    """Read and check the boxes of the predictions of a submission.

    Args:
        path: The file.
        submission: The submission beside it.
        annotations: What the predictions are for.

    Returns:
        (P, T, 4) float64 x, y, width, height in pixels of each of `submission.predictions`, T for the longest video;
        zeros after the end of a shorter one.

    Raises:
        InputError: With one line for each problem.
    """
    with garbage_collection_disabled():
        content = parse_json(read_bytes(path, WHAT), path, WHAT)
    if not isinstance(content, list):
        raise InputError(f"{path}: found {type(content).__name__} at the top, expected the {WHAT}. Predict again.")
    if len(content) != submission.entries:
        raise InputError(
            f"{path}: found {len(content)} entries, expected {submission.entries}, as many as the submission beside it "
            "has predictions. Predict again."
        )
    problems = Problems(str(path))
    lengths = [annotations.videos[prediction.video_id].length for prediction in submission.predictions]
    for prediction, frames in zip(submission.predictions, lengths, strict=True):
        if problem := _problem(content[prediction.index], frames):
            problems.add(f"[{prediction.index}]", f"{problem}. Predict again.")
    problems.raise_if_any()
    longest = max(video.length for video in annotations.videos.values())
    in_video_PT = np.arange(longest) < np.reshape(lengths, (-1, 1))
    boxes_PT4 = np.zeros((*in_video_PT.shape, 4))
    boxes = [box for prediction in submission.predictions for box in content[prediction.index]]
    boxes_PT4[in_video_PT] = np.reshape(boxes, (-1, 4))
    return boxes_PT4


def _problem(boxes: Any, frames: int) -> str | None:
    """What is wrong with the boxes of a prediction in a video of so many frames; None if nothing is."""
    if not isinstance(boxes, list) or len(boxes) != frames:
        found = f"{len(boxes)} boxes" if isinstance(boxes, list) else shown(boxes)
        return f"found {found}, expected a list of {frames}, one for each frame of the video"
    for frame, box in enumerate(boxes):
        is_box = isinstance(box, list) and len(box) == 4 and all(map(is_finite_number, box)) and min(box[2:]) >= 0
        if not is_box:
            expected = "four finite numbers x, y, width, height in pixels, the last two at least 0"
            return f"frame {frame}: found {shown(box)}, expected {expected}"
    return None
