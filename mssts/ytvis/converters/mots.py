"""MOTS text files from and to YouTube-VIS: one line for each object in each frame.

A line is `frame id class height width mask`, where the mask is the compressed run-length string of pycocotools and the
id is 1000 times the class plus a number. A sequence is the file NAME.txt, or the folder NAME with gt/gt.txt and
seqinfo.ini, which TrackEval reads (MotsChallenge). KITTI MOTS counts frames from 0, MOTSChallenge from 1.
"""

from __future__ import annotations

from collections import Counter
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.core.files import atomic_write
from mssts.ytvis import run_length
from mssts.ytvis.converters.document import Converted, ConvertedVideo, as_text, file_names, natural_order, require
from mssts.ytvis.converters.document import sources as text_files

CLASSES = {1: "car", 2: "pedestrian"}  # of KITTI MOTS and MOTSChallenge, where seqinfo.ini names no others
SEQUENCE, NAMES = "Sequence", "Classes"  # sections of seqinfo.ini; the second one is ours
IGNORED = 10  # class of regions that are not evaluated
PER_CLASS = 1000  # numbers of objects of a class
TRUTH, INFO = Path("gt/gt.txt"), "seqinfo.ini"
Line = tuple[int, int, int, dict[str, Any]]  # frame, id, class, mask


def read_mots(source: Path, images: Path | None) -> Converted:
    """Read sequences in MOTS format. Ignored regions are left out, with a note."""
    if source.is_dir() and (folders := natural_order(path.parent.parent.name for path in source.glob(f"*/{TRUTH}"))):
        files = {name: source / name / TRUTH for name in folders}
    else:
        files = {path.stem: path for path in text_files(source, ".txt")}
    converted = Converted([], dict(CLASSES))
    named = [path.parent.parent / INFO for path in files.values() if path.name == TRUTH.name]
    if any(names := [_information(path)[1] for path in named if path.is_file()]):
        converted.categories = {kind: name for own in names for kind, name in own.items()}
    lines = {name: _lines(path) for name, path in files.items()}
    first = 0 if any(line[0] == 0 for own in lines.values() for line in own) else 1
    for name, own in lines.items():
        converted.videos.append(_video(name, files[name], own, first, images, converted))
    converted.notes[f"frames are counted from {first}"] += len(lines)
    return converted


def _video(
    name: str, path: Path, lines: list[Line], first: int, images: Path | None, converted: Converted
) -> ConvertedVideo:
    require(lines, str(path), "no line", "a line for each object in each frame")
    info = path.parent.parent / INFO
    length = _information(info)[0] if path.name == TRUTH.name and info.is_file() else None
    length = length or max(line[0] for line in lines) - first + 1
    height, width = lines[0][3]["size"]
    video = ConvertedVideo(name, height, width, file_names(images, name, length, path))
    found: dict[int, Any] = {}
    classes = converted.categories or {}
    for number, (frame, key, kind, mask) in enumerate(lines, 1):
        where = f"{path}: line {number}"
        require(mask["size"] == [height, width], where, mask["size"], f"the size of line 1, {[height, width]}")
        require(frame - first < length, where, f"frame {frame}", f"at most {length} frames")
        if kind == IGNORED:
            converted.notes["masks of ignored regions are left out"] += 1
            continue
        require(kind in classes, where, f"class {kind}", ", ".join(f"{k} ({v})" for k, v in classes.items()))
        if key not in found:
            found[key] = video.object(classes[kind])
        require(found[key].category == classes[kind], where, f"class {kind}", f"that of id {key} before")
        require(found[key].segmentations[frame - first] is None, where, f"id {key}", "each id once in a frame")
        found[key].segmentations[frame - first] = as_text(mask)
    return video


def _lines(path: Path) -> list[Line]:
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        parts, where = text.split(), f"{path}: line {number}"
        require(
            len(parts) == 6 and all(map(str.isdecimal, parts[:5])), where, text[:60], "frame id class height width mask"
        )
        frame, key, kind, height, width = (int(part) for part in parts[:5])
        mask = {"size": [height, width], "counts": parts[5]}
        if problem := run_length.mask_problem(mask, height, width):
            raise InputError(f"{where}: {problem}")
        lines.append((frame, key, kind, mask))
    return lines


def _information(info: Path) -> tuple[int, dict[int, str]]:
    """Length of a sequence, and names of the classes as far as they are given, of a seqinfo.ini."""
    parser = ConfigParser(interpolation=None)
    try:
        parser.read(info, encoding="utf-8")
        names = parser.items(NAMES) if parser.has_section(NAMES) else ()
        return parser.getint(SEQUENCE, "seqLength"), {int(kind): name for kind, name in names}
    except (ConfigError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{info}: {problem}; expected [{SEQUENCE}] with seqLength, as in MOTSChallenge") from None


def write_mots(content: dict[str, Any], output: Path, are_predictions: bool = False) -> Counter[str]:
    """Write a YouTube-VIS document as a folder for each video, or as a file for each where its objects are predictions.

    Classes are the ids of the categories. The format has one object per pixel: what several objects cover goes to the
    first of them.

    Args:
        content: The document.
        output: Folder that receives the folders, or the files, of the videos.
        are_predictions: Write what TrackEval expects of a tracker, not of the ground truth.

    Returns:
        What was changed, and how often.

    Raises:
        InputError: If the ids do not fit the format.
    """
    notes: Counter[str] = Counter()
    sequences = _names(content["videos"])
    names = "".join(f"{category['id']}={category['name']}\n" for category in content["categories"])
    for video in content["videos"]:
        tracks = [track for track in content["annotations"] if track["video_id"] == video["id"]]
        lines = []
        counted: Counter[int] = Counter()
        keys = []
        for track in tracks:
            kind = track["category_id"]
            require(
                0 < kind != IGNORED, f"category {kind}", kind, f"an id above 0 other than {IGNORED}, which is ignored"
            )
            keys.append(PER_CLASS * kind + counted[kind])
            counted[kind] += 1
        require(
            max(counted.values(), default=0) <= PER_CLASS, f"video {video['id']}", counted, f"{PER_CLASS} per category"
        )
        for frame in range(video["length"]):
            covered: dict[str, Any] | None = None
            for key, track in zip(keys, tracks, strict=True):
                mask = track["segmentations"][frame]
                if not mask:
                    continue
                free = _without(mask, covered)
                notes["masks that lost pixels to an object listed before"] += int(free != mask)
                covered = as_text(coco_mask.merge([covered, mask])) if covered else mask
                if free:
                    size = f"{video['height']} {video['width']}"
                    lines.append(f"{frame + 1} {key} {key // PER_CLASS} {size} {free['counts']}\n")
        folder = output / sequences[video["id"]]
        size = f"imWidth={video['width']}\nimHeight={video['height']}\n"
        information = f"[{SEQUENCE}]\nname={folder.name}\nseqLength={video['length']}\n{size}[{NAMES}]\n{names}"
        truth = {folder / TRUTH: "".join(lines), folder / INFO: information}
        for path, text in ({output / f"{folder.name}.txt": "".join(lines)} if are_predictions else truth).items():
            with atomic_write(path) as file:
                file.write(text)
    return +notes


def _without(mask: dict[str, Any], covered: dict[str, Any] | None) -> dict[str, Any] | None:
    """The pixels of a mask that are not covered."""
    if covered is None or not coco_mask.area(coco_mask.merge([mask, covered], intersect=True)):
        return mask
    pixels = coco_mask.decode(mask)
    pixels[coco_mask.decode(covered) > 0] = 0
    return as_text(coco_mask.encode(pixels))


def _names(videos: list[dict[str, Any]]) -> dict[int, str]:
    """{video id: name of its folder}: that of its frames if each video has one of its own, else its id."""
    folders = {video["id"]: Path(video["file_names"][0]).parent.name for video in videos}
    unique = len(set(folders.values())) == len(folders) and all(folders.values())
    return folders if unique else {key: f"{key:06d}" for key in folders}
