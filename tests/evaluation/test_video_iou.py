import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.evaluation.video_iou import video_iou as iou_of_tracks
from mssts.ytvis.masks import read_track
from tests.ytvis.cases import random_masks

pytestmark = pytest.mark.usefixtures("each_reader")


def track(frames):
    found = read_track(frames, 10, 12)
    assert found is not None
    return found


def video_iou(predicted, annotated):
    return iou_of_tracks([track(one) for one in predicted], [track(one) for one in annotated])[0]


def square(x0, y0, x1, y1):
    mask = np.zeros((10, 12), dtype=np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return coco_mask.encode(mask)


def test_sums_are_taken_over_frames_before_dividing():
    # frame 1: 4 of 4 + 8 - 4; frame 2: 10 of 10: (4 + 10) / (8 + 10), not the mean of 1/2 and 1
    predicted = (square(0, 0, 2, 2), square(0, 0, 5, 2))
    annotated = (square(0, 0, 2, 4), square(0, 0, 5, 2))
    assert video_iou([predicted], [annotated]) == pytest.approx(14 / 18)


def test_a_frame_with_one_side_only_adds_to_the_union():
    predicted = (square(0, 0, 2, 2), square(0, 0, 3, 3), None, None)
    annotated = (square(0, 0, 2, 2), None, square(0, 0, 5, 1), None)
    assert video_iou([predicted], [annotated]) == pytest.approx(4 / (4 + 9 + 5))


def test_tracks_without_a_pixel_give_zero():
    empty, absent = (square(0, 0, 0, 0),), (None,)
    assert video_iou([empty, absent], [empty, absent]).tolist() == [[0, 0], [0, 0]]


def test_every_pair_of_tracks_stands_at_its_place_in_the_matrix():
    tracks = [(square(0, 0, 3, 3),), (square(5, 5, 9, 9),), (square(0, 0, 3, 6),)]
    assert video_iou(tracks, tracks[:2]) == pytest.approx(np.array([[1, 0], [0, 1], [0.5, 0]]))


def test_no_track_on_one_side_gives_an_empty_matrix():
    assert video_iou([], [(square(0, 0, 3, 3),)]).shape == (0, 1)
    assert video_iou([(square(0, 0, 3, 3),)], []).shape == (1, 0)


@pytest.mark.parametrize("seed", range(30))
def test_a_track_keeps_masks_boxes_and_overlaps(seed):
    rng = np.random.default_rng(seed)
    height, width, frames = int(rng.integers(1, 40)), int(rng.integers(1, 40)), 5
    drawn = [random_masks(rng, height, width, frames) for _ in range(4)]
    encoded = [[coco_mask.encode(np.asfortranarray(mask)) for mask in masks] for masks in drawn]
    for masks in encoded:
        masks[int(rng.integers(frames))] = None
    tracks = [read_track(masks, height, width) for masks in encoded]
    for found, masks in zip(tracks, encoded, strict=True):
        assert list(found.run_lengths()) == masks
        boxes = np.array([coco_mask.toBbox(mask) if mask and coco_mask.area(mask) else [np.nan] * 4 for mask in masks])
        np.testing.assert_array_equal(found.boxes(frames), boxes)
    ious, _ = iou_of_tracks(tracks[:2], tracks[2:])
    for p, g in np.ndindex(2, 2):
        pairs = [
            (a if a else b, b if b else a, bool(a and b))
            for a, b in zip(encoded[p], encoded[2 + g], strict=True)
            if a or b
        ]
        union = sum(int(coco_mask.area(coco_mask.merge([a, b]))) for a, b, _ in pairs)
        inside = sum(int(coco_mask.area(coco_mask.merge([a, b], True))) for a, b, both in pairs if both)
        assert ious[p, g] == (inside / union if union else 0)
