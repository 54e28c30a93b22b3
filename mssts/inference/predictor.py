"""A trained model with all that it needs to predict frames of any size: what `mssts.load_model` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.data.augmentation import resized_size
from mssts.data.videos import network_frames
from mssts.inference.predict import load_run_model, predict_video
from mssts.models import MsStsVis
from mssts.models.faster import faster
from mssts.models.model import MASK_FEATURE_STRIDE

BYTES_PER_VALUE = 26 * 4  # of a frame's encoder output at stride 8; measured with ResNet-50: 24 float32 values for each


@dataclass(frozen=True)
class PredictedTrack:
    """One object of a video.

    Attributes:
        category_id: Id of its category.
        category: Name of its category.
        score: 0..1.
        segmentations: Run-length mask of each frame, as in a submission; None where it has no pixel.
        boxes: (T, 4) float64, the decoder's boxes: x, y of the upper left corner, width, height in pixels.
        size: (height, width) of a frame in pixels.
    """

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

    Attributes:
        network: The model in eval mode. `network(frames)` takes normalised float32 frames (B, T, 3, H, W).
        config: The configuration that it was trained with.
        categories: (id, name) of each class logit; an empty name where a logit stands for no category.

    Raises:
        InputError: The file is missing or no checkpoint, or has no class head.
    """

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        network, self.config, self.categories = load_run_model(checkpoint)
        self.network: MsStsVis = network.to(device)
        self._faster = faster(self.network)

    def predict(self, frames: np.ndarray | torch.Tensor) -> list[PredictedTrack]:
        """Predict the objects of a video.

        Frames are resized and normalised as in training. The number of tracks, the size and the threshold of masks are
        those of the section `predict` of the configuration.

        Args:
            frames: (T, H, W, 3) uint8, RGB, of any size.

        Returns:
            The tracks, best score first.

        Raises:
            InputError: If the frames have another shape or type, or do not fit into the memory that is free.
        """
        frames_T3HW = _checked(frames)
        original = (frames_T3HW.shape[-2], frames_T3HW.shape[-1])
        short_side = self.config.predict.short_side
        self._require_memory(len(frames_T3HW), resized_size(*original, short_side, None))
        resized = network_frames(frames_T3HW, original, short_side, self.config.data)
        entries, boxes = predict_video(self._faster, resized, 1, original, self.categories, self.config.predict)
        names = dict(self.categories)
        return [
            PredictedTrack(
                entry["category_id"],
                names[entry["category_id"]],
                entry["score"],
                entry["segmentations"],
                np.array(boxes_T4),
                original,
            )
            for entry, boxes_T4 in zip(entries, boxes, strict=True)
        ]

    def _require_memory(self, frames: int, size: tuple[int, int]) -> None:
        cells = (size[0] // MASK_FEATURE_STRIDE + 1) * (size[1] // MASK_FEATURE_STRIDE + 1)
        needed = frames * cells * self.config.model.hidden_dim * BYTES_PER_VALUE
        free = _free_memory(next(self.network.parameters()).device)
        if free is not None and needed > free:
            raise InputError(
                f"the video has {frames} frames, which need about {needed / 1e9:.1f} GB at {size[0]} x {size[1]} "
                f"pixels; found {free / 1e9:.1f} GB free. Predict fewer frames, or every n-th one (--every)."
            )


def _checked(frames: np.ndarray | torch.Tensor) -> torch.Tensor:
    """The frames as (T, 3, H, W)."""
    tensor = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.uint8 or tensor.ndim != 4 or tensor.shape[-1] != 3:
        found = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, torch.Tensor) else type(frames).__name__
        raise InputError(f"frames: found {found}; expected uint8 values of shape (T, H, W, 3), RGB")
    if not tensor.numel():
        raise InputError(f"frames: found shape {tuple(tensor.shape)}; expected at least one frame with pixels")
    return tensor.permute(0, 3, 1, 2)


def _free_memory(device: torch.device) -> int | None:
    """Bytes that are free; None if the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
