"""mssts: a reproducible benchmarking and ablation pipeline for MS-STS video instance segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mssts.models import MsStsVis

__all__ = ["load_model"]


def load_model(checkpoint: str | Path) -> MsStsVis:
    """Load the model of a checkpoint, a run's or an imported one, in eval mode on the CPU.

    `out = model(frames, padding_mask=None)` takes normalised float32 frames (B, T, 3, H, W) of any T, H and W. It has
    `out.logits` (B, N, K), `out.boxes` (B, T, N, 4; cx, cy, w, h relative to the unpadded frame), and
    `out.mask_logits(-1, clip, queries)` (n, T, H/4, W/4) for chosen instances.

    Raises:
        InputError: The file is missing or no checkpoint.
    """
    from mssts.inference.predict import load_run_model

    return load_run_model(Path(checkpoint))[0]
