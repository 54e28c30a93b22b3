"""AUROC of an encoder's map for the mask of an instance [ours]. Imports no torch.

It is the probability that the map is larger at a pixel of the instance than at one of the background; equal values
count one half. The direction was fixed before any map was looked at: more is inside. 0.5 is chance, and a map that
avoids the instance has less. In detail:

- Each pixel of the video has the value of the cell of the map that its centre lies in, so no mask is reduced to the
  grid of the map, and an instance smaller than a cell counts with all its pixels.
- The pixels of all frames in which the instance is visible are compared with each other, as one colour scale does.
- Pixels of other objects, crowds included, are left out: the map has no query, and may show every object.
- Crowds are not measured, nor instances without a pixel or without background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mssts.config import EvaluationSection
from mssts.core.csv_files import NOT_DRAWN, NOT_RUN, decimals, read_csv
from mssts.evaluation.statistics import Interval, Intervals, bootstrap_intervals, resamples_of_videos
from mssts.study.attention_cases import Challenges
from mssts.study.differences import Size
from mssts.study.resolve import BASELINE
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.tracks import Track

FILE = "attention/auroc.csv"
FRAMES_AT_ONCE = 8  # decoded at the size of the video, of all its objects: 60 MB at 720p, and 7 MB for each object
_KEYS = ["dataset", "split", "backbone", "variant", "seeds", "subset", "videos", "instances"]
_NUMBERS = ["auroc", "low", "high", "difference", "difference_low", "difference_high"]


@dataclass(frozen=True)
class MeanAuroc:
    """Mean AUROC of a variant over the instances of a subset and over seeds, with 95 % bootstrap intervals over videos.

    Attributes:
        benchmark: Where it was measured.
        variant: Name of the variant.
        seeds: Number of training seeds; 0 if none has been run.
        subset: `ALL_INSTANCES` or a challenge.
        size: Number of instances, and of videos that have one.
        mean: In 0..1; None if not run, and without an instance.
        interval: Of the mean, for it alone; None if not run, and where there are too few videos.
        difference: To the baseline; None for the baseline and where either has not been run.
        difference_interval: The simultaneous one of the differences of all variants and subsets.
    """

    benchmark: Benchmark
    variant: str
    seeds: int
    subset: str
    size: Size
    mean: float | None = None
    interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None


def auroc(values_N: np.ndarray, inside_N: np.ndarray, outside_N: np.ndarray) -> float:
    """Probability that a pixel inside has a larger value than one outside; equal values count one half.

    Args:
        values_N: (N,) values of the cells of a map.
        inside_N: (N,) number of pixels inside that each cell stands for.
        outside_N: (N,) the same of the pixels outside.

    Returns:
        In 0..1; NaN if no pixel is inside or none outside.
    """
    _, position_N = np.unique(values_N, return_inverse=True)
    inside, outside = np.bincount(position_N, inside_N), np.bincount(position_N, outside_N)
    pairs = inside.sum() * outside.sum()
    below = outside.cumsum() - outside
    return float(inside @ (below + outside / 2) / pairs) if pairs else float("nan")


def pixels_of_cells(masks_THW: np.ndarray, grid: tuple[int, int], extent: tuple[float, float]) -> np.ndarray:
    """Number of the pixels of a mask whose centre lies in each cell of a map.

    Args:
        masks_THW: (T, H, W) bool.
        grid: (rows, columns) of the map.
        extent: (height, width) that the map covers, in pixels of the mask; may be more than the mask.

    Returns:
        (T, rows, columns) float64.
    """
    rows_YH, columns_XW = (
        np.arange(cells)[:, None] == ((np.arange(size) + 0.5) * cells / whole).astype(int)
        for cells, size, whole in zip(grid, masks_THW.shape[1:], extent, strict=True)
    )
    return rows_YH.astype(float) @ masks_THW.astype(float) @ columns_XW.T.astype(float)


def instance_aurocs(map_TYX: np.ndarray, extent: tuple[float, float], tracks: Sequence[Track]) -> dict[int, float]:
    """AUROC of a map for each instance of a video; see the module's docstring.

    Args:
        map_TYX: (T, rows, columns), the map.
        extent: (height, width) that it covers, in pixels of the video.
        tracks: All annotated objects of the video.

    Returns:
        {annotation id: AUROC in 0..1}, without what is not measured.
    """
    if not tracks:
        return {}
    counts = []
    for start in range(0, len(map_TYX), FRAMES_AT_ONCE):
        frames = range(start, min(start + FRAMES_AT_ONCE, len(map_TYX)))
        masks = [track.masks.decode(frames) for track in tracks]
        regions = [*masks, ~np.logical_or.reduce(masks)]
        counts.append([pixels_of_cells(region, map_TYX.shape[1:], extent) for region in regions])
    *inside, background_TYX = (np.concatenate(blocks) for blocks in zip(*counts, strict=True))
    found = {}
    for track, inside_TYX in zip(tracks, inside, strict=True):
        visible_T = inside_TYX.any(axis=(1, 2))
        shown = (values_TYX[visible_T].ravel() for values_TYX in (map_TYX, inside_TYX, background_TYX))
        found[track.id] = auroc(*shown)
    return {track.id: found[track.id] for track in tracks if not track.crowd and not np.isnan(found[track.id])}


def summarise(
    benchmark: Benchmark,
    aurocs: dict[str, list[dict[int, float]]],
    truth: Annotations,
    challenges: Challenges,
    config: EvaluationSection,
) -> list[MeanAuroc]:
    """Means over instances and seeds with their intervals, for each subset of the instances and each variant.

    Args:
        benchmark: Where they were measured.
        aurocs: For each variant, {annotation id: AUROC} of each seed; the same instances in all of them.
        truth: Annotations of the split.
        challenges: Of the same.
        config: Resampling of the videos.
    """
    seeds = {variant: len(runs) for variant, runs in aurocs.items()}
    first = next((runs[0] for runs in aurocs.values() if runs), {})
    instances = [track for track in truth.tracks if track.id in first]
    position = {video: index for index, video in enumerate(truth.videos)}
    video_I = np.array([position[one.video_id] for one in instances], dtype=int)
    means = {
        variant: np.mean([[run[one.id] for one in instances] for run in runs], axis=0)
        for variant, runs in aurocs.items()
        if runs
    }
    generator = np.random.default_rng(config.bootstrap_seed)
    weights_RV = resamples_of_videos(len(position), config.bootstrap_replicates, generator)
    sizes: dict[str, Size] = {}
    resampled: dict[tuple[str, str], np.ndarray] = {}
    for subset in (ALL_INSTANCES, *challenges.names):
        shown_I = np.array(
            [subset == ALL_INSTANCES or challenges.flags[one.id].get(subset, False) for one in instances]
        )
        counts_V = np.bincount(video_I, shown_I, len(position))
        sizes[subset] = Size(int((counts_V > 0).sum()), int(counts_V.sum()))
        counts_R = weights_RV @ counts_V
        for variant, mean_I in means.items() if counts_V.any() else ():
            sums_R = weights_RV @ np.bincount(video_I, mean_I * shown_I, len(position))
            resampled[variant, subset] = np.divide(sums_R, counts_R, np.full_like(sums_R, np.nan), where=counts_R > 0)
    differences = {
        key: value - resampled[BASELINE, key[1]]
        for key, value in resampled.items()
        if key[0] != BASELINE and (BASELINE, key[1]) in resampled
    }
    wide = {key: one.simultaneous for key, one in _intervals(differences, sizes).items()}
    alone = {key: one.pointwise for key in resampled for one in _intervals({key: resampled[key]}, sizes).values()}
    return [
        MeanAuroc(
            *(benchmark, variant, seeds[variant], subset, size),
            *(_observed(resampled.get((variant, subset))), alone.get((variant, subset))),
            *(_observed(differences.get((variant, subset))), wide.get((variant, subset))),
        )
        for variant in aurocs
        for subset, size in sizes.items()
    ]


def _intervals(
    resampled: dict[tuple[str, str], np.ndarray], sizes: dict[str, Size]
) -> dict[tuple[str, str], Intervals]:
    """The bootstrap intervals of those of a family that have enough videos."""
    family = [key for key in resampled if sizes[key[1]].is_enough]
    if not family:
        return {}
    videos = [sizes[subset].videos for _, subset in family]
    return dict(zip(family, bootstrap_intervals(np.array([resampled[key] for key in family]), videos), strict=True))


def _observed(resampled_R: np.ndarray | None) -> float | None:
    return None if resampled_R is None else float(resampled_R[0])


def to_frame(found: Iterable[MeanAuroc]) -> pd.DataFrame:
    """A table of text cells, one row each."""
    rows = []
    for one in found:
        numbers = [
            one.mean,
            *(one.interval or (None, None)),
            one.difference,
            *(one.difference_interval or (None, None)),
        ]
        cells = [decimals(number, 6) if one.seeds else NOT_RUN for number in numbers]
        rows.append([*one.benchmark, one.variant, str(one.seeds), one.subset, *map(str, one.size), *cells])
    return pd.DataFrame(rows, columns=_KEYS + _NUMBERS)


def read_frame(runs: StudyRuns) -> pd.DataFrame | None:
    """The table that `mssts attention` wrote; None if it has not been run. Raises InputError for another file.

    If nothing could be measured, its only column is `NOT_DRAWN`, with the reason.
    """
    path = runs.folder / FILE
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        columns = [NOT_DRAWN] if file.readline().strip() == NOT_DRAWN else _KEYS + _NUMBERS
    return read_csv(path, columns, f"Run mssts attention {runs.study.options}.")
