"""Windows of a video, and what is joined over them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from pycocotools import mask as run_length

from mssts.config import PredictSection, resolve, validated
from mssts.core.errors import InputError
from mssts.inference.predict import predict_video, tracks_of_windows
from mssts.inference.windows import MIN_SIMILARITY, Part, Tracks, mask_iou, windows
from tests.models.small_model import clips, small_model

LEFT, RIGHT, TOP = ((slice(None), slice(0, 4)), (slice(None), slice(6, 10)), (slice(0, 4), slice(None)))
X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])
CATEGORIES = [(n, str(n)) for n in range(1, 6)]


def mask(where):
    """A run-length mask of 10 x 10 pixels; None where there is none."""
    if where is None:
        return None
    pixels = np.zeros((10, 10), np.uint8, order="F")
    pixels[where] = 1
    return run_length.encode(pixels)


def part(start, *where, scores=(0.5, 0.1), embedding=X):
    """What a query found: a mask in each frame, and boxes that name start and frame."""
    boxes = [[start, frame, 1.0, 1.0] for frame, _ in enumerate(where)]
    return Part(start, np.array(scores), embedding, list(map(mask, where)), boxes)


def joined(*found_in_windows, top_k=10):
    tracks = Tracks(top_k)
    for parts in found_in_windows:
        tracks.join(parts, parts[0].start + len(parts[0].segmentations))
    return tracks.best()


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (3, [(0, 3)]),
        (12, [(0, 12)]),
        (13, [(0, 12), (1, 13)]),  # the last one reaches back
        (21, [(0, 12), (9, 21)]),
        (24, [(0, 12), (9, 21), (12, 24)]),
    ],
)
def test_windows_overlap_and_the_last_one_is_as_long_as_the_others(frames, expected):
    video = torch.arange(frames)
    found = [(start, window.tolist()) for start, window in windows(video, 12, 3)]
    assert found == [(start, list(range(start, end))) for start, end in expected]


def test_a_window_is_there_as_soon_as_its_frames_are_read():
    read = []

    def video():
        for frame in torch.arange(100):
            read.append(frame)
            yield frame

    for start, window in windows(video(), 12, 3):
        assert len(read) == start + len(window)


def test_parts_whose_masks_overlap_are_joined_although_their_queries_changed_places():
    first = [part(0, LEFT, LEFT, LEFT, embedding=X), part(0, RIGHT, RIGHT, RIGHT, embedding=Y, scores=(0.4, 0.1))]
    second = [part(1, RIGHT, RIGHT, RIGHT, embedding=X), part(1, LEFT, LEFT, LEFT, embedding=Y, scores=(0.4, 0.1))]
    tracks = {found.number: found.segmentations for found in joined(first, second)}
    assert tracks == {0: [mask(LEFT)] * 4, 1: [mask(RIGHT)] * 4}


def test_the_sum_of_affinities_decides_and_not_the_best_pair():
    wide = (slice(None), slice(0, 6))
    # 40 of 60 pixels: the first track could have either part, the second only the first one
    first = [part(0, wide, embedding=X), part(0, LEFT, embedding=Y)]
    second = [part(0, wide, embedding=X), part(0, (slice(None), slice(0, 10)), embedding=X)]
    numbers = {found.number: found.segmentations[0] for found in joined(first, second)}
    assert numbers == {0: mask((slice(None), slice(0, 10))), 1: mask(wide)}


def test_the_first_half_of_shared_frames_is_that_of_the_earlier_window():
    (found, *_) = joined([part(0, *[LEFT] * 8)], [part(4, *[LEFT] * 8)])
    assert [box[:2] for box in found.boxes] == [[0, t] for t in range(6)] + [[4, t] for t in range(2, 8)]


def test_the_score_is_the_mean_over_the_windows_weighted_by_their_frames():
    best = joined([part(0, LEFT, LEFT, scores=(0.9, 0.3))], [part(1, *[LEFT] * 6, scores=(0.1, 0.5))])
    # (2 * 0.9 + 6 * 0.1) / 8 and (2 * 0.3 + 6 * 0.5) / 8
    assert [(found.label, found.score) for found in best] == [(1, pytest.approx(0.45)), (0, pytest.approx(0.3))]


def test_the_score_of_one_window_is_exactly_that_of_its_query():
    score = float(torch.tensor(0.1))
    assert joined([part(0, *[LEFT] * 7, scores=(score, 0.0))])[0].score == score


def test_an_object_that_leaves_and_returns_keeps_its_identity():
    other = part(0, *[RIGHT] * 4, embedding=Y)
    gone = [part(start, *[RIGHT] * 4, embedding=Y) for start in (3, 6)]
    nearly_x = np.array([0.7, np.sqrt(1 - 0.7**2)])
    back = [part(9, TOP, TOP, TOP, TOP, embedding=nearly_x), part(9, *[RIGHT] * 4, embedding=Y)]
    tracks = joined([part(0, LEFT, LEFT, None, None), other], gone[:1], gone[1:], back)
    segmentations = {found.number: found.segmentations for found in tracks}
    assert segmentations[0] == [mask(LEFT)] * 2 + [None] * 7 + [mask(TOP)] * 4
    assert segmentations[1] == [mask(RIGHT)] * 13 and len(segmentations) == 2


def test_an_object_with_another_embedding_is_a_new_one():
    below = MIN_SIMILARITY - 0.01
    unlike = np.array([below, np.sqrt(1 - below**2)])
    tracks = joined([part(0, LEFT, None)], [part(2, TOP, TOP, embedding=unlike)])
    assert {found.number for found in tracks} == {0, 1}


def test_objects_that_are_seen_apart_in_the_same_frame_are_not_joined_by_their_embedding():
    assert {found.number for found in joined([part(0, LEFT, LEFT)], [part(1, RIGHT, RIGHT)])} == {0, 1}


def test_an_object_that_only_one_window_sees_in_the_shared_frames_is_joined_by_its_embedding():
    assert {found.number for found in joined([part(0, LEFT, None)], [part(1, LEFT, LEFT)])} == {0}


def test_mask_iou_is_over_all_shared_frames():
    first, second = [mask(LEFT), mask(LEFT), None], [mask(LEFT), mask(TOP), mask(TOP), mask(TOP)]
    assert mask_iou(first, second) == pytest.approx((40 + 16 + 0) / (80 + 120 - 56))
    assert mask_iou(first, [None, None, mask(LEFT)]) == 0
    assert mask_iou(first, [None, None]) is None and mask_iou([], second) is None


def test_classes_that_are_never_reported_and_tracks_below_the_best_are_left_out():
    parts = [part(0, LEFT, scores=(-1.0, score)) for score in (0.2, 0.9, 0.4)]
    assert [(found.label, found.score) for found in joined(parts, top_k=2)] == [(1, 0.9), (1, 0.4)]
    assert [found.number for found in joined(parts)] == [1, 2, 0]


def test_the_number_of_remembered_tracks_is_bounded():
    rng = np.random.default_rng(0)
    tracks = Tracks(2)
    for start in range(100):
        tracks.join([part(start, LEFT, scores=(rng.random(), 0), embedding=np.eye(100)[start])], start + 1)
    assert len(tracks._tracks) == 20
    assert [found.score for found in tracks.best()] == sorted((found.score for found in tracks.best()), reverse=True)


def section(**values) -> PredictSection:
    return resolve("smoke").predict.model_copy(update=values)


@pytest.mark.parametrize("window", [7, 8, 100])
def test_a_window_that_covers_the_video_gives_what_the_whole_video_gives(window):
    model, frames = small_model("ms_sts_temporal").eval(), clips(7, 3, 64, 96)
    whole = predict_video(model, frames, 1, (64, 96), CATEGORIES, section(window=10**6))
    assert predict_video(model, iter(frames), 1, (64, 96), CATEGORIES, section(window=window, overlap=3)) == whole


def test_windows_of_a_model_give_a_mask_and_a_box_for_each_frame():
    model, frames = small_model("ms_sts_temporal").eval(), clips(1, 3, 64, 96).expand(20, -1, -1, -1)
    entries, boxes = predict_video(model, frames, 1, (64, 96), CATEGORIES, section(window=8, overlap=2))
    assert len(entries) == 10
    assert {len(found) for found in [*boxes, *(entry["segmentations"] for entry in entries)]} == {20}
    # every frame is the same, and so is every window: each query continues itself
    *_, tracks = tracks_of_windows(model, frames, 1, (64, 96), CATEGORIES, section(window=8, overlap=2))
    assert {tuple(map(str, found.segmentations)) for found in tracks.best()} == {
        (str(found.segmentations[0]),) * 20 for found in tracks.best()
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 0}, "predict: window: found 0; .*greater than 0"),
        ({"window": 5}, "predict: overlap: found 10; expected less than the window, 5"),
        ({"window": 5, "overlap": 5}, "predict: overlap: found 5; expected less than the window, 5"),
        ({"overlap": -1}, "predict: overlap: found -1"),
    ],
)
def test_windows_that_are_impossible_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        validated(PredictSection, section().model_dump() | values, "predict")


@pytest.mark.long
def test_36_frames_of_720p_take_less_than_4_gb():
    command = [sys.executable, "benchmarks/windows.py", "one", "--backbone", "resnet50", "--frames", "36"]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 4000


PEAK = """
import sys
from pathlib import Path
import torch
from mssts.inference.predict import predict_video
from tests.inference.test_windows import CATEGORIES, section
from tests.models.small_model import small_model
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
frames = (torch.randn(3, 240, 360, generator=generator) for _ in range(int(sys.argv[1])))
predict_video(small_model("ms_sts").eval(), frames, 1, (240, 360), CATEGORIES, section(window=50, overlap=5))
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(line.split()[1])
"""


@pytest.mark.long
def test_memory_depends_on_the_window_and_not_on_the_length_of_the_video():
    short, long = (
        int(subprocess.run([sys.executable, "-c", PEAK, str(n)], check=True, capture_output=True, text=True).stdout)
        for n in (100, 400)
    )
    assert long < 1.1 * short
