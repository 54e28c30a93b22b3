"""The clips that a training stage draws from: of videos, of still images, or of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mssts.config import Config
from mssts.core.records import Clip
from mssts.data.clips import ClipDataset
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.coco import read_coco
from mssts.data.counts import stills_split, training_split
from mssts.data.datasets import split_annotations
from mssts.data.stills import MAX_INSTANCES, StillClipDataset


class JointClips:
    """Several sets of clips as one; each clip of any set is drawn with the same probability [code]."""

    def __init__(self, *parts: ClipDataset) -> None:
        self.parts = parts
        self.categories = parts[0].categories

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def clip(self, index: int, rng: np.random.Generator) -> Clip:
        """The clip of an index of the concatenated sets; all random numbers come from `rng`. Raises InputError."""
        for part in self.parts:
            if index < len(part):
                return part.clip(index, rng)
            index -= len(part)
        raise IndexError(index)


def training_clips(dataset: str, directory: Path, config: Config) -> ClipDataset | JointClips:
    """Clips of videos; with `data.joint` also of COCO's images. Raises InputError.

    The videos are those of the local part of a user's dataset, unless the protocol is official.
    """
    split = training_split(dataset, config)
    foreign = config.loss.foreground_background.enabled
    videos = ClipDataset(split_annotations(dataset, directory, split), config.train.frames, config.data, foreign)
    if not config.data.joint:
        return videos
    stills = read_coco(directory.parent / COCO_DIRECTORY, dataset, config.data.coco_map)
    images = StillClipDataset(stills, config.train.frames, config.data, foreign, MAX_INSTANCES)
    return JointClips(videos, images)


def pretraining_clips(dataset: str, directory: Path, config: Config) -> StillClipDataset:
    """Pseudo-clips of still images: those of a generated dataset, or COCO with all its categories [code].

    For a dataset of the user's own they are the frames of the videos that are trained on [ours]. The images are of the
    sizes of section `pretrain`, and all their instances are kept [code].
    """
    if dataset == COCO_DIRECTORY:
        stills = read_coco(directory)
    else:
        stills = split_annotations(dataset, directory, stills_split(dataset, config))
    data_config = config.data.model_copy(update=config.still_sizes())
    return StillClipDataset(stills, config.pretrain.frames, data_config, config.loss.foreground_background.enabled)
