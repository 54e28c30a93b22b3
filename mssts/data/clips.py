"""Training clips: the choice of frames and instances, and batches that depend only on (seed, step, position)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mssts.config import DataSection
from mssts.core.errors import InputError
from mssts.core.records import Batch, Clip, Instances
from mssts.data.augmentation import View, augment, normalise, photometric_distortion, resize_masks
from mssts.data.datasets import VideoSplit
from mssts.data.frames import FrameStore
from mssts.ytvis.tracks import Video

NEIGHBOUR_REACH = 3
MAX_DRAWS = 100
ABSENT_BOX = 1e-6


def sample_frames(rng: np.random.Generator, length: int, reference: int, frames: int) -> list[int]:
    """Draw the frames of a clip around a reference frame [code].

    One neighbour lies 1-3 frames before and one after (clamped). The rest is drawn from outside that span, whose last
    frame may be drawn again; from the whole video if too few are outside. One frame: the reference; two: the reference
    and one of the neighbours [ours]. A video with fewer frames than needed repeats some.

    Args:
        rng: Source of the random numbers.
        length: Number of frames of the video.
        reference: Position of the reference frame.
        frames: Number of frames to draw.

    Returns:
        Sorted positions in the video.
    """
    before, after = rng.integers(1, NEIGHBOUR_REACH + 1, 2)
    low, high = max(0, reference - int(before)), min(length - 1, reference + int(after))
    # Differs: the public SeqFormer code keeps the first one or two of reference and neighbours, the reference or not.
    if frames == 1:
        return [reference]
    if frames == 2:
        neighbour = low if rng.random() < 0.5 else high
        if neighbour == reference:
            neighbour = low + high - neighbour
        return sorted([reference, neighbour])
    remaining = frames - 3
    pool = [*range(low), *range(high, length)]
    # Differs: the public SeqFormer code takes the whole video also where just enough frames are outside.
    if len(pool) < remaining:
        pool = list(range(length))
    drawn = rng.choice(pool, remaining, replace=len(pool) < remaining).tolist()
    return sorted([reference, low, high, *drawn])


class ClipDataset:
    """Clips of a video split; index i stands for the i-th frame of the split as the reference frame [code].

    An instance is left out if it is a crowd or shows no pixel in the clip. A clip without an instance is drawn again
    from another reference frame.

    Args:
        split: The videos.
        frames: Number of frames T of a clip.
        data_config: Section of the configuration.
        with_foreign_foreground: Draw with each clip the foreground of another video [ours]. All else stays the same.
    """

    def __init__(
        self, split: VideoSplit, frames: int, data_config: DataSection, with_foreign_foreground: bool = False
    ) -> None:
        self.split = split
        self.frames = frames
        self.data_config = data_config
        self.with_foreign_foreground = with_foreign_foreground
        self._store = FrameStore(split)
        self._ends_V = np.cumsum([video.length for video in split.videos])

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """(id, name) sorted by id; the position is the index of the class logit."""
        return self.split.categories

    def __len__(self) -> int:
        return int(self._ends_V[-1])

    def _reference(self, index: int) -> tuple[Video, int]:
        """The video of a reference frame, and the frame's position in it."""
        position = int(np.searchsorted(self._ends_V, index, side="right"))
        video = self.split.videos[position]
        return video, index - int(self._ends_V[position]) + video.length

    def clip(self, index: int, rng: np.random.Generator) -> Clip:
        """The clip around reference frame `index`; all random numbers come from `rng`.

        Raises:
            InputError: If an image is unreadable, or if 100 reference frames give no instance, or, for the foreign
                foreground, those of the other videos.
        """
        for _ in range(MAX_DRAWS):
            clip = self._draw(*self._reference(index), rng)
            if clip is not None:
                if not self.with_foreign_foreground:
                    return clip
                height, width = clip.frames_T3HW.shape[-2:]
                (child,) = rng.spawn(1)  # does not change what `rng` draws
                return replace(clip, foreign_foreground_THW=self._foreign_foreground(index, (height, width), child))
            index = int(rng.integers(len(self)))
        raise InputError(
            f"{self.split.annotations.path}: {MAX_DRAWS} consecutive clips contain no instance; expected objects "
            "other than crowds in most videos. Check the annotations."
        )

    def _draw(self, video: Video, reference: int, rng: np.random.Generator) -> Clip | None:
        """The clip around a reference frame; None if it shows no instance."""
        indices, chosen = self._choose(video, reference, rng)
        # Differs: the public SeqFormer code stops at a video that shows crowds only; here another is drawn.
        if not chosen:
            return None
        frames_T3HW, masks_NTHW = self._load(video, indices, chosen, rng)
        frames_T3HW, masks_NTHW = augment(frames_T3HW, masks_NTHW, self.data_config, rng)
        masks_NTHW = masks_NTHW.as_subclass(torch.Tensor)
        seen = masks_NTHW.flatten(1).any(1)
        if not seen.any():
            return None
        masks_NTHW = masks_NTHW[seen]
        objects = self._store.objects(video)
        labels = torch.tensor([self.split.labels[objects[n].category_id] for n in chosen])
        instances = Instances(labels[seen], boxes_of_masks(masks_NTHW), masks_NTHW)
        # Differs: the public SeqFormer code distorts the colours of frames before it resizes them; here
        # after, on fewer pixels.
        frames_T3HW = self._distort(frames_T3HW, rng)
        return Clip(video.id, tuple(indices), normalise(frames_T3HW, self.data_config), instances)

    def _foreign_foreground(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
        """Foreground of a clip of another video than that of reference frame `index`, drawn and augmented like any.

        Returns:
            (T, H, W) bool, resized to `size`, (H, W) pixels; some frame shows foreground.
        """
        video, t = self._reference(index)
        others = len(self) - video.length
        for _ in range(MAX_DRAWS if others else 0):
            other = int(rng.integers(others))
            other += video.length if other >= index - t else 0  # the frames of a video have consecutive indices
            other_video, reference = self._reference(other)
            indices, chosen = self._choose(other_video, reference, rng)
            if not chosen:
                continue
            masks_1THW = self._store.masks(other_video, indices)[chosen].any(0, keepdim=True)
            no_frames_T1HW = torch.zeros_like(masks_1THW[0, :, None], dtype=torch.uint8)
            _, masks_1THW = augment(no_frames_T1HW, masks_1THW, self.data_config, rng)
            foreground_THW = resize_masks(masks_1THW, size)[0].as_subclass(torch.Tensor)
            if foreground_THW.any():
                return foreground_THW
        raise InputError(
            f"{self.split.annotations.path}: found no object in the videos other than {video.id} "
            f"({others} frames, {MAX_DRAWS} draws); expected objects other than crowds in several videos. The "
            "foreground-background loss compares with them: check the annotations."
        )

    def _choose(self, video: Video, reference: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Positions of the clip's frames in the video, and of its instances among the video's objects."""
        indices = sample_frames(rng, video.length, reference, self.frames)
        objects = self._store.objects(video)
        return indices, [n for n, track in enumerate(objects) if track.masks.present_T[indices].any()]

    def _load(self, video: Video, indices: list[int], chosen: list[int], rng: np.random.Generator) -> View:
        """Frames (T, 3, H, W) uint8 and masks (N, T, H, W) bool of the chosen objects, before augmentation."""
        frames_T3HW, masks_NTHW = self._store.clip(video, indices)
        return frames_T3HW, masks_NTHW[chosen]

    def _distort(self, frames_T3HW: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Frames of the clip with changed colours, if the configuration says so."""
        return photometric_distortion(frames_T3HW, rng) if self.data_config.photometric else frames_T3HW


def boxes_of_masks(masks_NTHW: torch.Tensor) -> torch.Tensor:
    """Boxes around masks, from outermost pixel to outermost pixel.

    Args:
        masks_NTHW: (N, T, H, W) bool.

    Returns:
        (N, T, 4) float32, centre x, centre y, width, height relative to the frame; 1e-6 each for an empty mask [code].
    """
    # Differs: the public SeqFormer code takes the annotations' boxes; of pseudo-clips, boxes of the masks without the
    # last row and column.
    height, width = masks_NTHW.shape[-2:]
    axes = ((masks_NTHW.any(-2).to(torch.uint8), width), (masks_NTHW.any(-1).to(torch.uint8), height))
    left, top = (shown.argmax(-1) / size for shown, size in axes)
    right, bottom = ((size - shown.flip(-1).argmax(-1)) / size for shown, size in axes)
    boxes_NT4 = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], -1)
    return torch.where(masks_NTHW.flatten(2).any(-1, keepdim=True), boxes_NT4, ABSENT_BOX)


def collate(clips: list[Clip], pad_multiple: int) -> Batch:
    """A batch of clips of one length, padded at right and bottom to a common multiple of `pad_multiple` pixels."""
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
        foreign_foregrounds_THW=tuple(
            clip.foreign_foreground_THW for clip in clips if clip.foreign_foreground_THW is not None
        ),
    )


class ClipSource(Protocol):
    """What a `ClipLoader` draws from."""

    def __len__(self) -> int: ...

    def clip(self, index: int, rng: np.random.Generator) -> Clip:
        """The clip of an index; all random numbers come from `rng`."""


@lru_cache(maxsize=1)
def _epoch_order(seed: int, epoch: int, clips: int) -> np.ndarray:
    """Order of the clips in an epoch."""
    return np.random.default_rng([seed, 0, epoch]).permutation(clips)


@dataclass(frozen=True)
class _MicroBatches(Dataset):
    """Map-style dataset: (step, first position) -> Batch, a function of (seed, step, position) only."""

    dataset: ClipSource
    batch_clips: int
    micro_batch_clips: int
    seed: int
    pad_multiple: int

    def __getitem__(self, key: tuple[int, int]) -> Batch | InputError:
        """An InputError is returned: if a worker raised it, a stack trace would be added to its message."""
        step, first = key
        clips = []
        for position in range(first, first + self.micro_batch_clips):
            epoch, sample = divmod(step * self.batch_clips + position, len(self.dataset))
            index = int(_epoch_order(self.seed, epoch, len(self.dataset))[sample])
            try:
                clips.append(self.dataset.clip(index, np.random.default_rng([self.seed, 1, step, position])))
            except InputError as error:
                return InputError(f"{error} (at training step {step})")
        return collate(clips, self.pad_multiple)


def _ignore_first_stop_request(_worker: int) -> None:
    """Ignore the first stop signal: a scheduler sends it to all processes, but training still has to save."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _frame: signal.signal(number, signal.SIG_DFL))


class ClipLoader:
    """Iterates over the batches of the steps start_step..steps-1.

    A batch depends only on (seed, step, position): a run that is resumed at `start_step` gets the batches of an
    uninterrupted one.

    Args:
        dataset: The clips.
        batch_clips: Clips per step.
        steps: Number of steps.
        seed: Seed of the order and of all draws, at least 0.
        pad_multiple: The sides of a batch are multiples of this number of pixels.
        start_step: The first step.
        workers: Processes that prepare batches; 0: this process prepares them.
        micro_batch_clips: Clips per micro-batch; None: the whole batch of a step is one.
        firsts: Position in the step's batch of the first clip of each micro-batch that this process gets.
        pinned: Whether batches are in page-locked memory, for a GPU.

    Raises:
        InputError: While iterating, for an unreadable frame, with the step.
    """

    def __init__(
        self,
        dataset: ClipSource,
        batch_clips: int,
        steps: int,
        seed: int,
        pad_multiple: int,
        start_step: int = 0,
        workers: int = 0,
        micro_batch_clips: int | None = None,
        firsts: tuple[int, ...] = (0,),
        pinned: bool = False,
    ) -> None:
        self._loader = DataLoader(
            _MicroBatches(dataset, batch_clips, micro_batch_clips or batch_clips, seed, pad_multiple),
            batch_size=None,
            sampler=[(step, first) for step in range(start_step, steps) for first in firsts],
            num_workers=workers,
            pin_memory=pinned,
            # the base seed of the workers, which is not used, is not drawn from the global state
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_ignore_first_stop_request,
        )

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch
