"""AUROC of maps for masks: by hand, on pictures that a model shows as they are, and over a split."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as run_length
from torch import nn

from mssts.config import resolve
from mssts.core.csv_files import NOT_RUN
from mssts.data.datasets import VideoSplit
from mssts.evaluation.statistics import MIN_VIDEOS
from mssts.models.model import Output
from mssts.study.attention_auroc import FRAMES_AT_ONCE, auroc, instance_aurocs, pixels_of_cells, summarise, to_frame
from mssts.study.attention_cases import Challenges
from mssts.study.attention_measure import measure_auroc, split_aurocs
from mssts.study.runs import Benchmark
from mssts.ytvis.annotations import Annotations, parse_annotations
from tests.report import fake_runs
from tests.report.fake_runs import runs_of

BENCHMARK = Benchmark("synthvis", "valid", "tiny")
ONE = np.ones(4)


def truth_of(videos: list[list[np.ndarray]], crowds: tuple[int, ...] = ()) -> Annotations:
    """Annotations with given masks (T, H, W): a list of objects for each video, ids in order from 1."""
    records, annotations = [], []
    for video_id, objects in enumerate(videos, 1):
        length, height, width = objects[0].shape
        names = [f"{video_id}/{frame}.png" for frame in range(length)]
        records.append({"id": video_id, "height": height, "width": width, "length": length, "file_names": names})
        for masks_THW in objects:
            encoded = [run_length.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks_THW]
            segmentations = [
                {"size": [height, width], "counts": one["counts"].decode()} if mask.any() else None
                for one, mask in zip(encoded, masks_THW, strict=True)
            ]
            identity = {"id": len(annotations) + 1, "video_id": video_id, "category_id": 1}
            crowd = {"iscrowd": int(identity["id"] in crowds)}
            annotations.append(identity | crowd | {"segmentations": segmentations})
    categories = [{"id": 1, "name": "thing"}]
    return parse_annotations({"videos": records, "categories": categories, "annotations": annotations})


def box(shape: tuple[int, int, int], rows: slice, columns: slice) -> np.ndarray:
    """A mask that is the same box in every frame."""
    masks = np.zeros(shape, dtype=bool)
    masks[:, rows, columns] = True
    return masks


def aurocs_of(map_TYX: np.ndarray, objects: list[np.ndarray], crowds: tuple[int, ...] = ()) -> dict[int, float]:
    """AUROC for the objects of one video, of a map whose cells are 8 pixels wide."""
    extent = tuple(8.0 * size for size in map_TYX.shape[1:])
    return instance_aurocs(map_TYX, extent, truth_of([objects], crowds).tracks)


def test_auroc_is_one_for_the_mask_zero_for_its_inverse_and_half_for_a_constant():
    inside = np.array([1.0, 1.0, 0.0, 0.0])
    assert auroc(inside, inside, 1 - inside) == 1.0
    assert auroc(-inside, inside, 1 - inside) == 0.0
    assert auroc(ONE, inside, 1 - inside) == 0.5


def test_auroc_with_ties_is_that_of_all_pairs_by_hand():
    # inside 3 and 2, outside 2 and 1: 3 > 2, 3 > 1, 2 = 2, 2 > 1
    assert auroc(np.array([3.0, 2.0, 2.0, 1.0]), np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])) == 3.5 / 4
    generator = np.random.default_rng(1)
    values, (inside, outside) = generator.integers(0, 4, 12), generator.integers(0, 3, (2, 12))
    pixels = [(value, count) for value, count in zip(values, inside, strict=True)]
    pairs = [
        (count * other, (value > below) + (value == below) / 2)
        for (value, count), (below, other) in product(pixels, zip(values, outside, strict=True))
    ]
    expected = sum(weight * won for weight, won in pairs) / sum(weight for weight, _ in pairs)
    assert auroc(values, inside, outside) == pytest.approx(expected)


def test_frames_decoded_in_blocks_count_as_one_video():
    generator = np.random.default_rng(2)
    length = 2 * FRAMES_AT_ONCE + 1
    map_TYX = generator.normal(size=(length, 2, 3))
    cells = generator.random((2, length, 2, 3)) < 0.4
    cells[0, :2] = False  # absent there: these frames are not compared
    objects = [np.repeat(np.repeat(one, 8, 1), 8, 2) for one in cells]
    background, visible = ~cells.any(0), cells.any((2, 3))
    expected = [
        auroc(map_TYX[seen].ravel(), one[seen].ravel(), background[seen].ravel())
        for one, seen in zip(cells, visible, strict=True)
    ]
    assert list(aurocs_of(map_TYX, objects).values()) == pytest.approx(expected)


def test_auroc_is_undefined_where_nothing_is_inside_or_outside():
    assert np.isnan(auroc(ONE, 0 * ONE, ONE)) and np.isnan(auroc(ONE, ONE, 0 * ONE))


def test_every_pixel_of_a_mask_is_in_one_cell():
    masks = np.random.default_rng(2).random((2, 13, 21)) < 0.4
    counts = pixels_of_cells(masks, (2, 3), (16.0, 24.0))  # the last cells extend beyond the frame
    assert counts.shape == (2, 2, 3)
    assert counts[1, 1, 2] == masks[1, 8:, 16:].sum() and counts[0, 0, 1] == masks[0, :8, 8:16].sum()
    assert counts.sum() == masks.sum()
    finer = pixels_of_cells(masks, (26, 42), (13.0, 21.0))  # cells of half a pixel: some hold no centre
    assert np.array_equal(finer[:, 1::2, 1::2], masks) and finer.sum() == masks.sum()


def test_an_object_smaller_than_a_cell_counts_with_all_its_pixels():
    masks = box((1, 16, 16), slice(0, 8), slice(0, 4))  # half of the first cell
    known = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    # 224 pixels outside, of which 32 lie in the same cell and are ties
    assert aurocs_of(known, [masks]) == {1: pytest.approx(1 - 0.5 * 32 / 224)}


def test_frames_without_the_object_and_pixels_of_other_objects_do_not_count():
    target, other = (box((2, 16, 16), slice(0, 8), columns) for columns in (slice(0, 8), slice(8, 16)))
    target[1] = False
    values = np.array([[[2.0, 3.0], [1.0, 1.0]], [[0.0, 9.0], [9.0, 9.0]]])
    found = aurocs_of(values, [target, other])
    assert found[1] == 1.0  # 2 > 1 in the first frame; the other object's 3 and the second frame are left out
    # inside 3 and 9; outside, of both frames, the two lower cells, and the place that the target has left
    assert found[2] == pytest.approx((2 + 0 + 1 + 2 + 2 * 0.5 + 1) / (2 * 5))


def test_crowds_and_what_is_everywhere_or_nowhere_are_not_measured():
    left, right = (box((1, 16, 16), slice(None), columns) for columns in (slice(0, 8), slice(8, 16)))
    nowhere = np.zeros((1, 16, 16), dtype=bool)
    values = np.array([[[2.0, 1.0], [2.0, 1.0]]])
    assert aurocs_of(values, [left, nowhere], crowds=(1,)) == {}
    assert aurocs_of(values, [left, nowhere]) == {1: 1.0}
    assert aurocs_of(values, [left, right]) == {}  # no background
    assert aurocs_of(values, [left, right & box((1, 16, 16), slice(0, 8), slice(None))], crowds=(2,)) == {1: 1.0}


class Brightness(nn.Module):
    """A model whose encoder shows the brightness of each cell in one of its channels, and nothing in the other."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = nn.Parameter(torch.tensor(sign))

    def forward(self, frames_BT3HW: torch.Tensor) -> Output:
        clips = frames_BT3HW.shape[:2]
        pooled = nn.functional.avg_pool2d(frames_BT3HW.flatten(0, 1).mean(1, keepdim=True), 8, ceil_mode=True)
        channels = torch.cat([self.sign * pooled, torch.full_like(pooled, -100)], 1)
        return Output((), pooled, (channels.unflatten(0, clips),), torch.zeros(clips[0], 2))


def pictured(root: Path, videos: list[list[np.ndarray]]) -> VideoSplit:
    """A split whose objects are white on black."""
    for number, objects in enumerate(videos, 1):
        (root / str(number)).mkdir()
        for frame, mask in enumerate(np.any(objects, axis=0)):
            Image.fromarray(np.repeat(255 * mask[..., None].astype(np.uint8), 3, 2)).save(
                root / f"{number}/{frame}.png"
            )
    return VideoSplit(truth_of(videos), root)


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.5)])
def test_a_model_whose_map_is_known_has_the_known_auroc(tmp_path: Path, sign: float, expected: float):
    videos = [
        [box((3, 32, 48), slice(8, 16), slice(8, 24)), box((3, 32, 48), slice(24, 32), slice(32, 48))],
        [box((1, 48, 32), slice(0, 8), slice(16, 32))],  # portrait, one frame, at the border
        [box((2, 36, 44), slice(32, 36), slice(40, 44))],  # in a cell that extends beyond the frame
        [box((2, 64, 96), slice(16, 32), slice(0, 32))],  # read at half of its size
    ]
    data = resolve("smoke", "baseline").data
    found = split_aurocs(Brightness(sign).eval(), pictured(tmp_path, videos), 32, data)
    assert found.keys() == {1, 2, 3, 4, 5}
    if sign:
        del found[4]  # 36 pixels are read as 32, so that its outline is blurred
    assert all(value == expected for value in found.values())


def measured(videos: int) -> tuple[Annotations, Challenges]:
    """Videos of one object; every second one shows fog."""
    truth = truth_of([[box((1, 16, 16), slice(0, 8), slice(0, 8))]] * videos)
    flags = {track.id: {"fog": track.id % 2 == 0} for track in truth.tracks}
    return truth, Challenges(["fog"], flags, {}, {})


def test_means_are_over_instances_and_seeds_and_differences_are_paired():
    truth, challenges = measured(50)
    noise = np.random.default_rng(3).uniform(-0.05, 0.05, 50)
    first = {identifier: 0.6 + noise[identifier - 1] for identifier in range(1, 51)}
    second = {identifier: value + 0.02 for identifier, value in first.items()}
    better = {identifier: value + (0.11 if identifier % 2 else 0.21) for identifier, value in first.items()}
    aurocs = {"baseline": [first, second], "ms_sts": [better], "temporal": []}
    config = resolve("smoke", "baseline").evaluation
    rows = {(one.variant, one.subset): one for one in summarise(BENCHMARK, aurocs, truth, challenges, config)}
    baseline, foggy = rows["baseline", "all"], rows["ms_sts", "fog"]
    assert baseline.mean == pytest.approx(0.61 + noise.mean()) and baseline.seeds == 2 and baseline.size == (50, 50)
    assert baseline.interval.low < baseline.mean < baseline.interval.high
    assert baseline.difference is None
    assert foggy.size == (25, 25) and foggy.mean == pytest.approx(0.81 + noise[1::2].mean())
    assert foggy.difference == pytest.approx(0.2) and foggy.difference_interval == pytest.approx((0.2, 0.2))
    overall = rows["ms_sts", "all"]
    assert overall.difference == pytest.approx(0.15)
    assert 0.1 < overall.difference_interval.low < 0.15 < overall.difference_interval.high < 0.2
    table = to_frame(rows.values()).set_index(["variant", "subset"])
    assert (
        table.loc[("temporal", "fog"), "auroc"] == NOT_RUN and table.loc[("ms_sts", "fog"), "difference"] == "0.200000"
    )


def test_there_is_no_interval_of_too_few_videos():
    truth, challenges = measured(MIN_VIDEOS)
    aurocs = {"baseline": [{track.id: 0.5 + track.id / 100 for track in truth.tracks}]}
    everything, foggy = summarise(BENCHMARK, aurocs, truth, challenges, resolve("smoke", "baseline").evaluation)
    assert everything.interval is not None
    assert foggy.mean is not None and foggy.interval is None and foggy.size == (MIN_VIDEOS // 2, MIN_VIDEOS // 2)


def test_a_variant_without_the_baseline_has_a_mean_and_no_difference():
    truth, challenges = measured(MIN_VIDEOS)
    (everything, _) = summarise(
        *(BENCHMARK, {"ms_sts": [dict.fromkeys(range(1, MIN_VIDEOS + 1), 0.7)]}, truth, challenges),
        resolve("smoke", "baseline").evaluation,
    )
    assert everything.mean == pytest.approx(0.7) and everything.difference is None


def test_a_study_without_checkpoints_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    fake_runs.write_fake_study(tmp_path)
    table = to_frame(measure_auroc(runs_of()))
    assert list(table["variant"]) == ["baseline", "ms_sts", "temporal"]
    assert set(table["auroc"]) == {NOT_RUN} and set(table["subset"]) == {"all"}
