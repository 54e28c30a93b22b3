"""Prediction of a video that belongs to no dataset, with pictures of what was found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mssts.core.files import atomic_write, require_empty
from mssts.data.frames import evenly_spaced
from mssts.data.video_files import VideoSource, write_video
from mssts.inference.overlay import MOST_OBJECTS, SHEET_FRAMES, draw, layers, sheet, write_labels, write_png
from mssts.inference.predictor import PredictedTrack, Predictor

RESULTS, VIDEO, SHEET, MASKS = "results.json", "overlay.mp4", "sheet.png", "masks"


def predict_file(
    predictor: Predictor, sources: Sequence[Path], output: Path, every: int = 1, min_score: float = 0.3
) -> list[PredictedTrack]:
    """Predict a video and draw what was found. It is read twice, frame by frame: to predict, and to draw.

    Written to `output` are results.json (every track, as in a submission, with name of the category and boxes),
    overlay.mp4, sheet.png, and masks/00000.png for each frame (see `write_labels`).

    Args:
        predictor: The model.
        sources: A video file, a folder of images, a pattern, or images; see `VideoSource`.
        output: Folder to write to.
        every: Keep every n-th frame.
        min_score: Tracks of a lower score are in results.json, and are not drawn; nor are those after the best
            `MOST_OBJECTS`.

    Returns:
        The tracks that were drawn.

    Raises:
        InputError: If the folder holds files already, or the video is unreadable, or a window does not fit into memory.
    """
    require_empty(output)
    source = VideoSource(sources, every)
    tracks = predictor.predict(source)
    entries = [
        {"video_id": 1, "category_id": track.category_id, "category": track.category, "score": track.score}
        | {"segmentations": track.segmentations, "boxes": track.boxes.tolist()}
        for track in tracks
    ]
    with atomic_write(output / RESULTS) as file:
        json.dump(entries, file, separators=(",", ":"))
    drawn = [track for track in tracks if track.score >= min_score][:MOST_OBJECTS]
    shown = layers(drawn, [f"{track.category} {track.score:.2f}" for track in drawn])
    on_sheet = []
    chosen = evenly_spaced(len(tracks[0].segmentations), SHEET_FRAMES)

    def pictures() -> Iterator[np.ndarray]:
        for number, frame in enumerate(source):
            picture = draw(frame, shown, number)
            write_labels(output / MASKS / f"{number:05d}.png", shown, number, frame.shape[:2])
            if number in chosen:
                on_sheet.append(picture)
            yield picture

    write_video(output / VIDEO, pictures(), source.rate)
    write_png(output / SHEET, sheet(on_sheet))
    return drawn
