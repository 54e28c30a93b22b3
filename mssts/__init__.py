"""mssts: a reproducible benchmarking and ablation pipeline for MS-STS video instance segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mssts.inference.predictor import Predictor

__all__ = ["load_model"]
__version__ = "0.1.0"


def load_model(checkpoint: str | Path, device: str = "cpu") -> Predictor:
    """Load the model of a checkpoint, a run's or an imported one, ready to predict.

    `tracks = mssts.load_model(path).predict(frames)` takes uint8 frames (T, H, W, 3) of any size and returns the
    objects found, best score first, with `category`, `score`, `masks` (T, H, W) and `boxes` (T, 4).

    The network itself is `load_model(path).network`. `out = network(frames, padding_mask=None)` takes normalised
    float32 frames (B, T, 3, H, W). It has `out.logits` (B, N, K), `out.boxes` (B, T, N, 4; cx, cy, w, h relative to
    the unpadded frame), and `out.mask_logits(-1, clip, queries)` (n, T, H/4, W/4) for chosen instances.

    Args:
        checkpoint: checkpoint.pt of a run, or a file that `mssts import-weights` has written.
        device: "cpu" or "cuda".

    Raises:
        InputError: The file is missing or no checkpoint.
    """
    from mssts.inference.predictor import Predictor

    return Predictor(Path(checkpoint), device)
