"""Parameters and FLOPs of models. Nothing is computed: on the meta device tensors have shapes and no values."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from mssts import config as configuration
from mssts.config import Config, ModelSection
from mssts.data.augmentation import resized_size
from mssts.data.datasets import entry, is_generated
from mssts.models import MsStsVis, build_model, count_parameters
from mssts.report.complexity import COLUMNS, FILE
from mssts.report.formats import write_csv

VIDEO_SIZE = (720, 1280)  # px, of most videos of YouTube-VIS


def frame_size(config: Config, dataset: str) -> tuple[int, int]:
    """(height, width) in px of a frame at inference; a user's videos are taken to be 16:9."""
    synthetic = config.data.synthetic
    video = (synthetic.height, synthetic.width) if is_generated(dataset) else VIDEO_SIZE
    return resized_size(*video, config.predict.short_side, None)


@cache
def meta_model(config: ModelSection, backbone: str, dataset: str) -> MsStsVis:
    """The model for the categories of a dataset, on the meta device."""
    with torch.device("meta"):
        return build_model(config, backbone, len(entry(dataset).categories))


def parameters(config: ModelSection, backbone: str, dataset: str) -> int:
    """Numbers that are learned, or could be, at inference."""
    return count_parameters(meta_model(config, backbone, dataset))


@cache
def forward_flops(config: ModelSection, backbone: str, dataset: str, frames: int, size: tuple[int, int]) -> float:
    """FLOPs of a clip of `frames` frames of size (height, width) px; see `report.complexity.COUNTED`."""
    counter = FlopCounterMode(display=False)
    with counter:
        meta_model(config, backbone, dataset).eval()(torch.empty(1, frames, 3, *size, device="meta"))
    return float(counter.get_total_flops())


def write_complexity(name: str, output_dir: Path) -> None:
    """Write complexity.csv: each model of the study, with the FLOPs of one clip of the training length."""
    study = configuration.load_study(name)
    configs = {variant: configuration.resolve(study.scale, variant) for variant in study.variants}
    rows = []
    for dataset in study.datasets:
        for backbone in study.backbones:
            for variant, config in configs.items():
                frames, size = config.train.frames, frame_size(config, dataset)
                count = parameters(config.model, backbone, dataset)
                flops = forward_flops(config.model, backbone, dataset, frames, size)
                rows.append([dataset, backbone, variant, frames, *size, count, int(flops)])
    write_csv(Path(output_dir) / FILE, pd.DataFrame(rows, columns=COLUMNS))
