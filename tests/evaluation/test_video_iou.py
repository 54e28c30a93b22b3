import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.evaluation.run_length import decoded_runs, read_any
from mssts.evaluation.video_iou import video_iou


def square(x0, y0, x1, y1):
    mask = np.zeros((10, 12), dtype=np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return coco_mask.encode(mask)


def test_sums_are_not_taken_over_frames_before_dividing():
    # frame 1: 4 of 4 + 8 - 4; frame 2: 10 of 10: (4 + 10) / (8 + 10), not the mean of 1/2 and 1
    predicted = (square(0, 0, 2, 2), square(0, 0, 5, 2))
    annotated = (square(0, 0, 2, 4), square(0, 0, 5, 2))
    assert video_iou([predicted], [annotated]) == pytest.approx(14 / 18)


def test_frame_with_one_side_only_does_not_add_to_the_union():
    predicted = (square(0, 0, 2, 2), square(0, 0, 3, 3), None, None)
    annotated = (square(0, 0, 2, 2), None, square(0, 0, 5, 1), None)
    assert video_iou([predicted], [annotated]) == pytest.approx(4 / (4 + 9 + 5))


def test_tracks_without_a_pixel_do_not_give_zero():
    empty, absent = (square(0, 0, 0, 0),), (None,)
    assert video_iou([empty, absent], [empty, absent]).tolist() == [[0, 0], [0, 0]]


def test_pairs_are_mixed_up():
    tracks = [(square(0, 0, 3, 3),), (square(5, 5, 9, 9),), (square(0, 0, 3, 6),)]
    assert video_iou(tracks, tracks[:2]) == pytest.approx(np.array([[1, 0], [0, 1], [0.5, 0]]))


def test_no_track_on_one_side_crashes():
    assert video_iou([], [(square(0, 0, 3, 3),)]).shape == (0, 1)
    assert video_iou([(square(0, 0, 3, 3),)], []).shape == (1, 0)


def test_the_three_encodings_of_a_mask_differ():
    compressed = square(2, 1, 5, 4)
    runs = [21, 3, 7, 3, 7, 3, 76]  # columns of 10: 2 columns and 1 pixel of background, then 3 of 3 pixels
    as_text = {"size": [10, 12], "counts": compressed["counts"].decode()}
    polygon = [[2, 1, 5, 1, 5, 4, 2, 4]]
    for segmentation in (as_text, {"size": [10, 12], "counts": runs}, polygon):
        mask, problem = read_any(segmentation, 10, 12)
        assert problem is None
        assert (coco_mask.decode(mask) == coco_mask.decode(compressed)).all()


@pytest.mark.parametrize("seed", range(20))
def test_decoded_runs_are_not_those_of_the_mask(seed):
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 300)), int(rng.integers(1, 60))
    mask = (rng.random((height, width)) < rng.random()).astype(np.uint8)
    runs = decoded_runs(coco_mask.encode(np.asfortranarray(mask))["counts"])
    values = np.arange(runs.size) % 2
    assert (np.repeat(values, runs) == mask.ravel(order="F")).all()
