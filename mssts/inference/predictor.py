"""A trained model with all that it needs to predict frames of any size: what `mssts.load_model` returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from mssts.config import PredictSection, validated
from mssts.core.errors import InputError, shown
from mssts.data.augmentation import resized_size
from mssts.data.videos import network_frames
from mssts.inference.predict import load_run_model, tracks_of_windows
from mssts.inference.windows import Tracks
from mssts.models import MsStsVis
from mssts.models.faster import faster
from mssts.models.model import MASK_FEATURE_STRIDE

Frames = np.ndarray | torch.Tensor | Iterable[np.ndarray | torch.Tensor]
BYTES_PER_VALUE = 26 * 4  # of a frame's encoder output at stride 8; measured with ResNet-50: 24 float32 values for each


@dataclass(frozen=True)
class PredictedTrack:
    """One object of a video.

    Attributes:
        number: Number of the object; two tracks have the same one where an object is reported with two categories.
        category_id: Id of its category.
        category: Name of its category.
        score: 0..1.
        segmentations: Run-length mask of each frame, as in a submission; None where it has no pixel.
        boxes: (T, 4) float64, the decoder's boxes: x, y of the upper left corner, width, height in pixels.
        size: (height, width) of a frame in pixels.
    """

    number: int
    category_id: int
    category: str
    score: float
    segmentations: list[dict[str, Any] | None]
    boxes: np.ndarray
    size: tuple[int, int]

    def mask(self, frame: int) -> np.ndarray:
        """Its mask in a frame, (H, W) bool."""
        found = self.segmentations[frame]
        return np.zeros(self.size, bool) if found is None else np.asarray(coco_mask.decode(found), bool)

    @property
    def masks(self) -> np.ndarray:
        """Its masks in all frames, (T, H, W) bool, decoded at each call."""
        return np.stack([self.mask(frame) for frame in range(len(self.segmentations))])


class Predictor:
    """A model that is ready to predict.

    Args:
        checkpoint: checkpoint.pt of a run, or an imported one.
        device: "cpu", "cuda" or "cuda:1".
        settings: Values of the section `predict` in place of those in the checkpoint, such as {"window": 36}.

    Attributes:
        network: The model in eval mode. `network(frames)` takes normalised float32 frames (B, T, 3, H, W).
        config: The configuration that it was trained with, with these values.
        categories: (id, name) of each class logit; an empty name where a logit stands for no category.

    Raises:
        InputError: The file is missing or no checkpoint, or has no class head; a value is wrong; or there is no such
            device.
    """

    def __init__(
        self, checkpoint: Path, device: str = "cpu", settings: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        _check_device(device)
        network, config, self.categories = load_run_model(checkpoint)
        section = validated(PredictSection, config.predict.model_dump() | dict(settings), "predict")
        self.config = config.model_copy(update={"predict": section})
        self.network: MsStsVis = network.to(device)
        self._faster = faster(self.network)

    def predict(self, frames: Frames) -> list[PredictedTrack]:
        """Predict the objects of a video.

        Frames are resized and normalised as in training. The number of tracks, the size and the threshold of masks are
        those of the section `predict` of the configuration. A video of more than `predict.window` frames is computed in
        windows: an iterator is read frame by frame, and memory depends on the window alone.

        Args:
            frames: (T, H, W, 3) uint8, RGB, of any size; or an iterable of frames (H, W, 3) of one size.

        Returns:
            The tracks, best score first.

        Raises:
            InputError: If the frames have another shape or type, or a window does not fit into the memory that is free.
        """
        *_, last = self._windows(frames)
        return self._tracks(*last)

    def predict_stream(self, frames: Frames) -> Iterator[list[PredictedTrack]]:
        """As `predict`, for a video whose end is not there yet.

        Args:
            frames: As for `predict`.

        Yields:
            After each window, the tracks in all frames up to its end. A track keeps its `number`. Later windows change
            scores, so that other tracks may be among the best, and masks in the second half of the overlap.

        Raises:
            InputError: As of `predict`.
        """
        for found in self._windows(frames):
            yield self._tracks(*found)

    def _windows(self, frames: Frames) -> Iterator[tuple[Tracks, tuple[int, int]]]:
        """The tracks after each window, and (height, width) of the video."""
        video, section = _checked(frames), self.config.predict
        first = next(video)
        original = (first.shape[-2], first.shape[-1])
        known = len(frames) if isinstance(frames, Sized) else 1
        within_memory = self._within_memory(chain([first], video), known, original)
        resized = network_frames(within_memory, original, section.short_side, self.config.data)
        for tracks in tracks_of_windows(self._faster, resized, 1, original, self.categories, section):
            yield tracks, original

    def _tracks(self, tracks: Tracks, size: tuple[int, int]) -> list[PredictedTrack]:
        return [
            PredictedTrack(
                found.number,
                *self.categories[found.label],
                found.score,
                found.segmentations,
                np.array(found.boxes),
                size,
            )
            for found in tracks.best()
        ]

    def _within_memory(
        self, frames: Iterator[torch.Tensor], known: int, original: tuple[int, int]
    ) -> Iterator[torch.Tensor]:
        """The frames; an error before the one with which a window needs more memory than is free.

        Args:
            frames: Frames of a video.
            known: The number of its frames, as far as it is known.
            original: (height, width) of the frames in pixels.
        """
        size = resized_size(*original, self.config.predict.short_side, None)
        cells = (size[0] // MASK_FEATURE_STRIDE + 1) * (size[1] // MASK_FEATURE_STRIDE + 1)
        needed = cells * self.config.model.hidden_dim * BYTES_PER_VALUE
        free = _free_memory(next(self.network.parameters()).device)
        for number, frame in enumerate(frames, 1):
            window = min(max(number, known), self.config.predict.window)
            if free is not None and window * needed > free:
                raise InputError(
                    f"a window of {window} frames needs about {window * needed / 1e9:.1f} GB at {size[0]} x {size[1]} "
                    f"pixels; found {free / 1e9:.1f} GB free. Make predict.window and predict.overlap smaller."
                )
            yield frame


def _checked(frames: Frames) -> Iterator[torch.Tensor]:
    """The frames as (3, H, W), all of one size, at least one."""
    size = None
    for number, frame in enumerate(frames):
        tensor = torch.from_numpy(np.ascontiguousarray(frame)) if isinstance(frame, np.ndarray) else frame
        is_tensor = isinstance(tensor, torch.Tensor)
        is_frame = is_tensor and tensor.dtype == torch.uint8 and tensor.shape[2:] == (3,) and tensor.numel()
        if not is_frame or tensor.shape != (size or tensor.shape):
            found = f"{tensor.dtype} {tuple(tensor.shape)}" if is_tensor else type(frame).__name__
            expected = f"{tuple(size)}, that of frame 0" if size else "(H, W, 3), RGB"
            raise InputError(f"frames: found {found} as frame {number}; expected uint8 values of shape {expected}")
        size = tensor.shape
        yield tensor.permute(2, 0, 1)
    if size is None:
        raise InputError("frames: found none; expected at least one, of shape (H, W, 3)")


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(device)):
        raise InputError(f"device: found {shown(device)}; expected cpu, cuda or cuda:1")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter by a PyTorch that was built without CUDA
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device: found {device}, which PyTorch {torch.__version__} cannot use: {reason}; expected a device that "
            "this machine has, or cpu"
        ) from None


def _free_memory(device: torch.device) -> int | None:
    """Bytes that are free; None if the system does not say."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
