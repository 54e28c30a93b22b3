"""One small generated dataset for all tests of this room; its validation split has the size of the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssts.config import DataSection, SyntheticSection
from mssts.data.clips import ClipDataset
from mssts.data.datasets import split_annotations
from mssts.data.synthvis import generate as synthvis

SIZES = SyntheticSection(train_videos=6, valid_videos=240, control_videos=6, still_images=24, height=64, width=96)


@pytest.fixture(scope="session")
def synthvis_dir(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("generated") / "synthvis"
    synthvis.generate(SIZES, "synthvis", output)
    return output


@pytest.fixture
def settings() -> DataSection:
    """Augmentation off, frames of 64 x 96 px kept."""
    return DataSection(
        synthetic=SIZES,
        short_sides=[64],
        max_long_side=96,
        crop=False,
        photometric=False,
        flip=0.0,
        pad_multiple=32,
        mean=[0.5, 0.5, 0.5],
        std=[0.25, 0.25, 0.25],
    )


@pytest.fixture
def train(synthvis_dir, settings) -> ClipDataset:
    return ClipDataset(split_annotations("synthvis", synthvis_dir, "train"), 4, settings)
