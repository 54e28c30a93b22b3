"""Parameters and FLOPs of models. Nothing is computed: on the meta device tensors have shapes and no values."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from statistics import mean

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from mssts.config import Config, ModelSection
from mssts.core.csv_files import write_csv
from mssts.data.augmentation import resized_size
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import entry, is_generated
from mssts.models import MsStsVis, build_model, count_parameters
from mssts.study.complexity_file import COLUMNS
from mssts.study.resolve import ResolvedStudy

IMAGE_SIZE = (480, 640)  # px, of most images of COCO
COCO_CATEGORIES = 80
VIDEO_SIZE = (720, 1280)  # px, of most videos of YouTube-VIS


def frame_size(config: Config, dataset: str) -> tuple[int, int]:
    """(height, width) in px of a frame at inference; a user's videos are assumed to be 16:9.

    Of COCO the mean in the pre-training, for most of its images are 480 x 640 px.
    """
    if dataset == COCO_DIRECTORY:
        sizes = config.still_sizes()
        return resized_size(*IMAGE_SIZE, round(mean(sizes["short_sides"])), sizes["max_long_side"])
    synthetic = config.data.synthetic
    video = (synthetic.height, synthetic.width) if is_generated(dataset) else VIDEO_SIZE
    return resized_size(*video, config.predict.short_side, None)


def category_count(dataset: str) -> int:
    """Number of categories of a dataset or of COCO."""
    return COCO_CATEGORIES if dataset == COCO_DIRECTORY else len(entry(dataset).categories)


@cache
def meta_model(config: ModelSection, backbone: str, dataset: str) -> MsStsVis:
    """The model for the categories of a dataset or of COCO, on the meta device."""
    with torch.device("meta"):
        return build_model(config, backbone, category_count(dataset))


def parameters(config: ModelSection, backbone: str, dataset: str) -> int:
    """Number of parameters at inference, frozen ones included."""
    return count_parameters(meta_model(config, backbone, dataset))


@cache
def forward_flops(config: ModelSection, backbone: str, dataset: str, frames: int, size: tuple[int, int]) -> float:
    """FLOPs of a clip of `frames` frames of size (height, width) px; `complexity_file.COUNTED` says which."""
    counter = FlopCounterMode(display=False)
    with counter:
        meta_model(config, backbone, dataset).eval()(torch.empty(1, frames, 3, *size, device="meta"))
    return float(counter.get_total_flops())


def write_complexity(study: ResolvedStudy, output: Path) -> None:
    """Write the parameters of every model of a study and the FLOPs of one clip of the training length as CSV."""
    rows = []
    for dataset, backbone, variant in product(study.spec.datasets, study.spec.backbones, study.spec.variants):
        config = study.configs[variant]
        frames, size = config.train.frames, frame_size(config, dataset)
        count = parameters(config.model, backbone, dataset)
        flops = forward_flops(config.model, backbone, dataset, frames, size)
        rows.append([dataset, backbone, variant, frames, *size, count, int(flops)])
    write_csv(output, pd.DataFrame(rows, columns=COLUMNS))
