"""How many clips a training draws from, without reading its data: what the fingerprint says, or a published number."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from mssts.config import PRETRAIN, Config
from mssts.core.errors import InputError
from mssts.core.files import read_record
from mssts.data.categories import CORRECTED, SEQFORMER, coco_map
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import DATASETS, LOCAL, STILLS, entry, is_generated
from mssts.data.fingerprints import FINGERPRINT
from mssts.ytvis.annotations import Annotations

COCO_IMAGES = 117_266  # of 118,287 with an object; no number is published for those with a mapped category


class Clips(NamedTuple):
    """A number of clips, and whether it is a published one because the data has not been prepared."""

    number: int
    assumed: bool


def training_split(dataset: str, config: Config) -> str:
    """The split that is trained on: the local part of a user's videos, unless the protocol is official."""
    return "train" if is_generated(dataset) or config.data.protocol == "official" else f"{LOCAL}train"


def stills_split(dataset: str, config: Config) -> str:
    """The split whose images a pre-training on the dataset itself draws: stills, or the videos that are trained on."""
    return STILLS if is_generated(dataset) else training_split(dataset, config)


def clips_of(stage: str, dataset: str, directory: Path, config: Config) -> Clips | None:
    """Number of clips of a stage.

    Args:
        stage: "pretrain" or "train".
        dataset: Name of the dataset; "coco" for a pre-training on COCO.
        directory: Its directory, which need not exist.
        config: Configuration of the run.

    Returns:
        None if the number is neither recorded nor published.

    Raises:
        InputError: If the fingerprint was changed.
    """
    if dataset == COCO_DIRECTORY:
        return _coco_clips(directory, COCO_DIRECTORY)
    split = (stills_split if stage == PRETRAIN else training_split)(dataset, config)
    found = _recorded(directory).get(split, {})
    frames = found.get("frames") or found.get("images")
    videos = Clips(frames, False) if frames else _published(dataset, split)
    if videos is None or stage == PRETRAIN or not config.data.joint:
        return videos
    images = _coco_clips(directory.parent / COCO_DIRECTORY, _key(dataset, config.data.coco_map))
    return Clips(videos.number + images.number, videos.assumed or images.assumed)


def images_with_objects(annotations: Annotations) -> dict[str, int]:
    """Number of images of COCO with an object, crowds apart, of any category, and of those mapped to each dataset's.

    The keys are "coco", and "<dataset> <map>" for each dataset and map of categories.
    """
    categories = defaultdict(set)
    tracks = annotations.tracks
    for video_id, category_id in tracks.integers_N6[~tracks.crowd_N, 1:3].tolist():
        categories[video_id].add(category_id)
    counts = {COCO_DIRECTORY: len(categories)}
    for dataset in DATASETS:
        for which in (CORRECTED, SEQFORMER):
            try:
                mapped = coco_map(dataset, which).keys()
            except InputError:
                continue
            counts[_key(dataset, which)] = sum(not mapped.isdisjoint(found) for found in categories.values())
    return counts


def _key(dataset: str, which: str) -> str:
    return f"{dataset} {which}"


def _recorded(directory: Path) -> dict[str, Any]:
    """The splits that the fingerprint of a directory describes; none without a fingerprint."""
    path = directory / FINGERPRINT
    return dict(read_record(path)["splits"]) if path.is_file() else {}


def _coco_clips(directory: Path, key: str) -> Clips:
    number = _recorded(directory).get(STILLS, {}).get("images_with_objects", {}).get(key)
    return Clips(COCO_IMAGES, True) if number is None else Clips(number, False)


def _published(dataset: str, split: str) -> Clips | None:
    known = entry(dataset)
    if known.training_frames is None:
        return None
    share = 1 - known.local_share if split.startswith(LOCAL) else 1
    return Clips(round(known.training_frames * share), True)
