"""The formats by name, and the conversion between any of them and YouTube-VIS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mssts.core.errors import InputError, shown, suggestion
from mssts.core.files import check_outputs, write_json
from mssts.ytvis import run_length
from mssts.ytvis.annotations import VIDEOS, Annotations, parse_annotations
from mssts.ytvis.converters.coco import coco_video, read_coco_images, read_coco_video
from mssts.ytvis.converters.cvat import read_cvat
from mssts.ytvis.converters.document import FRAME_NAME, Converted, ConvertedVideo, as_text, document
from mssts.ytvis.converters.labelme import read_labelme
from mssts.ytvis.converters.mots import read_mots, write_mots
from mssts.ytvis.converters.palette import read_palette
from mssts.ytvis.json_input import parse_json, read_bytes
from mssts.ytvis.submission import parse_submission, submission_content

YOUTUBE_VIS = "youtube-vis"
READERS: dict[str, Callable[[Path, Path | None], Converted]] = {
    "coco-video": read_coco_video,
    "coco": read_coco_images,
    "palette": read_palette,
    "mots": read_mots,
    "labelme": read_labelme,
    "cvat": read_cvat,
}
"""For each format, the function that reads (source, folder of images or None)."""
WRITERS = ("coco-video", "mots")


class Conversion(NamedTuple):
    """What was converted: numbers of videos and objects; and what was left out or assumed, and how often."""

    videos: int
    objects: int
    notes: Counter[str]


def convert(
    source: Path,
    read_as: str,
    output: Path,
    write_as: str = YOUTUBE_VIS,
    images: Path | None = None,
    predictions: Path | None = None,
    min_score: float = 0.3,
) -> Conversion:
    """Convert annotations. The result is checked as every other command will read it, before it is written.

    Args:
        source: File or folder of the annotations.
        read_as: Its format, `YOUTUBE_VIS` or one of `READERS`.
        output: File to write; for MOTS a folder.
        write_as: Format to write, `YOUTUBE_VIS` or one of `WRITERS`.
        images: Folder of the frames, where the source does not name them.
        predictions: Submission whose objects are written in place of those of the source, as MOTS, best score first.
        min_score: Lowest score of the predictions that are written.

    Raises:
        InputError: If the source is not of that format, or holds what YouTube-VIS does not allow.
    """
    for option, found, known in (
        ("--from", read_as, (YOUTUBE_VIS, *READERS)),
        ("--to", write_as, (YOUTUBE_VIS, *WRITERS)),
    ):
        if found not in known:
            raise InputError(f"{option}: found {shown(found)}; {suggestion(found, known)}")
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; expected annotations in format {read_as}")
    if read_as == YOUTUBE_VIS and source.is_dir():
        raise InputError(
            f"{source}: found a folder; expected a file in YouTube-VIS format, or another format by --from"
        )
    if predictions and write_as != "mots":
        raise InputError(f"--predictions: found --to {write_as}; expected mots, which TrackEval reads")
    content, notes = _read(source, read_as, images)
    annotations = parse_annotations(content, f"{source} as {YOUTUBE_VIS}")
    if predictions:
        content["annotations"] = _predicted(predictions, annotations, min_score)
    if write_as == "mots":
        notes += write_mots(content, output, are_predictions=predictions is not None)
    else:
        check_outputs([output], [source if source.is_file() else None])
        write_json(output, coco_video(content) if write_as == "coco-video" else content)
    return Conversion(len(content["videos"]), len(content["annotations"]), notes)


def _predicted(path: Path, annotations: Annotations, min_score: float) -> list[dict[str, Any]]:
    """Predictions of at least that score, best first, in the form of annotations."""
    entries = submission_content(path)
    parse_submission(entries, annotations, str(path))
    chosen = sorted((one for one in entries if one["score"] >= min_score), key=lambda one: -one["score"])
    return [one | {"segmentations": [mask and as_text(mask) for mask in one["segmentations"]]} for one in chosen]


def _read(source: Path, read_as: str, images: Path | None) -> tuple[dict[str, Any], Counter[str]]:
    converted = READERS[read_as](source, images) if read_as != YOUTUBE_VIS else _read_youtube_vis(source)
    return document(converted), converted.notes


def _read_youtube_vis(source: Path) -> Converted:
    """An annotation file whose masks may be polygons or plain run lengths."""
    content = parse_json(read_bytes(source, VIDEOS.description), source, VIDEOS.description)
    checked = parse_annotations(content, str(source))
    videos: dict[int, ConvertedVideo] = {}
    for key, video in checked.videos.items():
        names = [*video.file_names] or [FRAME_NAME.format(video=key, frame=frame) for frame in range(video.length)]
        videos[key] = ConvertedVideo(str(key), video.height, video.width, names, id=key)
    for annotation, track in zip(content["annotations"], checked.tracks, strict=True):
        own = videos[track.video_id]
        found = own.object(checked.categories[track.category_id], crowd=track.crowd, attributes=track.attributes)
        found.segmentations = [
            mask and as_text(run_length.compressed(run_length.from_annotation(mask, own.height, own.width)[0]))
            for mask in annotation["segmentations"]
        ]
    return Converted(list(videos.values()), checked.categories)
