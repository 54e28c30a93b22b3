"""Attention maps of the baseline beside those of MS-STS, on cases that a rule chooses [poster]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pycocotools import mask as run_length

from mssts.config import Config
from mssts.core.files import write_json
from mssts.data.datasets import entry, split_annotations
from mssts.data.videos import read_video
from mssts.inference.attention_maps import MAP_STRIDE, look, query_map, temporal_map
from mssts.inference.predict import load_run_model
from mssts.report.formats import NOT_RUN
from mssts.report.style import TEXT_WIDTH, paper_style, save
from mssts.study.attention_cases import (
    CHALLENGES,
    FRAMES_SHOWN,
    Case,
    choose_cases,
    chosen_results,
    found_by,
    looking_pixel,
    shown_frames,
)
from mssts.study.paths import dataset_dir
from mssts.study.runs import Result, StudyRuns
from mssts.ytvis.annotations import VideoAnnotations
from mssts.ytvis.ground_truth import read_ground_truth

QUERY_QUANTILE = 0.99  # of a query's map over the clip: its colour scale ends there
MAX_CELL_ASPECT = 0.8  # height / width of a drawn frame: portrait videos are drawn smaller
_OUTLINE, _PIXEL = "#56e1ff", "#ff4fa3"


@dataclass(frozen=True)
class Panel:
    """One drawn case. frames: positions of the frames shown; images (H, W, 3) in 0..1, masks (H, W) bool of these.

    baseline, variant, temporal: maps (n, h, w) in 0..1 of the frames shown, on one scale for the whole clip.
    share: part of the temporal map in each frame shown. looking: position among the frames shown and x, y in pixels.
    """

    case: Case
    frames: list[int]
    images: np.ndarray
    masks: np.ndarray
    baseline: np.ndarray
    variant: np.ndarray
    temporal: np.ndarray
    share: np.ndarray
    looking: tuple[int, int, int]


def write_attention(runs: StudyRuns, output_dir: Path) -> None:
    """Write attention/attention.pdf and .png, and attention/cases.json with the caption, into `output_dir`.

    Prints "not run" where the baseline or every variant with the MS-STS module is missing.
    """
    pair = chosen_results(runs)
    panels, caption = [], f"Attention maps: {NOT_RUN}."
    if pair is not None:
        torch.set_num_threads(runs.study.baseline.runtime.threads)
        panels, caption = _panels(runs, *pair)
    folder = Path(output_dir) / "attention"
    with paper_style():
        save(attention_figure(panels, runs.study.titles[pair[1].run.variant] if pair else ""), folder / "attention")
    write_json(folder / "cases.json", {"caption": caption, "cases": [_record(panel) for panel in panels]})


def _panels(runs: StudyRuns, baseline: Result, variant: Result) -> tuple[list[Panel], str]:
    dataset, split = baseline.run.dataset, baseline.split
    directory = dataset_dir(runs.study.spec.scale, dataset)
    truth = read_ground_truth(entry(dataset).files(directory, split)[0])
    annotations = split_annotations(dataset, directory, split)
    cases = choose_cases(truth, found_by(baseline), found_by(variant))
    models = [load_run_model(result.run.directory / "checkpoint.pt")[:2] for result in (baseline, variant)]
    settings = runs.study.baseline
    panels = [draw_case(case, annotations, models, settings) for case in cases]
    return panels, _caption(runs, variant, cases)


def draw_case(case: Case, annotations: VideoAnnotations, models: list, settings: Config) -> Panel:
    """Both models' maps of a case; models: (model, its config) of the baseline and of the variant."""
    video = next(video for video in annotations.videos if video.id == case.instance.video_id)
    maps, seen = [], None
    for (model, trained), rank in zip(models, case.ranks, strict=True):
        frames_T3HW, _ = read_video(annotations, video, settings.predict.short_side, trained.data)
        size = tuple(-(-side // MAP_STRIDE) for side in frames_T3HW.shape[-2:])
        output, seen = look(model, frames_T3HW)
        scores = output.logits[0].sigmoid().flatten()
        query = int(scores.argsort(descending=True, stable=True)[rank]) // output.logits.shape[-1]
        maps.append(query_map(seen, query, size))
    masks = np.stack([_mask(one, video.height, video.width) for one in case.instance.segmentations])
    frames = shown_frames(masks)
    frame, x, y = looking_pixel(masks, frames)
    place = ((x + 0.5) / video.width, (y + 0.5) / video.height)
    temporal = temporal_map(seen, frame, place, tuple(frames_T3HW.shape[-2:]))
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (trained.data.mean, trained.data.std))
    images = (frames_T3HW[frames] * deviation + mean).clamp(0, 1).permute(0, 2, 3, 1)
    return Panel(
        case,
        frames,
        images.numpy(),
        masks[frames],
        *(_scaled(one, QUERY_QUANTILE)[frames] for one in maps),
        temporal=_scaled(temporal, 1.0)[frames],
        share=temporal.sum((1, 2)).numpy()[frames],
        looking=(frames.index(frame), x, y),
    )


def _scaled(maps_THW: torch.Tensor, quantile: float) -> np.ndarray:
    """Maps in 0..1: divided by a quantile of the clip and cut off there."""
    scale = torch.quantile(maps_THW.flatten(), quantile).clamp(min=torch.finfo(maps_THW.dtype).tiny)
    return (maps_THW / scale).clamp(max=1).numpy()


def _mask(segmentation: dict | None, height: int, width: int) -> np.ndarray:
    if segmentation is None:
        return np.zeros((height, width), dtype=bool)
    return run_length.decode(segmentation).astype(bool)


def attention_figure(panels: list[Panel], title: str) -> Figure:
    """Two rows per case: the maps of the query in both models; the frames, and where the encoder's pixel looks."""
    if not panels:
        figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 0.6))
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"{NOT_RUN}: no instance was found by both models", ha="center", va="center")
        return figure
    heights = [_panel_height(panel) for panel in panels]
    figure = plt.figure(figsize=(TEXT_WIDTH, sum(heights)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    parts = figure.subfigures(len(panels), 1, height_ratios=heights, squeeze=False).flat
    for panel, part in zip(panels, parts, strict=True):
        part.suptitle(_words(panel.case), x=0.008, ha="left", fontsize=9, fontweight="bold")
        axes = part.subplots(2, 2 * FRAMES_SHOWN + 1, width_ratios=[1] * FRAMES_SHOWN + [0.12] + [1] * FRAMES_SHOWN)
        for axis in axes.flat:
            axis.set_axis_off()
        right = FRAMES_SHOWN + 1
        for column in range(len(panel.frames)):
            draw_map(axes[0, column], panel, column, panel.baseline)
            draw_map(axes[0, right + column], panel, column, panel.variant)
            draw_map(axes[1, column], panel, column, None)
            draw_map(axes[1, right + column], panel, column, panel.temporal)
            axes[1, right + column].set_title(f"{100 * panel.share[column]:.0f} %", fontsize=6.5, pad=1.5)
            axes[1, column].set_title(f"frame {panel.frames[column] + 1}", fontsize=6.5, pad=1.5)
        for axis, words in ((axes[0, 0], "Baseline, query"), (axes[0, right], f"{title}, query")):
            axis.set_title(words, fontsize=7.5, loc="left", pad=2)
    return figure


def _panel_height(panel: Panel) -> float:
    """Inches of the two rows of a case and of its titles."""
    height, width = panel.masks.shape[1:]
    cell = TEXT_WIDTH / (2 * FRAMES_SHOWN + 0.12)
    return 2 * cell * min(height / width, MAX_CELL_ASPECT) + 0.5


def draw_map(axis: Axes, panel: Panel, column: int, maps: np.ndarray | None) -> Axes:
    """A frame with the ground-truth outline; under a map it is grey. The looking pixel is marked in its frame."""
    height, width = panel.masks.shape[1:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    image = panel.images[column]
    if maps is None:
        axis.imshow(image, extent=extent, interpolation="nearest")
    else:
        axis.imshow(image.mean(-1), cmap="gray", vmin=-0.1, vmax=1.5, extent=extent, interpolation="nearest")
        strength = np.sqrt(maps[column])  # a root, so that weak attention is seen too
        interpolation = "nearest" if maps is panel.temporal else "bilinear"
        axis.imshow(
            strength, cmap="inferno", vmin=0, vmax=1, alpha=0.9 * strength, extent=extent, interpolation=interpolation
        )
    axis.contour(panel.masks[column], levels=[0.5], colors=_OUTLINE, linewidths=0.7)
    if column == panel.looking[0] and (maps is None or maps is panel.temporal):
        axis.plot(*panel.looking[1:], "+", color=_PIXEL, markersize=5, markeredgewidth=1)
    axis.set_xlim(extent[:2])
    axis.set_ylim(extent[2:])
    return axis


def _words(case: Case) -> str:
    return case.challenge.replace("_", " ").capitalize()


def _record(panel: Panel) -> dict:
    case = panel.case
    return {
        "challenge": case.challenge,
        "score": round(case.score, 4),
        "video_id": case.instance.video_id,
        "annotation_id": case.instance.id,
        "frames": panel.frames,
        "looking_frame": panel.frames[panel.looking[0]],
        "looking_pixel_xy": list(panel.looking[1:]),
    }


def _caption(runs: StudyRuns, variant: Result, cases: list[Case]) -> str:
    run = variant.run
    listed = "; ".join(f"{_words(case).lower()} {case.score:.2f} (video {case.instance.video_id})" for case in cases)
    missing = [name.replace("_", " ") for name in CHALLENGES if name not in {case.challenge for case in cases}]
    without = f" No instance found by both models shows {', '.join(missing)}." if missing else ""
    return (
        f"Baseline and {runs.study.titles[run.variant]}, {run.dataset}, {variant.split} split, {run.backbone}, "
        f"seed {run.seed}. For each challenge the instance that shows it most among those that both models find at an "
        f"IoU of 0.5: {listed or 'none'}.{without} Upper rows: deformable cross-attention of the instance's query, "
        "summed over heads, points, levels and layers. Lower rows: the frames, and what the encoder's token at the "
        "cross takes from each frame (cells of all levels; per cent of its attention). Each map has one "
        "scale for its clip and is shown as a square root; outline: ground truth."
    )
