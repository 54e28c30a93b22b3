"""The clips that a training stage draws from: videos, still images, or both one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mssts.config import Config
from mssts.core.records import Clip
from mssts.data.clips import ClipDataset
from mssts.data.coco import read_coco
from mssts.data.datasets import LOCAL, STILLS, is_generated, split_annotations
from mssts.data.stills import StillClipDataset


class JointClips:
    """Several sets as one, one after the other: shuffled uniformly, each clip as likely as any other [code]."""

    def __init__(self, *parts: ClipDataset) -> None:
        self.parts = parts
        self.categories = parts[0].categories

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def clip(self, index: int, rng: np.random.Generator) -> Clip:
        """The clip of that index, all draws from `rng`. Raises InputError as the part does."""
        for part in self.parts:
            if index < len(part):
                return part.clip(index, rng)
            index -= len(part)
        raise IndexError(index)


def training_split(dataset: str, config: Config) -> str:
    """The split that videos are drawn from: of a user's dataset the local part, unless the protocol is official."""
    return "train" if is_generated(dataset) or config.data.protocol == "official" else f"{LOCAL}train"


def training_clips(dataset: str, directory: Path, config: Config) -> ClipDataset | JointClips:
    """Clips of videos, with `data.joint` and of COCO's images too. Raises InputError."""
    annotations = split_annotations(dataset, directory, training_split(dataset, config))
    videos = ClipDataset(annotations, config.train.frames, config.data)
    if not config.data.joint:
        return videos
    stills = read_coco(directory.parent, dataset, config.data.coco_map)
    return JointClips(videos, StillClipDataset(stills, config.train.frames, config.data))


def pretraining_clips(dataset: str, directory: Path, config: Config) -> StillClipDataset:
    """Pseudo-clips of still images: a generated dataset's own; COCO, all its categories, for a user's [code]."""
    stills = split_annotations(dataset, directory, STILLS) if is_generated(dataset) else read_coco(directory.parent)
    return StillClipDataset(stills, config.pretrain.frames, config.data)
