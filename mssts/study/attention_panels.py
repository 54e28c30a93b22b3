"""Attention maps of the baseline and of a variant, on the cases that `attention_cases` chooses [ours]."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mssts.config import Config
from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.videos import read_video
from mssts.inference.attention_maps import MAP_STRIDE, declared_attention, query_map, run_and_record, temporal_maps
from mssts.inference.predict import load_run_model
from mssts.models import MsStsVis
from mssts.study import attention_cases
from mssts.study.attention_cases import AttentionComparison, Case, Panel, TemporalMap
from mssts.study.paths import dataset_dir
from mssts.study.runs import StudyRuns

QUERY_QUANTILE = 0.99  # the colour scale of a query's maps ends at this quantile over the clip


class Network(NamedTuple):
    """A trained model in eval mode, its configuration, and a suffix for the labels of its parts."""

    model: MsStsVis
    config: Config
    suffix: str


def compare_attention(runs: StudyRuns) -> AttentionComparison | None:
    """Compute the attention maps of a study; None if the baseline or every variant that could be shown is missing."""
    pair = attention_cases.select_results(runs)
    if pair is None:
        return None
    variant, titles = pair[1], runs.study.titles
    torch.set_num_threads(runs.study.baseline.runtime.threads)
    networks = []
    for result in (*pair, *attention_cases.further_results(runs, variant)):
        model, config, _ = load_run_model(result.run.directory / "checkpoint.pt")
        networks.append(Network(model, config, "" if result in pair else f" ({titles[result.run.variant]})"))
    directory = dataset_dir(runs.study.spec.scale, variant.run.dataset)
    split = split_annotations(variant.run.dataset, directory, variant.split)
    cases = attention_cases.select_cases(split.annotations, *map(attention_cases.found_by, pair))
    panels = [attention_panel(case, split, networks, runs.study.baseline.predict.short_side) for case in cases]
    nothing_to_show = [
        part + network.suffix
        for network in networks[1:]
        for part in _parts_without_attention(network.model)
        if part not in _parts_without_attention(networks[0].model)
    ]
    return AttentionComparison(variant, titles[variant.run.variant], panels, nothing_to_show)


def _parts_without_attention(model: MsStsVis) -> list[str]:
    """Names of the encoder branches and decoder blocks that declare no attention."""
    branches, blocks = model.encoder.layers[0].branches, model.decoder.layers[0].blocks
    return [*(name for name, branch in branches.items() if not declared_attention(branch)), *blocks]


def attention_panel(case: Case, split: VideoSplit, networks: list[Network], short_side: int) -> Panel:
    """Compute the maps of a case.

    Args:
        case: The case.
        split: Its split.
        networks: Baseline, variant, and further models of which only the encoder branches are shown.
        short_side: Short side of the frames in pixels.
    """
    video = split.annotations.videos[case.instance.video_id]
    masks = case.instance.masks.decode(range(video.length))
    frames = attention_cases.shown_frames(masks)
    frame, x, y = attention_cases.marked_pixel(masks, frames)
    point = ((x + 0.5) / video.width, (y + 0.5) / video.height)
    queries, temporal = [], dict[str, TemporalMap]()
    for position, network in enumerate(networks):
        frames_T3HW, _ = read_video(split, video, short_side, network.config.data)
        height, width = frames_T3HW.shape[-2:]
        output, record = run_and_record(network.model, frames_T3HW)
        if position < len(case.ranks):
            ranked = output.logits[0].sigmoid().flatten().argsort(descending=True, stable=True)
            query = int(ranked[case.ranks[position]]) // output.logits.shape[-1]
            maps = query_map(record, query, (-(-height // MAP_STRIDE), -(-width // MAP_STRIDE)))
            queries.append(_scaled(maps, QUERY_QUANTILE)[frames])
        if position > 0:
            for branch, maps in temporal_maps(record, frame, point, (height, width)).items():
                shares = maps.sum((1, 2)).numpy()[frames]
                temporal[branch + network.suffix] = TemporalMap(_scaled(maps, 1.0)[frames], shares)
    data = network.config.data
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    images = (frames_T3HW[frames] * deviation + mean).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    marked = (frames.index(frame), x, y)
    return Panel(case, frames, images, masks[frames], queries[0], queries[1], temporal, marked)


def _scaled(maps_THW: torch.Tensor, quantile: float) -> np.ndarray:
    """Maps in 0..1: divided by a quantile over the clip, and cut off there."""
    scale = torch.quantile(maps_THW.flatten(), quantile).clamp(min=torch.finfo(maps_THW.dtype).tiny)
    return (maps_THW / scale).clamp(max=1).numpy()
