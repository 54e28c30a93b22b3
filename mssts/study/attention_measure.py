"""AUROC of the encoder maps of every trained run of a study's first dataset, split and backbone [ours]."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from mssts.config import Config, DataSection
from mssts.core.distributed import available_device
from mssts.core.environment import set_tf32
from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.videos import read_video
from mssts.inference.attention_maps import encoder_map
from mssts.inference.predict import load_run_model
from mssts.models import MsStsVis
from mssts.models.model import MASK_FEATURE_STRIDE
from mssts.study.attention_auroc import MeanAuroc, instance_aurocs, summarise
from mssts.study.attention_cases import Challenges, read_challenges
from mssts.study.attention_runs import trained_results
from mssts.study.differences import Size
from mssts.study.resolve import ResolvedStudy
from mssts.study.runs import ALL_INSTANCES, Result, StudyRuns
from mssts.ytvis.tracks import Video


def measure_auroc(runs: StudyRuns) -> list[MeanAuroc]:
    """Measure every run that has a checkpoint; a variant without one is not run."""
    if not (benchmarks := runs.benchmarks()):
        return []
    benchmark, study = benchmarks[0], runs.study
    results = trained_results(runs, benchmark)
    if not any(results.values()):
        return [MeanAuroc(benchmark, variant, 0, ALL_INSTANCES, Size(0, 0)) for variant in results]
    split, challenges = read_split(study, benchmark.dataset, benchmark.split)
    aurocs: dict[str, list[dict[int, float]]] = {variant: [] for variant in results}
    for variant, own in results.items():
        for result in own:
            model, trained = load_model(result, study.baseline)
            aurocs[variant].append(split_aurocs(model, split, study.baseline.predict.short_side, trained.data))
    return summarise(benchmark, aurocs, split.annotations, challenges, study.baseline.evaluation)


def read_split(study: ResolvedStudy, dataset: str, split: str) -> tuple[VideoSplit, Challenges]:
    """A split of a study's dataset, and the challenges of its instances."""
    found = split_annotations(dataset, study.data_dir(dataset), split)
    return found, read_challenges(found.annotations, dataset, split, study.baseline.data.synthetic)


def load_model(result: Result, config: Config) -> tuple[MsStsVis, Config]:
    """The model of a run in eval mode on the device of `config`, and the configuration that it was trained with.

    Raises:
        InputError: The device is missing, or the checkpoint is missing, damaged, or of another version.
    """
    device = available_device(config.runtime.device)
    torch.set_num_threads(config.runtime.threads)
    set_tf32(config.runtime.tf32)
    model, trained, _ = load_run_model(result.run.directory / "checkpoint.pt")
    return model.to(device), trained


def split_aurocs(model: MsStsVis, split: VideoSplit, short_side: int, data_config: DataSection) -> dict[int, float]:
    """AUROC of the encoder map of a model for every instance of a split.

    Args:
        model: The model in eval mode.
        split: The split.
        short_side: Short side of the frames in pixels.
        data_config: Section of the configuration with mean and standard deviation.

    Returns:
        {annotation id: AUROC in 0..1}, as from `instance_aurocs`.
    """
    device, found = next(model.parameters()).device, dict[int, float]()
    for video in tqdm(split.videos, desc="encoder maps", unit="video", mininterval=2):
        frames_T3HW, _ = read_video(split, video, short_side, data_config)
        with torch.inference_mode():
            map_TYX = encoder_map(model(frames_T3HW[None].to(device))).cpu().numpy()
        tracks = split.annotations.tracks_of[video.id]
        found |= instance_aurocs(map_TYX, map_extent(map_TYX, frames_T3HW, video), tracks)
    return found


def map_extent(map_TYX: np.ndarray, frames_T3HW: torch.Tensor, video: Video) -> tuple[float, float]:
    """(height, width) that an encoder map covers, in pixels of the video; more than a frame that 8 does not divide."""
    (rows, columns), (height, width) = map_TYX.shape[1:], frames_T3HW.shape[-2:]
    stride = MASK_FEATURE_STRIDE
    return rows * stride * video.height / height, columns * stride * video.width / width
