"""Preparation of data that the user brings: everything is checked, the local split made, the files fingerprinted.

What is written lies in the dataset's own directory: `local_train.json`, `local_valid.json` (parts of the training
annotations), `local_split.json` (which video is on which side, with a digest) and `fingerprint.json`; of COCO, which
has no split, the last alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.core.files import read_json, sha256_file, write_json
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.coco import check_coco
from mssts.data.datasets import LOCAL, STILLS, entry, is_generated
from mssts.ytvis.annotations import Video, VideoAnnotations

FINGERPRINT = "fingerprint.json"
SPLIT_RECORD = f"{LOCAL}split.json"
PER_SIDE = 2  # videos of a category that each side should have
RULE = "lowest SHA-256 of the video's folder name, then swaps for categories with fewer than two videos on a side"


def prepare(dataset: str, directory: Path) -> dict[str, Any]:
    """Check training and validation part, write the local split and the fingerprint; returns the split's record.

    Raises InputError that lists every problem of every part at once: files that are not there, categories of another
    year, doubled ids, segmentations that do not fit, frames that are missing.
    """
    if is_generated(dataset):
        raise InputError(f"{dataset}: is generated and needs no preparation; use `mssts generate`.")
    parts, problems = {}, []
    for split in ("train", "valid"):
        try:
            files = entry(dataset).files(directory, split)
            parts[split] = VideoAnnotations.read(*files, dataset, truth=split == "train", frames=True)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    record = local_split(parts["train"], entry(dataset).local_share) | {"dataset": dataset}
    content = read_json(parts["train"].path)
    names = {video.id: video_name(video) for video in parts["train"].videos}
    for side in ("train", "valid"):
        write_json(directory / f"{LOCAL}{side}.json", part_of(content, names, set(record[side])))
    write_json(directory / SPLIT_RECORD, record)
    write_json(directory / FINGERPRINT, fingerprint(dataset, parts))
    return record


def prepare_coco(directory: Path) -> dict[str, Any]:
    """Check COCO and write its fingerprint; returns that. Raises InputError that lists every problem at once."""
    record = fingerprint(COCO_DIRECTORY, {STILLS: check_coco(directory)})
    write_json(directory / FINGERPRINT, record)
    return record


def read_fingerprint(directory: Path) -> str:
    """The fingerprint of the data in a directory. Raises InputError if it has not been made."""
    path = directory / FINGERPRINT
    if not path.is_file():
        raise InputError(f"{path}: no such file. Run `mssts prepare` (or `mssts generate`) on {directory} first.")
    return read_json(path)["fingerprint"]


def video_name(video: Video) -> str:
    """Name of a video: the folder of its frames, the same in every copy of the dataset."""
    return video.file_names[0].rpartition("/")[0]


def local_split(annotations: VideoAnnotations, share: float) -> dict[str, Any]:
    """Which training videos are held out, as sorted names: a function of names and categories alone [ours].

    The held-out side has round(share * videos) of them: first those whose names have the lowest SHA-256, then, for
    each category of which a side has fewer than two videos although there are four, one is swapped in and one that
    nothing depends on out. Categories where that is not possible are listed under `exceptions`.
    """
    categories = {video_name(v): {t.category_id for t in annotations.tracks[v.id]} for v in annotations.videos}
    if len(categories) != len(annotations.videos):
        raise InputError(f"{annotations.path}: two videos lie in one folder; a video's folder has to be its own.")
    order = sorted(categories, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = round(share * len(order))
    sides = {"valid": order[:count], "train": order[count:]}
    total = Counter(number for numbers in categories.values() for number in numbers)
    for number in sorted(number for number in total if total[number] >= 2 * PER_SIDE):
        _balance(number, sides, categories, total)
    names = dict(annotations.categories)
    exceptions = {}
    for number in sorted(names):
        found = {side: sum(number in categories[name] for name in sides[side]) for side in sides}
        if min(found.values()) < PER_SIDE:
            exceptions[names[number]] = found
    sides = {side: sorted(members) for side, members in sides.items()}
    digest = hashlib.sha256("\n".join(["valid", *sides["valid"], "train", *sides["train"]]).encode()).hexdigest()
    return sides | {"rule": RULE, "exceptions": exceptions, "digest": digest}


def _balance(number: int, sides: dict[str, list[str]], categories: dict[str, set[int]], total: Counter[int]) -> None:
    """Swap videos until each side has two of category `number`, as far as no other category suffers."""
    for side, other in (("valid", "train"), ("train", "valid")):
        while sum(number in categories[name] for name in sides[side]) < PER_SIDE:
            enters = next(
                (name for name in sides[other] if _spare(name, other, sides, categories, total, number)), None
            )
            leaves = next(
                (
                    n
                    for n in reversed(sides[side])
                    if number not in categories[n] and _spare(n, side, sides, categories, total)
                ),
                None,
            )
            if enters is None or leaves is None:
                return
            sides[other][sides[other].index(enters)] = leaves
            sides[side][sides[side].index(leaves)] = enters


def _spare(
    name: str,
    side: str,
    sides: dict[str, list[str]],
    categories: dict[str, set[int]],
    total: Counter[int],
    wanted: int | None = None,
) -> bool:
    """Whether a video may leave its side: it shows `wanted`, and every category it shows keeps two videos there."""
    if wanted is not None and wanted not in categories[name]:
        return False
    return all(
        total[number] < 2 * PER_SIDE or sum(number in categories[member] for member in sides[side]) > PER_SIDE
        for number in categories[name]
    )


def part_of(content: dict[str, Any], names: dict[int, str], chosen: set[str]) -> dict[str, Any]:
    """The annotation file of some of its videos."""
    videos = [video for video in content["videos"] if names[video["id"]] in chosen]
    ids = {video["id"] for video in videos}
    annotations = [item for item in content["annotations"] if item["video_id"] in ids]
    return content | {"videos": videos, "annotations": annotations}


def fingerprint(dataset: str, parts: dict[str, VideoAnnotations]) -> dict[str, Any]:
    """Record that tells a dataset's state: SHA-256 of the annotation files, names and sizes of the frames."""
    total = hashlib.sha256("".join(line + "\n" for line in _lines(parts)).encode())
    splits = {
        split: {"videos": len(part.videos), "instances": sum(map(len, part.tracks.values()))}
        for split, part in parts.items()
    }
    return {"dataset": dataset, "fingerprint": total.hexdigest()[:12], "splits": splits}


def _lines(parts: dict[str, VideoAnnotations]) -> Iterator[str]:
    for split, part in sorted(parts.items()):
        yield f"{split} {sha256_file(part.path)}"
        for name in sorted(name for video in part.videos for name in video.file_names):
            yield f"{split} {name} {(part.image_root / name).stat().st_size}"
