"""Preparation of data that the user brings: check everything, make the local split, record a fingerprint.

Files are written to the directory of the dataset: `local_train.json` and `local_valid.json` (parts of the training
annotations), `local_split.json` (the videos of each part, with a digest) and `fingerprint.json`. COCO has no split and
gets the last one only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.core.files import read_json, sha256_file, write_json
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.coco import check_coco
from mssts.data.datasets import LOCAL, STILLS, VideoSplit, entry, is_generated, split_annotations
from mssts.ytvis.annotations import Truth
from mssts.ytvis.splits import local_split, part_of

FINGERPRINT = "fingerprint.json"
SPLIT_RECORD = f"{LOCAL}split.json"


def prepare(dataset: str, directory: Path) -> dict[str, Any]:
    """Check the training and validation part, write the local split and the fingerprint.

    Returns:
        The record of the local split, see `local_split`.

    Raises:
        InputError: With the problems of all parts.
    """
    if is_generated(dataset):
        raise InputError(f"{dataset}: is a generated dataset and needs no preparation. Run `mssts generate` instead.")
    parts, problems = {}, []
    for split in ("train", "valid"):
        try:
            truth: Truth = "required" if split == "train" else "optional"
            parts[split] = split_annotations(dataset, directory, split, truth, look_for_frames=True)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    annotations = parts["train"].annotations
    record = local_split(annotations, entry(dataset).local_share) | {"dataset": dataset}
    content = read_json(annotations.path)
    for side in ("train", "valid"):
        write_json(directory / f"{LOCAL}{side}.json", part_of(content, set(record[side]), annotations))
    write_json(directory / SPLIT_RECORD, record)
    write_json(directory / FINGERPRINT, fingerprint(dataset, parts))
    return record


def prepare_coco(directory: Path) -> dict[str, Any]:
    """Check COCO, write its fingerprint and return the record. Raises InputError with all problems."""
    record = fingerprint(COCO_DIRECTORY, {STILLS: check_coco(directory)})
    write_json(directory / FINGERPRINT, record)
    return record


def read_fingerprint(directory: Path) -> str:
    """The fingerprint of the data in a directory. Raises InputError if there is none."""
    path = directory / FINGERPRINT
    if not path.is_file():
        raise InputError(f"{path}: no such file. Run `mssts prepare` (or `mssts generate`) on {directory} first.")
    return read_json(path)["fingerprint"]


def fingerprint(dataset: str, parts: dict[str, VideoSplit]) -> dict[str, Any]:
    """Record of the state of a dataset: SHA-256 over the annotation files and the names and sizes of the frames."""
    total = hashlib.sha256("".join(line + "\n" for line in _lines(parts)).encode())
    splits = {
        name: {"videos": len(part.videos), "instances": len(part.annotations.tracks)} for name, part in parts.items()
    }
    return {"dataset": dataset, "fingerprint": total.hexdigest()[:12], "splits": splits}


def _lines(parts: dict[str, VideoSplit]) -> Iterator[str]:
    for split, part in sorted(parts.items()):
        yield f"{split} {sha256_file(part.annotations.path)}"
        for name in sorted(name for video in part.videos for name in video.file_names):
            yield f"{split} {name} {(part.image_root / name).stat().st_size}"
