"""Pictures of a split: ground truth, and beside it what runs predict, for videos that are named or chosen by rule."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from mssts.core.errors import InputError, printable
from mssts.core.files import require_empty
from mssts.data.datasets import VideoSplit
from mssts.data.frames import evenly_spaced, frame_pixels
from mssts.data.video_files import write_video
from mssts.evaluation.matching import match
from mssts.evaluation.video_iou import video_iou
from mssts.inference.overlay import COLOURS, GAP, Layer, draw, write_png
from mssts.study.strips import shares_of
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.masks import TrackMasks
from mssts.ytvis.submission import Prediction, read_submission
from mssts.ytvis.tracks import Video

Rule = Literal["worst", "best", "differ"]
MIN_IOU = 0.1  # from which a prediction has the colour of the object that it overlaps most
STRIP_FRAMES = 6
STRIP_WIDTH = 320  # pixels of a frame
HEADING = 14  # pixels
SHOWN_BY_DEFAULT = 5  # videos, the first of the file
RATE = Fraction(5)  # frames per second


class Result(NamedTuple):
    """Predictions of a run.

    Attributes:
        label: Its name in the pictures.
        predictions: All predictions of the split, in the order of the file.
        found: {video id: share of its instances that are found, averaged over the IoU thresholds}; None without any.
    """

    label: str
    predictions: Sequence[Prediction]
    found: dict[int, float | None]


class _Object:
    """A track as `draw` wants it."""

    def __init__(self, masks: TrackMasks) -> None:
        self._masks = masks

    def mask(self, frame: int) -> np.ndarray:
        return self._masks.decode([frame])[0]


def read_result(path: Path, truth: Annotations) -> Result:
    """Read a submission and measure every video. Raises InputError with one line for each problem."""
    found = read_submission(path, truth)
    return Result(str(path), found.predictions, found_shares(truth, found.predictions))


def found_shares(truth: Annotations, predictions: Sequence[Prediction]) -> dict[int, float | None]:
    """AR10 of each video alone: the share of its instances that are found, averaged over the ten IoU thresholds."""
    return shares_of(match(truth, predictions))


def choose(results: Sequence[Result], rule: Rule, count: int) -> list[int]:
    """Ids of videos, the most extreme first.

    Args:
        results: What to compare.
        rule: "worst" and "best" order videos by the share that the first result finds, "differ" by how much that of the
            first two results differs.
        count: How many.

    Raises:
        InputError: If the rule needs more results.
    """
    needed = 2 if rule == "differ" else 1
    if len(results) < needed:
        raise InputError(f"--{rule}: found {len(results)} --predictions; expected {needed} or more")
    shares = results[0].found
    known = [key for key, share in shares.items() if share is not None]
    if rule == "differ":
        others = results[1].found
        return sorted(known, key=lambda key: -abs((shares[key] or 0.0) - (others[key] or 0.0)))[:count]
    return sorted(known, key=lambda key: (shares[key] or 0.0) * (1 if rule == "worst" else -1))[:count]


def show(
    split: VideoSplit, results: Sequence[Result], videos: Sequence[int], output: Path, min_score: float
) -> list[str]:
    """Write a strip of frames (PNG) and a video (mp4) for each video: ground truth above, each result below it.

    A prediction has the colour of the object that it overlaps most.

    Args:
        split: Videos with ground truth.
        results: What to show beside it.
        videos: Ids of the videos.
        output: New folder to write to.
        min_score: Predictions of a lower score are not drawn.

    Returns:
        A line on each video.

    Raises:
        InputError: For an unknown video, an unreadable frame, or if the folder holds files already.
    """
    known = split.annotations.videos
    if unknown := [key for key in videos if key not in known]:
        raise InputError(f"--video: found {unknown[0]}; expected an id of a video in {split.annotations.path}")
    require_empty(output)
    lines = []
    for number, key in enumerate(videos, 1):
        rows = labelled_layers(split, known[key], results, min_score)
        frames = [frame_pixels(split, known[key], t) for t in range(known[key].length)]
        pictures = [[draw(frame, layers, t) for t, frame in enumerate(frames)] for _, layers in rows]
        headings = [heading for heading, _ in rows]
        stem = f"{number:02d}_video{key}"
        write_png(output / f"{stem}.png", _strip(pictures, headings))
        write_video(output / f"{stem}.mp4", (_beside(column) for column in zip(*pictures, strict=True)), RATE)
        lines.append(f"{'; '.join(headings)} -> {output / stem}.png, .mp4")
    return lines


def labelled_layers(
    split: VideoSplit, video: Video, results: Sequence[Result], min_score: float
) -> list[tuple[str, list[Layer]]]:
    """Heading and objects of the ground truth and of each result."""
    names = split.annotations.categories
    tracks = split.annotations.tracks_of[video.id]
    truth = [
        Layer(_Object(track.masks), names[track.category_id], COLOURS[n % len(COLOURS)])
        for n, track in enumerate(tracks)
    ]
    rows = [(f"ground truth, video {video.id}, from {video.file_names[0]}", truth)]
    for result in results:
        shown = [p for p in result.predictions if p.video_id == video.id and p.score >= min_score]
        colours = _colours(shown, [track.masks for track in tracks])
        layers = [
            Layer(_Object(p.masks), f"{names[p.category_id]} {p.score:.2f}", colour)
            for p, colour in zip(shown, colours, strict=True)
        ]
        share = result.found[video.id]
        rows.append((f"{result.label}: found {'-' if share is None else f'{share:.2f}'}", layers))
    return rows


def _colours(predictions: Sequence[Prediction], truth: Sequence[TrackMasks]) -> list[tuple[int, int, int]]:
    iou_PG, _ = video_iou([p.masks for p in predictions], truth)
    free = len(truth)
    colours = []
    for iou_G in iou_PG:
        if len(truth) and iou_G.max() >= MIN_IOU:
            position = int(iou_G.argmax())
        else:
            position, free = free, free + 1
        colours.append(COLOURS[position % len(COLOURS)])
    return colours


def _strip(pictures: Sequence[Sequence[np.ndarray]], headings: Sequence[str]) -> np.ndarray:
    """Evenly spaced frames beside each other, a row with a heading for each result."""
    chosen = evenly_spaced(len(pictures[0]), STRIP_FRAMES)
    rows, columns = pictures[0][0].shape[:2]
    height = max(1, round(STRIP_WIDTH * rows / columns))
    size = len(chosen) * (STRIP_WIDTH + GAP) - GAP, len(pictures) * (height + HEADING + GAP) - GAP
    page = Image.new("RGB", size, "white")
    for row, (frames, heading) in enumerate(zip(pictures, headings, strict=True)):
        top = row * (height + HEADING + GAP)
        ImageDraw.Draw(page).text((0, top), printable(heading).encode("ascii", "replace").decode(), fill="black")
        for column, number in enumerate(chosen):
            small = Image.fromarray(frames[number]).resize((STRIP_WIDTH, height), Image.Resampling.BILINEAR)
            page.paste(small, (column * (STRIP_WIDTH + GAP), top + HEADING))
    return np.asarray(page)


def _beside(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Frames of one time, from left to right."""
    gap = np.full((frames[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for frame in frames for part in (gap, frame)][1:], axis=1)
