import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.ytvis.masks import Polygons, read_track
from mssts.ytvis.run_length import from_annotation, read_runs
from tests.ytvis.cases import random_masks

pytestmark = pytest.mark.usefixtures("each_reader")


def track(frames):
    found = read_track(frames, 10, 12)
    assert found is not None
    return found


def square(x0, y0, x1, y1):
    mask = np.zeros((10, 12), dtype=np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return coco_mask.encode(mask)


def test_the_three_encodings_of_a_mask_are_equal():
    expected = square(2, 1, 5, 4)
    runs = [21, 3, 7, 3, 7, 3, 76]  # columns of 10: 2 columns and 1 pixel of background, then 3 of 3 pixels
    as_text = {"size": [10, 12], "counts": expected["counts"].decode()}
    polygon = [[2, 1, 5, 1, 5, 4, 2, 4]]
    for segmentation in (as_text, {"size": [10, 12], "counts": runs}, polygon):
        mask, problem = from_annotation(segmentation, 10, 12)
        assert problem is None
        assert (coco_mask.decode(track([mask]).run_lengths()[0]) == coco_mask.decode(expected)).all()


@pytest.mark.parametrize("seed", range(20))
def test_decoded_runs_are_those_of_the_mask(seed):
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 300)), int(rng.integers(1, 60))
    masks = random_masks(rng, height, width, 4)
    encoded = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    for mask, runs in zip(masks, read_runs(encoded, height, width), strict=True):
        assert (np.repeat(np.arange(runs.size) % 2, runs) == mask.ravel(order="F")).all()


@pytest.mark.parametrize("seed", range(30))
def test_intervals_decode_to_the_masks_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    height, width, frames = int(rng.integers(1, 40)), int(rng.integers(1, 40)), 6
    encoded = [coco_mask.encode(np.asfortranarray(mask)) for mask in random_masks(rng, height, width, frames)]
    encoded[int(rng.integers(frames))] = None
    found = read_track(encoded, height, width)
    chosen = rng.integers(0, frames, 8).tolist()
    empty = np.zeros((height, width))
    expected = np.array([coco_mask.decode(encoded[t]) if encoded[t] else empty for t in chosen], bool)
    np.testing.assert_array_equal(found.decode(chosen), expected)


def test_runs_of_no_length_inside_an_object_leave_no_gap():
    mask = {"size": [10, 12], "counts": memoryview(b"[13, 2, 0, 3, 0, 40, 62")}
    found = read_track([mask], 10, 12)
    assert found.decode([0]).sum() == found.areas_T[0] == 45
    assert found.decode([0])[0].ravel(order="F")[13:58].all()


def test_polygons_of_a_still_are_drawn_as_pycocotools_draws_them():
    polygons = [[1, 1, 8, 2, 4, 9], [3.5, 0, 11, 0, 11, 9.5, 7, 4]]
    drawn = Polygons(polygons, (10, 12)).draw().decode([0])[0]
    np.testing.assert_array_equal(drawn, coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 10, 12))) > 0)
