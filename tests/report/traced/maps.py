"""AUROC of the encoder maps, computed once more: the map of each trained model against every mask."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

from mssts.data.datasets import split_annotations
from mssts.data.videos import read_video
from mssts.inference.attention_maps import encoder_map
from mssts.inference.predict import load_run_model
from tests.report.traced.challenges import ORDER
from tests.report.traced.evaluation import Evaluation, pixels
from tests.report.traced.shown import Cell, Rows
from tests.report.traced.statistics import FEWEST_VIDEOS, intervals
from tests.report.traced.study import DATA, REPLICATES, RUNS, SCALE, SEEDS, SPLITS, TITLES, VARIANTS

STRIDE = 8
SUBSETS = (None, *ORDER)
COLUMNS = ("Variant", "Seeds", "all", *(name.replace("_", " ") for name in ORDER))


class Maps:
    """AUROC of every instance of the first split, for each variant and seed."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._split = split_annotations("synthvis", DATA, SPLITS[0])
        self.of = {
            (variant, seed): self._aurocs(RUNS / variant / f"seed{seed}/checkpoint.pt")
            for variant in VARIANTS
            for seed in SEEDS
        }

    def _aurocs(self, checkpoint: Path) -> dict[int, float]:
        """AUROC of each instance by its position."""
        model, config, _ = load_run_model(checkpoint)
        found = {}
        for video, overlaps in zip(self._split.videos, self._evaluation.overlaps, strict=True):
            frames_T3HW, size = read_video(self._split, video, SCALE["predict"]["short_side"], config.data)
            with torch.inference_mode():
                map_TYX = encoder_map(model(frames_T3HW[None])).numpy()
            rows_H, columns_W = (
                ((np.arange(pixels_of_video) + 0.5) * pixels_of_input / pixels_of_video / STRIDE).astype(int)
                for pixels_of_video, pixels_of_input in zip(size, frames_T3HW.shape[2:], strict=True)
            )
            map_THW = map_TYX[:, rows_H][:, :, columns_W]  # the cell in which the centre of a pixel lies
            shape = map_THW.shape
            masks = {n: pixels(self._evaluation.instances[n]["segmentations"], shape) > 0 for n in overlaps.annotations}
            background_THW = ~np.any(list(masks.values()), axis=0)
            for n, mask_THW in masks.items():
                seen_T = mask_THW.any(axis=(1, 2))
                if self._evaluation.counts(n):
                    inside, outside = (map_THW[seen_T][one[seen_T]] for one in (mask_THW, background_THW))
                    found[n] = _auroc(inside, outside)
        return found

    @cached_property
    def rows(self) -> Rows:
        """The rows of the table, in percent."""
        values, videos = self._resampled()
        enough = [subset for subset in SUBSETS if videos[subset] >= FEWEST_VIDEOS]
        alone = {
            key: intervals({key: one}, {key: videos[key[1]]})[key][1] for key, one in values.items() if key[1] in enough
        }
        differences = {key: one - values["baseline", key[1]] for key, one in values.items() if key[0] != "baseline"}
        family = {key: one for key, one in differences.items() if key[1] in enough}
        together = {key: one[0] for key, one in intervals(family, {key: videos[key[1]] for key in family}).items()}
        rows: Rows = {}
        for variant in VARIANTS:
            cells = [_cell(values[variant, subset], alone.get((variant, subset))) for subset in SUBSETS]
            rows["AUROC", TITLES[variant]] = [str(len(SEEDS)), *cells]
        sizes = [self._evaluation.size(subset) for subset in SUBSETS]
        rows["AUROC", "(instances)"] = ["", *(str(instances) for _, instances in sizes)]
        rows["AUROC", "(videos)"] = ["", *(str(count) for count, _ in sizes)]
        for variant in VARIANTS[1:]:
            cells = [_cell(differences[variant, subset], together.get((variant, subset))) for subset in SUBSETS]
            rows["difference to the baseline, in percentage points", TITLES[variant]] = [str(len(SEEDS)), *cells]
        return rows

    def _resampled(self) -> tuple[dict[tuple[str, str | None], np.ndarray], dict[str | None, int]]:
        """Means over instances and seeds, on all videos and then in each replicate; number of videos of each subset."""
        count = len(self._evaluation.videos)
        drawn_RV = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=REPLICATES)
        weights_RV = np.concatenate([np.ones((1, count)), drawn_RV])
        values, videos = {}, {}
        for subset in SUBSETS:
            videos[subset] = self._evaluation.size(subset)[0]
            for variant in VARIANTS:
                sums_V, counts_V = np.zeros(count), np.zeros(count)
                for v, overlaps in enumerate(self._evaluation.overlaps):
                    own = [n for n in overlaps.annotations if self._evaluation.counts(n, subset)]
                    counts_V[v] = len(own)
                    sums_V[v] = sum(np.mean([self.of[variant, seed][n] for seed in SEEDS]) for n in own)
                with np.errstate(invalid="ignore"):
                    values[variant, subset] = 100 * (weights_RV @ sums_V) / (weights_RV @ counts_V)
        return values, videos


def _auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Share of the pairs of a pixel inside and one outside in which that inside is larger; equal ones count half."""
    ranks = rankdata(np.concatenate([inside, outside]))[: inside.size]
    return float((ranks.sum() - inside.size * (inside.size + 1) / 2) / (inside.size * outside.size))


def _cell(values_R: np.ndarray, ends: tuple[float, float] | None) -> Cell:
    return (values_R[0],) if ends is None else (values_R[0], (ends[1] - ends[0]) / 2)
