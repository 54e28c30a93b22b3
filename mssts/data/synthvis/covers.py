"""What an annotation file does not record of a generated video: how much fog and occluders cover, frame by frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mssts.config import SyntheticSection
from mssts.data.datasets import entry
from mssts.data.synthvis.attributes import MIN_VISIBLE_PX
from mssts.data.synthvis.render import render
from mssts.data.synthvis.scene import video_scene

SPLITS = ("train", "valid")  # of videos with fog or occluders


class Covers(NamedTuple):
    """Covered shares of the visible mask of one object.

    Attributes:
        fogged_T: (T,) in 0..1, below fog.
        occluded_T: (T,) in 0..1, below an occluder.
    """

    fogged_T: np.ndarray
    occluded_T: np.ndarray

    @property
    def covered_T(self) -> np.ndarray:
        """(T,) in 0..1, below either; an upper bound where they overlap."""
        return np.minimum(self.fogged_T + self.occluded_T, 1.0)


def rendered_covers(synthetic_config: SyntheticSection, dataset: str, split: str, video_id: int) -> list[Covers]:
    """Render a video again.

    Args:
        synthetic_config: The configuration that the dataset was generated with.
        dataset: Name of a generated dataset.
        split: One of `SPLITS`.
        video_id: Id of the video.

    Returns:
        Of each annotation of the video, in the order of the file.
    """
    index, seeds = video_id - 1, entry(dataset).seeds or {}
    rng = np.random.default_rng([seeds[split], index])
    rendering = render(video_scene(rng, index, synthetic_config.height, synthetic_config.width), rng)
    annotated_N = (rendering.visible_NTHW.sum(axis=(2, 3)) >= MIN_VISIBLE_PX).any(axis=1)
    shares = rendering.fogged_share_NT[annotated_N], rendering.occluded_share_NT[annotated_N]
    return list(map(Covers, *shares))
