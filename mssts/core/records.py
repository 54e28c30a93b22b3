"""Tensor records that are passed between packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch


@dataclass(frozen=True)
class Instances:
    """Ground-truth instances of one clip.

    Attributes:
        labels_N: (N,) int64, index of the class logit, 0..K-1.
        boxes_NT4: (N, T, 4) float32, centre x, centre y, width, height relative to the unpadded frame;
            (1e-6, 1e-6, 1e-6, 1e-6) in a frame from which the instance is absent [code].
        masks_NTHW: (N, T, H, W) bool, in pixels of the unpadded frame; zeros where the instance is absent.
    """

    labels_N: torch.Tensor
    boxes_NT4: torch.Tensor
    masks_NTHW: torch.Tensor

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Instances:
        """Return the record with every tensor changed."""
        return Instances(*(change(getattr(self, field.name)) for field in fields(self)))


@dataclass(frozen=True)
class Clip:
    """One training clip.

    Attributes:
        video_id: Id in the annotation file.
        frame_indices: (T,) sorted positions of the frames in the video.
        frames_T3HW: (T, 3, H, W) float32, normalised by the mean and standard deviation of the config.
        instances: Ground truth.
        foreign_foreground_THW: (T, H, W) bool, union of the true masks of another video, if the clip was drawn with it.
    """

    video_id: int
    frame_indices: tuple[int, ...]
    frames_T3HW: torch.Tensor
    instances: Instances
    foreign_foreground_THW: torch.Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Clips of one length, padded at the right and bottom to a common size.

    Attributes:
        frames_BT3HW: (B, T, 3, H, W) float32, zeros in the padding.
        padding_mask_BTHW: (B, T, H, W) bool, True where padded.
        sizes: Unpadded (height, width) of each clip in pixels.
        instances: Ground truth of each clip; its masks are not padded.
        video_ids: Video of each clip, for messages.
        foreign_foregrounds_THW: Foreign foreground of each clip that was drawn with one; not padded.
    """

    frames_BT3HW: torch.Tensor
    padding_mask_BTHW: torch.Tensor
    sizes: tuple[tuple[int, int], ...]
    instances: tuple[Instances, ...]
    video_ids: tuple[int, ...] = ()
    foreign_foregrounds_THW: tuple[torch.Tensor, ...] = ()

    @property
    def padding(self) -> torch.Tensor | None:
        """The padding mask; None if no clip is padded, which the sizes tell without a look at the device."""
        padded = tuple(self.padding_mask_BTHW.shape[2:])
        return None if all(size == padded for size in self.sizes) else self.padding_mask_BTHW

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device. The host does not wait until it has been copied there."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the same batch in page-locked memory, from which a GPU copies by itself; `DataLoader` calls this."""
        return self.map(torch.Tensor.pin_memory)

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """Return the batch with every tensor changed."""
        return replace(
            self,
            frames_BT3HW=change(self.frames_BT3HW),
            padding_mask_BTHW=change(self.padding_mask_BTHW),
            instances=tuple(instances.map(change) for instances in self.instances),
            foreign_foregrounds_THW=tuple(map(change, self.foreign_foregrounds_THW)),
        )
