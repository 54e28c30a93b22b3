"""The fingerprint of a dataset: a record of its files as they were when it was prepared or generated.

fingerprint.json holds `fingerprint` (12 digits that name the state of the dataset in records of runs), `files` (SHA-256
of the annotation files by name relative to the directory) and `splits` (what each holds). The frames of a generated
dataset are in `frames.sha256`, one line each as sha256sum writes them. Of a user's dataset there is `frames` (SHA-256
over names and sizes of the frames of each split): reading gigabytes of frames to hash them would take too long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mssts.core.errors import InputError
from mssts.core.files import read_record, verify_digest

FINGERPRINT, FRAMES = "fingerprint.json", "frames.sha256"
ADVICE = "Restore it, or prepare (or generate) the dataset again, which runs what depends on it again."


def read_fingerprint(directory: Path) -> str:
    """The fingerprint of the data in a directory. Raises InputError if there is none, or if it was changed."""
    path = directory / FINGERPRINT
    if not path.is_file():
        raise InputError(f"{path}: no such file. Run `mssts prepare` (or `mssts generate`) on {directory} first.")
    return read_record(path)["fingerprint"]


def recorded_digests(directory: Path) -> dict[Path, str]:
    """SHA-256 of the files that the fingerprint records; empty if there is no fingerprint. Raises InputError."""
    path = directory / FINGERPRINT
    return {directory / name: digest for name, digest in read_record(path)["files"].items()} if path.is_file() else {}


def recorded_categories(directory: Path) -> tuple[tuple[int, str], ...] | None:
    """(id, name) of the categories of a dataset that defines its own; None if none are recorded. Raises InputError."""
    path = directory / FINGERPRINT
    found = read_record(path).get("categories") if path.is_file() else None
    return None if found is None else tuple((number, name) for number, name in found)


def recorded_frames(directory: Path, digests: dict[Path, str]) -> dict[Path, str]:
    """SHA-256 of the frames of a generated dataset; empty for a user's.

    Args:
        directory: Directory of the dataset.
        digests: Its `recorded_digests`.

    Raises:
        InputError: If the list of the frames was changed.
    """
    path = directory / FRAMES
    if path not in digests:
        return {}
    verify_digest(path, digests[path], ADVICE)
    lines = path.read_text(encoding="utf-8").splitlines()
    return {directory / name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def verify_annotations(path: Path) -> None:
    """Compare an annotation file with the fingerprint of the dataset that it lies in, if there is one.

    Raises:
        InputError: If the file was changed after the fingerprint was written.
    """
    for directory in path.parents[:2]:
        digests = recorded_digests(directory)
        if path in digests:
            verify_digest(path, digests[path], ADVICE)


def verify_frames(directory: Path, split: str, frames: Iterable[Path]) -> None:
    """Compare names and sizes of the frames of a split with the fingerprint, where it records them.

    Raises:
        InputError: If a frame was added, lost or replaced by one of another size.
    """
    path = directory / FINGERPRINT
    recorded = read_record(path).get("frames", {}).get(split) if path.is_file() else None
    if recorded is not None and frames_digest(directory, frames) != recorded:
        raise InputError(
            f"{path}: split {split}: frames were added, removed or changed since then. Run `mssts prepare`."
        )


def frames_digest(directory: Path, frames: Iterable[Path]) -> str:
    """SHA-256 over names and sizes of frames.

    Raises:
        InputError: If a frame is missing.
    """
    total = hashlib.sha256()
    for path in sorted(frames):
        try:
            total.update(f"{path.relative_to(directory).as_posix()}\0{path.stat().st_size}\n".encode())
        except FileNotFoundError:
            raise InputError(f"{path}: no such file, though the dataset was prepared with it. {ADVICE}") from None
    return total.hexdigest()
