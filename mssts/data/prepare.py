"""Preparation of data that the user brings: check everything, make the local split, record a fingerprint.

Files are written to the directory of the dataset: `local_train.json` and `local_valid.json` (parts of the training
annotations), `local_split.json` (the videos of each part, with a digest) and `fingerprint.json`. COCO has no split and
gets the last one only.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError, printable, shown
from mssts.core.files import atomic_write, check_outputs, sha256_file, write_record
from mssts.data.coco import COCO, check_coco
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.counts import images_with_objects
from mssts.data.datasets import (
    LOCAL,
    STILLS,
    VideoSplit,
    entry,
    expected_categories,
    is_generated,
    split_annotations,
)
from mssts.data.fingerprints import FINGERPRINT, frames_digest
from mssts.data.images import check_images
from mssts.data.summary import summary
from mssts.ytvis.annotations import VIDEOS, Annotations, Truth, parse_annotations
from mssts.ytvis.json_input import garbage_collection_disabled, json_text, parse_json, read_bytes
from mssts.ytvis.splits import local_split, part_of

SPLIT_RECORD = f"{LOCAL}split.json"
OUTPUTS = (f"{LOCAL}train.json", f"{LOCAL}valid.json", SPLIT_RECORD, FINGERPRINT)


def prepare(dataset: str, directory: Path, decode: bool = False) -> dict[str, Any]:
    """Check the training and validation part, write the local split and the fingerprint.

    Args:
        dataset: Name of the dataset.
        directory: Its directory.
        decode: Whether every frame is decoded; else only its header is read.

    Returns:
        The record of the local split, see `local_split`.

    Raises:
        InputError: With the problems of all parts.
    """
    if is_generated(dataset):
        raise InputError(f"{dataset}: is a generated dataset and needs no preparation. Run `mssts generate` instead.")
    parts, problems = {}, []
    found = entry(dataset)
    check_outputs((directory / name for name in OUTPUTS), [found.paths(directory, split)[0] for split in found.given])
    for split in found.given:
        try:
            truth: Truth = "required" if split == "train" else "optional"
            check_frames = partial(check_images, decode=decode)
            parts[split] = split_annotations(dataset, directory, split, truth, check_frames)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    annotations = parts["train"].annotations
    for part in parts.values():
        _require_equal_categories(annotations, part.annotations)
    record = local_split(annotations, found.local_share, found.split_seed) | {"dataset": dataset}
    texts, derived = {}, {}
    for side, (text, read) in _local_parts(dataset, directory, annotations, record).items():
        texts[read.path] = text
        derived[f"{LOCAL}{side}"] = replace(parts["train"], annotations=read)
    _print_notices(parts)
    for split, part in parts.items():
        print(printable("\n  ".join(summary(split, part.annotations))))
    for path, text in texts.items():
        with atomic_write(path, "wb") as file:
            file.write(text)
    write_record(directory / SPLIT_RECORD, record)
    categories = {"categories": list(annotations.categories.items())} if found.category_key is None else {}
    write_record(directory / FINGERPRINT, fingerprint(dataset, directory, parts, derived) | categories)
    return record


def _local_parts(
    dataset: str, directory: Path, annotations: Annotations, record: dict[str, Any]
) -> dict[str, tuple[bytes, Annotations]]:
    """The JSON text of each side of the local split, and the annotations as training and evaluation will read them."""
    path, parts = annotations.path, {}
    with garbage_collection_disabled():
        content = parse_json(read_bytes(path, VIDEOS.description), path, VIDEOS.description, uncompressed_runs=True)
        for side in ("train", "valid"):
            part = part_of(content, set(record[side]), annotations)
            source = str(directory / f"{LOCAL}{side}.json")
            read = parse_annotations(part, source, expected=expected_categories(dataset))
            try:
                parts[side] = json_text(part) + b"\n", read
            except ValueError as error:
                raise InputError(f"{path}: holds what JSON cannot hold ({error}); correct the file") from None
    return parts


def _require_equal_categories(first: Annotations, other: Annotations) -> None:
    """Raise InputError unless two files define the same categories: the index of a class logit is their position."""
    wrong = sorted(set(first.categories.items()) ^ set(other.categories.items()))
    if wrong:
        number, name = wrong[0]
        where = other.path if number in other.categories else first.path
        raise InputError(
            f"{where}: categories: found id {number} ({shown(name)}), which the other part does not have; expected the "
            f"same categories in {first.path.name} and {other.path.name}. List all categories in both files."
        )


def prepare_coco(directory: Path, decode: bool = False) -> dict[str, Any]:
    """Check COCO, write its fingerprint and return the record.

    Args:
        directory: Directory of COCO.
        decode: Whether every image is decoded; else only its header is read.

    Raises:
        InputError: With all problems.
    """
    check_outputs([directory / FINGERPRINT], [COCO.paths(directory, STILLS)[0]])
    parts = {STILLS: check_coco(directory, partial(check_images, decode=decode))}
    _print_notices(parts)
    record = fingerprint(COCO_DIRECTORY, directory, parts, {})
    write_record(directory / FINGERPRINT, record)
    return record


def _print_notices(parts: dict[str, VideoSplit]) -> None:
    for part in parts.values():
        for notice in part.annotations.notices:
            where = f"{notice.count} times, first at {notice.first}"
            print(f"warning: {part.annotations.path}: {notice.what} ({where})", file=sys.stderr)


def fingerprint(
    dataset: str, directory: Path, parts: dict[str, VideoSplit], derived: dict[str, VideoSplit]
) -> dict[str, Any]:
    """Record of the state of a dataset: SHA-256 over the annotation files and the names and sizes of the frames.

    Args:
        dataset: Name of the dataset.
        directory: Its directory.
        parts: Its splits.
        derived: Splits that were made of them, whose digests are recorded as well.
    """
    total = hashlib.sha256("".join(line + "\n" for line in _lines(parts)).encode())
    splits: dict[str, dict[str, Any]] = {
        name: {
            "videos": len(part.videos),
            "instances": len(part.annotations.tracks),
            "frames": sum(video.length for video in part.videos),
        }
        for name, part in (parts | derived).items()
    }
    if dataset == COCO_DIRECTORY:
        splits[STILLS]["images_with_objects"] = images_with_objects(parts[STILLS].annotations)
    frames = {name: frames_digest(directory, part.frame_paths()) for name, part in (parts | derived).items()}
    paths = [part.annotations.path for part in (*parts.values(), *derived.values())]
    files = {path.relative_to(directory).as_posix(): sha256_file(path) for path in paths}
    record = {"dataset": dataset, "fingerprint": total.hexdigest()[:12]}
    return record | {"files": files, "frames": frames, "splits": splits}


def _lines(parts: dict[str, VideoSplit]) -> Iterator[str]:
    for split, part in sorted(parts.items()):
        yield f"{split} {sha256_file(part.annotations.path)}"
        for name in sorted(name for video in part.videos for name in video.file_names):
            yield f"{split} {name} {(part.image_root / name).stat().st_size}"
