"""Attention maps of the baseline and of a variant, on the cases that `attention_cases` chooses [ours]."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from mssts.config import Config
from mssts.data.datasets import VideoSplit
from mssts.data.videos import read_video
from mssts.inference.attention_maps import (
    MAP_STRIDE,
    declared_attention,
    encoder_map,
    query_map,
    run_and_record,
    temporal_maps,
)
from mssts.models import MsStsVis
from mssts.study import attention_cases
from mssts.study.attention_auroc import instance_aurocs
from mssts.study.attention_cases import Case, Challenges
from mssts.study.attention_comparison import AttentionComparison, EncoderPanel, Picture, QueryPanel, TemporalMap
from mssts.study.attention_measure import load_model, map_extent, read_split
from mssts.study.attention_runs import further_results, select_results
from mssts.study.runs import StudyRuns

QUERY_QUANTILE = 0.99  # the colour scale of a query's maps ends at this quantile over the clip


class Network(NamedTuple):
    """A trained model in eval mode, its configuration, and a suffix for the labels of its parts."""

    model: MsStsVis
    config: Config
    suffix: str


def compare_attention(runs: StudyRuns) -> AttentionComparison | None:
    """Compute the attention maps of a study; None if the baseline or every variant that could be shown is missing."""
    pair = select_results(runs)
    if pair is None:
        return None
    variant, study = pair[1], runs.study
    networks = [
        Network(*load_model(result, study.baseline), "" if result in pair else f" ({study.titles[result.run.variant]})")
        for result in (*pair, *further_results(runs, variant))
    ]
    split, challenges = read_split(study, variant.run.dataset, variant.split)
    found = [attention_cases.found_by(result) for result in pair]
    tracks, short_side = split.annotations.tracks, study.baseline.predict.short_side
    found_by_both = [track for track in tracks if track.id in found[0].keys() & found[1].keys()]
    encoder = [
        encoder_panel(case, split, challenges, networks[:2], short_side)
        for case in attention_cases.select_cases(tracks, challenges, *found)
    ]
    queries = [
        query_panel(case, split, challenges, networks, short_side)
        for case in attention_cases.select_cases(found_by_both, challenges, *found)
    ]
    nothing_to_show = [
        part + network.suffix
        for network in networks[1:]
        for part in _parts_without_attention(network.model)
        if part not in _parts_without_attention(networks[0].model)
    ]
    title = study.titles[variant.run.variant]
    return AttentionComparison(variant, title, challenges.names, encoder, queries, nothing_to_show)


def _parts_without_attention(model: MsStsVis) -> list[str]:
    """Names of the encoder branches and decoder blocks that declare no attention."""
    branches, blocks = model.encoder.layers[0].branches, model.decoder.layers[0].blocks
    return [*(name for name, branch in branches.items() if not declared_attention(branch)), *blocks]


def encoder_panel(
    case: Case, split: VideoSplit, challenges: Challenges, networks: list[Network], short_side: int
) -> EncoderPanel:
    """Compute the encoder maps of a case.

    Args:
        case: The case.
        split: Its split.
        challenges: Of that split.
        networks: Baseline and variant.
        short_side: Short side of the frames in pixels.
    """
    video = split.annotations.videos[case.instance.video_id]
    maps, aurocs = [], []
    for network in networks:
        frames_T3HW, _ = read_video(split, video, short_side, network.config.data)
        with torch.inference_mode():
            map_TYX = encoder_map(network.model(frames_T3HW[None].to(_device(network.model)))).cpu().numpy()
        extent = map_extent(map_TYX, frames_T3HW, video)
        maps.append(map_TYX)
        aurocs.append(instance_aurocs(map_TYX, extent, split.annotations.tracks_of[video.id]).get(case.instance.id))
    picture = _picture(case, split, challenges, frames_T3HW, networks[-1].config)
    limits = min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)
    baseline, variant = (one[picture.frames] for one in maps)
    return EncoderPanel(picture, (baseline, variant), extent, limits, (aurocs[0], aurocs[1]))


def query_panel(
    case: Case, split: VideoSplit, challenges: Challenges, networks: list[Network], short_side: int
) -> QueryPanel:
    """Compute the maps of a case that both models found.

    Args:
        case: The case.
        split: Its split.
        challenges: Of that split.
        networks: Baseline, variant, and further models of which only the encoder branches are shown.
        short_side: Short side of the frames in pixels.
    """
    video = split.annotations.videos[case.instance.video_id]
    frames = attention_cases.shown_frames(case.instance.masks.areas_T)
    frame, x, y = attention_cases.marked_pixel(case.instance.masks.decode(frames), frames)
    point = ((x + 0.5) / video.width, (y + 0.5) / video.height)
    queries, temporal = [], dict[str, TemporalMap]()
    for position, network in enumerate(networks):
        frames_T3HW, _ = read_video(split, video, short_side, network.config.data)
        height, width = frames_T3HW.shape[-2:]
        logits_QK, record = run_and_record(network.model, frames_T3HW.to(_device(network.model)), frame, point)
        if position < len(case.ranks) and (rank := case.ranks[position]) is not None:
            ranked = logits_QK.sigmoid().flatten().argsort(descending=True, stable=True)
            query = int(ranked[rank]) // logits_QK.shape[-1]
            maps = query_map(record, query, (-(-height // MAP_STRIDE), -(-width // MAP_STRIDE)))
            queries.append(_scaled(maps, QUERY_QUANTILE)[frames])
        if position > 0:
            for branch, maps in temporal_maps(record, (height, width)).items():
                shares = maps.sum((1, 2)).numpy()[frames]
                temporal[branch + network.suffix] = TemporalMap(_scaled(maps, 1.0)[frames], shares)
    picture = _picture(case, split, challenges, frames_T3HW, networks[-1].config)
    baseline, variant = queries
    return QueryPanel(picture, video.length, baseline, variant, temporal, (frames.index(frame), x, y))


def _device(model: MsStsVis) -> torch.device:
    return next(model.parameters()).device


def _picture(
    case: Case, split: VideoSplit, challenges: Challenges, frames_T3HW: torch.Tensor, config: Config
) -> Picture:
    """The frames shown of a case, of the normalised frames of its video."""
    frames = attention_cases.shown_frames(case.instance.masks.areas_T)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (config.data.mean, config.data.std))
    images = (frames_T3HW[frames] * deviation + mean).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    degraded_T = attention_cases.degraded_frames(case.instance, challenges.covers.get(case.instance.id))
    return Picture(case, frames, images, case.instance.masks.decode(frames), degraded_T[frames])


def _scaled(maps_THW: torch.Tensor, quantile: float) -> np.ndarray:
    """Maps in 0..1: divided by a quantile over the clip, and cut off there."""
    scale = torch.quantile(maps_THW.flatten(), quantile).clamp(min=torch.finfo(maps_THW.dtype).tiny)
    return (maps_THW / scale).clamp(max=1).numpy()
