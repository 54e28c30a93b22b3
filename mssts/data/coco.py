"""COCO 2017 from the user's directory `coco`, beside that of the videos, with its own or a dataset's categories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mssts.core.errors import InputError
from mssts.data.categories import CORRECTED, coco_map, coco_names
from mssts.data.datasets import STILLS, DatasetEntry, VideoSplit, entry
from mssts.ytvis.annotations import CheckFrames

DIRECTORY = "coco"  # of the data, and the name under which stages know COCO
COCO = DatasetEntry(
    "COCO 2017",
    "coco",
    {STILLS: ("annotations/instances_train2017.json|instances_train2017.json", "train2017|images/train2017")},
    source="cocodataset.org (train images and train/val annotations of 2017)",
)


def check_coco(directory: Path, check_frames: CheckFrames | None = None) -> VideoSplit:
    """Read and check COCO's annotations, which must have COCO's names for the categories of `coco_map`.

    Args:
        directory: Directory of COCO.
        check_frames: Adds what is wrong with the images, as for `read_annotations`.

    Raises:
        InputError: With all problems.
    """
    split = COCO.read(directory, STILLS, check_frames=check_frames)
    found = {n: f"{name!r:.40}" for n, name in split.annotations.categories.items()}
    pairs = ((n, found.get(n, "missing"), repr(name)) for n, name in coco_names().items())
    wrong = [f"id {n} is {own}, expected {name}" for n, own, name in pairs if own != name]
    if wrong:
        listed = "; ".join(wrong[:5])
        raise InputError(f"{split.annotations.path}: categories: {listed}. Use the original COCO annotation files.")
    return split


def read_coco(directory: Path, dataset: str | None = None, which: str = CORRECTED) -> VideoSplit:
    """Read the annotations: the images with an object, crowds apart, of one of the categories.

    Args:
        directory: Directory of COCO.
        dataset: Dataset whose categories the objects get; objects of other categories are left out. None: COCO's own
            categories.
        which: Name of the map of categories, see `coco_map`.

    Raises:
        InputError: With the missing files and where to get them, or every problem of the file.
    """
    mapped = coco_map(dataset, which) if dataset is not None else None
    split = check_coco(directory)
    coco = split.annotations
    found, ids = coco.tracks, coco.categories if mapped is None else mapped
    known_N = np.isin(found.category_id_N, [*ids])
    shown = set(found.video_id_N[known_N & ~found.crowd_N].tolist())
    tracks = found.take(known_N & np.isin(found.video_id_N, [*shown]))
    if mapped is not None:
        tracks = tracks.with_categories(
            np.array([mapped[key] for key in tracks.category_id_N.tolist()], dtype=np.int64)
        )
    videos = {key: video for key, video in coco.videos.items() if key in shown}
    categories = coco.categories if dataset is None else dict(entry(dataset).categories)
    pooled = range(len(tracks))
    return replace(split, annotations=replace(coco, videos=videos, categories=categories, tracks=tracks, pooled=pooled))
