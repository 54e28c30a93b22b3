"""Training clips: which frames, which instances, and batches that depend on (seed, step, position) only."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mssts.config import DataSection
from mssts.core.errors import InputError
from mssts.core.records import Batch, Clip, Instances
from mssts.data.augmentation import augment, normalise, photometric_distortion
from mssts.data.frames import FrameStore
from mssts.ytvis.annotations import Video, VideoAnnotations
from mssts.ytvis.segmentation import boxes_of_masks

NEIGHBOUR_REACH = 3
MAX_DRAWS = 100


def sample_frames(rng: np.random.Generator, length: int, reference: int, frames: int) -> list[int]:
    """Sorted places of `frames` frames of a video of `length` frames, the reference among them [code].

    One neighbour 1-3 frames before and one after (clamped), the rest from outside that span, whose last frame may be
    drawn again; from the whole video if too few are outside. One frame: the reference; two: it and one of the
    neighbours [ours]. A video with fewer frames than needed repeats some.
    """
    before, after = rng.integers(1, NEIGHBOUR_REACH + 1, 2)
    low, high = max(0, reference - int(before)), min(length - 1, reference + int(after))
    # Differs: of reference and neighbours the public code keeps the first one or two, the reference or not.
    if frames == 1:
        return [reference]
    if frames == 2:
        beside = low if rng.random() < 0.5 else high
        if beside == reference:
            beside = low + high - beside
        return sorted([reference, beside])
    rest = frames - 3
    pool = [*range(low), *range(high, length)]
    # Differs: the public code takes the whole video also where just enough frames are outside.
    if len(pool) < rest:
        pool = list(range(length))
    drawn = rng.choice(pool, rest, replace=len(pool) < rest).tolist()
    return sorted([reference, low, high, *drawn])


class ClipDataset:
    """Clips of a video split; index i stands for the i-th frame of the split as the reference frame [code].

    frames: T. An instance is left out if it is a crowd or shows no pixel in the clip; a clip without an instance is
    drawn again from another reference frame.
    """

    def __init__(self, annotations: VideoAnnotations, frames: int, settings: DataSection) -> None:
        self.annotations = annotations
        self.frames = frames
        self.settings = settings
        self._store = FrameStore(annotations)
        self._references = [(video, t) for video in annotations.videos for t in range(video.length)]

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """(id, name) sorted by id; the position is the index of the class logit."""
        return self.annotations.categories

    def __len__(self) -> int:
        return len(self._references)

    def clip(self, index: int, rng: np.random.Generator) -> Clip:
        """The clip around reference frame `index`, all draws from `rng`.

        Raises InputError for an unreadable image, or if 100 reference frames give no instance.
        """
        for _ in range(MAX_DRAWS):
            clip = self._draw(*self._references[index], rng)
            if clip is not None:
                return clip
            index = int(rng.integers(len(self)))
        raise InputError(
            f"{self.annotations.path}: {MAX_DRAWS} clips in a row show no instance; expected annotated objects that "
            "are no crowd in most videos. Check the annotations."
        )

    def _draw(self, video: Video, reference: int, rng: np.random.Generator) -> Clip | None:
        indices = sample_frames(rng, video.length, reference, self.frames)
        # Differs: the public code stops at a video that shows crowds only; here another is drawn.
        objects = self._store.objects(video)
        shown = [n for n, o in enumerate(objects) if any(o.segmentations[t] is not None for t in indices)]
        if not shown:
            return None
        frames_T3HW, masks_NTHW = self._store.frames(video, indices), self._store.masks(video, indices)[shown]
        if self.settings.photometric:
            frames_T3HW = photometric_distortion(frames_T3HW, rng)
        labels = [objects[n].label for n in shown]
        return self._finish(video, indices, labels, frames_T3HW, masks_NTHW, rng)

    def _finish(
        self,
        video: Video,
        indices: list[int],
        labels: list[int],
        frames_T3HW: torch.Tensor,
        masks_NTHW: torch.Tensor,
        rng: np.random.Generator,
    ) -> Clip | None:
        """Augment, drop what is no longer seen, and normalise; None if nothing is seen."""
        frames_T3HW, masks_NTHW = augment(frames_T3HW, masks_NTHW, self.settings, rng)
        masks_NTHW = masks_NTHW.as_subclass(torch.Tensor)
        seen = masks_NTHW.flatten(1).any(1)
        if not seen.any():
            return None
        masks_NTHW = masks_NTHW[seen]
        instances = Instances(torch.tensor(labels)[seen], boxes_of_masks(masks_NTHW), masks_NTHW)
        return Clip(video.id, tuple(indices), normalise(frames_T3HW, self.settings), instances)


def collate(clips: list[Clip], pad_multiple: int) -> Batch:
    """A batch of clips of one length, padded at right and bottom to a common multiple of `pad_multiple` px."""
    sizes = tuple((clip.frames_T3HW.shape[-2], clip.frames_T3HW.shape[-1]) for clip in clips)
    height, width = (-(-max(side) // pad_multiple) * pad_multiple for side in zip(*sizes, strict=True))
    frames = clips[0].frames_T3HW.shape[0]
    frames_BT3HW = torch.zeros(len(clips), frames, 3, height, width)
    padding_mask_BTHW = torch.ones(len(clips), frames, height, width, dtype=torch.bool)
    for b, (clip, (h, w)) in enumerate(zip(clips, sizes, strict=True)):
        frames_BT3HW[b, ..., :h, :w] = clip.frames_T3HW
        padding_mask_BTHW[b, ..., :h, :w] = False
    return Batch(
        frames_BT3HW=frames_BT3HW,
        padding_mask_BTHW=padding_mask_BTHW,
        sizes=sizes,
        instances=tuple(clip.instances for clip in clips),
        video_ids=tuple(clip.video_id for clip in clips),
    )


class _Parts(Dataset):
    """Map-style: (step, first position) -> Batch, from (seed, step, position) alone."""

    def __init__(self, dataset: ClipDataset, batch_clips: int, part_clips: int, seed: int, pad_multiple: int) -> None:
        self.dataset = dataset
        self.batch_clips = batch_clips
        self.part_clips = part_clips
        self.seed = seed
        self.pad_multiple = pad_multiple
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __getitem__(self, part: tuple[int, int]) -> Batch | InputError:
        """An InputError is handed over as a value: raised in a worker it would arrive with a stack trace in it."""
        step, first = part
        clips = []
        for position in range(first, first + self.part_clips):
            index = self._index(step * self.batch_clips + position)
            try:
                clips.append(self.dataset.clip(index, np.random.default_rng([self.seed, 1, step, position])))
            except InputError as error:
                return InputError(f"{error} (met at training step {step})")
        return collate(clips, self.pad_multiple)

    def _index(self, sample: int) -> int:
        """Index of the `sample`-th clip of the run: shuffled epochs, one after the other."""
        epoch, place = divmod(sample, len(self.dataset))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.dataset))
        return int(self._order[place])


def _outlive_a_stop_request(_worker: int) -> None:
    """A scheduler signals every process of a job, and the training needs this one until it has saved; twice ends it."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _frame: signal.signal(number, signal.SIG_DFL))


class ClipLoader:
    """Iterates over the batches of steps start_step..steps-1.

    dataset: a ClipDataset or StillClipDataset. batch_clips: clips per step. seed: natural number. A batch depends only
    on (seed, step, position), so that a run resumed at `start_step` sees what an unbroken one would have seen.
    workers: processes that prepare batches; 0 prepares them in this one.
    part_clips and firsts cut a step's batch: one Batch of `part_clips` clips from each of the positions `firsts`;
    by default the step's whole batch. Raises InputError for an unreadable frame, naming it and the step.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        batch_clips: int,
        steps: int,
        seed: int,
        pad_multiple: int,
        start_step: int = 0,
        workers: int = 0,
        part_clips: int | None = None,
        firsts: tuple[int, ...] = (0,),
    ) -> None:
        self._batches = _Parts(dataset, batch_clips, part_clips or batch_clips, seed, pad_multiple)
        self._parts = [(step, first) for step in range(start_step, steps) for first in firsts]
        self._workers = workers

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        # The generator is given so that the workers' base seed, which nothing uses, is not drawn from global state.
        loader = DataLoader(
            self._batches,
            batch_size=None,
            sampler=self._parts,
            num_workers=self._workers,
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_outlive_a_stop_request,
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch
