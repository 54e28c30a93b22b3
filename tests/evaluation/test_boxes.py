"""AP of the decoder's boxes: video IoU by hand, the boxes around masks, and faults in the file of boxes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mssts.core.errors import InputError
from mssts.core.files import read_record, record_beside, sha256_file, write_record
from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.evaluate import evaluate
from mssts.evaluation.matching import match
from mssts.evaluation.records_file import read_records
from mssts.evaluation.video_iou import video_iou_of_boxes
from mssts.ytvis.annotations import parse_annotations
from mssts.ytvis.boxes import boxes_beside, read_boxes
from mssts.ytvis.submission import parse_submission

ABSENT = [np.nan] * 4
RUN = {"checkpoint_sha256": "c0" * 32}


def iou(predicted, annotated):
    return video_iou_of_boxes(np.array([predicted], dtype=float), np.array([annotated], dtype=float))[0].item()


def test_sums_are_taken_over_frames_before_dividing():
    # frame 1: 4 of 4 + 8 - 4; frame 2: 10 of 10
    assert iou([[0, 0, 2, 2], [0, 0, 5, 2]], [[0, 0, 2, 4], [0, 0, 5, 2]]) == pytest.approx(14 / 18)


def test_a_frame_without_the_object_adds_the_predicted_box_to_the_union():
    assert iou([[0, 0, 2, 2], [0, 0, 3, 3]], [[0, 0, 2, 2], ABSENT]) == pytest.approx(4 / (4 + 9))
    assert iou([[0, 0, 2, 2], [1, 1, 0, 0]], [[0, 0, 2, 2], ABSENT]) == 1
    assert iou([[0, 0, 2, 2]], [ABSENT]) == 0
    assert iou([[1, 1, 0, 0]], [ABSENT]) == 0


def test_boxes_that_touch_or_lie_apart_share_nothing():
    assert iou([[0, 0, 2, 2]], [[2, 0, 2, 2]]) == iou([[0, 0, 2, 2]], [[2, 2, 1, 1]]) == 0
    # apart in both directions: the product of two negative sides is no area
    assert iou([[0, 0, 2, 2]], [[5, 5, 2, 2]]) == 0


def test_a_box_without_extent_shares_nothing():
    assert iou([[1, 1, 0, 0]], [[0, 0, 2, 2]]) == 0


def test_parts_outside_of_the_frame_count():
    assert iou([[-2, 0, 4, 2]], [[0, 0, 2, 2]]) == pytest.approx(4 / 8)


def test_equal_boxes_have_an_iou_of_exactly_one():
    boxes = np.random.default_rng(0).uniform(0.01, 900, (50, 3, 4)).round(2)
    assert set(np.diag(video_iou_of_boxes(boxes, boxes)[0]).tolist()) == {1.0}


def test_every_pair_and_frame_stands_at_its_place():
    one, other, third = [[0, 0, 3, 3], [0, 0, 3, 3]], [[5, 5, 4, 4], [0, 0, 3, 3]], [[0, 0, 3, 6], [9, 9, 1, 1]]
    found, frames = video_iou_of_boxes(np.array([one, other, third], dtype=float), np.array([one, other], dtype=float))
    assert found == pytest.approx(np.array([[1, 9 / 34], [9 / 34, 1], [9 / 28, 0]]))
    assert frames.tolist() == [[[1, 1], [0, 1]], [[0, 1], [1, 1]], [[0.5, 0], [0, 0]]]


@pytest.mark.parametrize("seed", range(20))
def test_iou_of_whole_boxes_is_that_of_their_masks(new_case, seed):
    rng = np.random.default_rng(seed)
    annotated = rng.integers(1, 5, (3, 4)) + np.array([0, 0, 5, 5])
    predicted = annotated + rng.integers(-1, 2, (3, 4))
    absent = int(rng.integers(3))
    corners = [None if frame == absent else tuple(box) for frame, box in enumerate(annotated.tolist())]
    case = new_case().video(1, 3).instance(*corners).predict(*map(tuple, predicted.tolist()))
    boxes_T4 = np.concatenate([predicted[:, :2], predicted[:, 2:] - predicted[:, :2]], axis=1).astype(float)
    truth = parse_annotations(case.content)
    predictions = parse_submission(case.predictions, truth).predictions
    masks, boxes = match(truth, predictions).overlaps, match(truth, predictions, boxes_PT4=boxes_T4[None]).overlaps
    assert masks.iou_P.size == 1 and boxes.iou_P.tolist() == pytest.approx(masks.iou_P.tolist())


def numbers(case, boxes, attributes=None):
    truth = parse_annotations(case.content)
    predictions = parse_submission(case.predictions, truth).predictions
    longest = max(video.length for video in truth.videos.values())
    padded = [one + [[0, 0, 0, 0]] * (longest - len(one)) for one in boxes]
    records = match(truth, predictions, attributes, np.array(padded, dtype=float))
    return coco_metrics(records, records.categories), records


def test_ap_is_that_of_the_boxes_and_not_of_the_masks(new_case):
    case = new_case().video(1, 2).video(2, 1)
    case.instance((0, 0, 4, 4), None).instance((0, 0, 5, 10), video=2)
    case.predict((6, 6, 9, 9), None, score=0.9).predict((0, 0, 5, 10), video=2, score=0.8)
    case.predict(None, None, score=0.7)
    # 16 of 16 + 4: IoU 0.8, right at seven of ten thresholds; apart; a perfect track
    found, records = numbers(case, [[[0, 0, 4, 4], [0, 0, 4, 1]], [[7, 0, 2, 10]], [[0, 0, 4, 4], [0, 0, 0, 0]]])
    # to 0.8: right, wrong, duplicate; above: wrong, wrong, right, a precision of 1 / 3; half of the instances are found
    assert found["AP50"] == pytest.approx(51 / 101)
    assert found["AP"] == pytest.approx(51 / 101 * (7 + 3 / 3) / 10)
    assert case.numbers()["AP"] == pytest.approx(51 / 101 / 2)
    assert records.pooled.prediction_N.tolist() == [0, 1, 2]


def test_tracks_of_different_lengths_stand_in_one_file(new_case):
    case = new_case()
    for video, length in enumerate((1, 3, 2), start=1):
        case.video(video, length).instance(*[(1, 2, 4, 6)] * length, video=video)
        case.predict(*[None] * length, video=video)
    assert numbers(case, [[[1, 2, 3, 4]] * length for length in (1, 3, 2)])[0]["AP"] == 1


def test_a_video_without_predictions_or_without_instances_matches_nothing(new_case):
    case = new_case().video(1).video(2).instance((0, 0, 5, 5)).predict((0, 0, 5, 5), video=2)
    assert numbers(case, [[[0, 0, 5, 5]]])[0]["AP"] == 0


def test_crowds_and_instances_without_an_attribute_are_ignored(new_case):
    case = new_case().video(1).instance((0, 0, 4, 4)).instance((5, 5, 9, 9), crowd=1)
    case.predict(None, score=0.9).predict(None, score=0.5)
    found, records = numbers(case, [[[5, 5, 4, 4]], [[0, 0, 4, 4]]], {1: {"fog": True}, 2: {"fog": False}})
    assert found["AP"] == pytest.approx(1)
    assert records.views[-1] == "attribute:fog" and records.pooled.positives_AV[-1].tolist() == [1]


def test_the_area_of_a_prediction_is_the_mean_of_its_boxes_with_an_extent(new_case):
    case = new_case().video(1, 2).instance((0, 0, 4, 4), (0, 0, 4, 4))
    case.predict(None, None, score=0.9).predict(None, None, score=0.5)
    # small: below 128 x 128; the wrong detection counts among the small ones only if its boxes are small
    for side, ap_small in ((150, 1.0), (120, 0.5)):
        found, _ = numbers(case, [[[500, 500, side, side], [0, 0, 0, 0]], [[0, 0, 4, 4], [0, 0, 4, 4]]])
        assert (found["AP"], found["AP_small"]) == pytest.approx((0.5, ap_small))


@pytest.fixture
def predicted(new_case, tmp_path) -> Path:
    """Predictions whose masks are all wrong and whose boxes are all right, their record, and the annotations."""
    case = new_case().video(1, 2).video(2, 1).instance((0, 0, 4, 4), None).instance((1, 2, 4, 6), video=2)
    case.predict((6, 6, 9, 9), None).predict((8, 8, 9, 9), video=2)
    (tmp_path / "gt.json").write_text(json.dumps(case.content))
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(case.predictions))
    write_boxes(path, [[[0, 0, 4, 4], [5, 5, 0, 0]], [[1, 2, 3, 4]]])
    return path


def write_boxes(predictions: Path, boxes: object) -> None:
    """Write the boxes, and the record with their digest."""
    boxes_beside(predictions).write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    files = {path.name: sha256_file(path) for path in (predictions, boxes_beside(predictions))}
    write_record(record_beside(predictions), RUN | {"files": files})


def evaluated(predictions: Path, run: dict | None = RUN) -> dict:
    return evaluate(predictions.with_name("gt.json"), predictions, predictions.with_name("metrics.json"), run)


def test_metrics_of_boxes_stand_beside_those_of_masks(predicted):
    metrics = evaluated(predicted)
    assert metrics == read_record(predicted.with_name("metrics.json"))
    assert set(metrics["boxes"]) == {"overall", "class_agnostic", "attributes"}
    assert (metrics["overall"]["AP"], metrics["boxes"]["overall"]["AP"]) == (0, 1)
    assert metrics["boxes"]["class_agnostic"]["AR1"] == 1
    assert metrics["produced_by"]["boxes_sha256"] == sha256_file(boxes_beside(predicted))
    matches = predicted.with_name("box_matches.npz")
    records = read_records(matches, metrics["produced_by"]["box_matches_sha256"])
    assert coco_metrics(records, records.categories) == metrics["boxes"]["overall"]


def test_boxes_change_nothing_in_the_evaluation_of_masks(predicted):
    with_boxes, matches = evaluated(predicted), predicted.with_name("matches.npz").read_bytes()
    for path in (record_beside(predicted), boxes_beside(predicted)):
        path.unlink()
    without = evaluated(predicted, run=None)
    assert predicted.with_name("matches.npz").read_bytes() == matches
    assert "boxes" not in without and not {"boxes_sha256", "box_matches_sha256"} & set(without["produced_by"])
    rest = without.keys() - {"produced_by"}
    assert {key: with_boxes[key] for key in rest} == {key: without[key] for key in rest}


def test_predictions_without_a_record_have_no_boxes(predicted):
    """Only a record says that the file beside them belongs to them."""
    record_beside(predicted).unlink()
    assert "boxes" not in evaluated(predicted, run=None)


def test_the_zip_of_predictions_has_the_same_boxes(predicted):
    plain = evaluated(predicted)
    with zipfile.ZipFile(predicted.with_suffix(".zip"), "w") as archive:
        archive.write(predicted, "results.json")
    assert evaluated(predicted.with_suffix(".zip"))["boxes"] == plain["boxes"]


def test_boxes_that_were_changed_or_lost_are_refused(predicted):
    boxes_beside(predicted).write_text("[[[0,0,4,4],[5,5,0,0]],[[1,2,3,5]]]")
    for run in (RUN, None):
        with pytest.raises(InputError, match=r"predictions\.boxes\.json: was changed .* Predict again"):
            evaluated(predicted, run)
    boxes_beside(predicted).unlink()
    with pytest.raises(InputError, match=r"predictions\.boxes\.json: no such file. Predict again"):
        evaluated(predicted)


def test_predictions_of_a_run_must_have_boxes(predicted):
    write_record(record_beside(predicted), RUN | {"files": {}})
    with pytest.raises(InputError, match=r"record\.json: has no digest of predictions\.boxes\.json.* Predict again"):
        evaluated(predicted)
    assert "boxes" not in evaluated(predicted, run=None)


FIRST, EXPECTED = [[1, 2, 3, 4]] * 2, "expected four finite numbers x, y, width, height in pixels, the last two"
FAULTS = [
    ('{"boxes": []}', "found dict at the top, expected the list of the boxes"),
    ("[[[0, 0, 4, 4]", "not valid JSON"),
    ([FIRST], "found 1 entries, expected 2, as many as the submission beside it has predictions"),
    ([FIRST] * 3, "found 3 entries, expected 2"),
    ([FIRST, {"a": 1}], r"\[1\]: found {'a': 1}, expected a list of 1, one for each frame"),
    ([FIRST, FIRST], r"\[1\]: found 2 boxes, expected a list of 1, one for each frame"),
    ([[[1, 2, 3, 4], None], [[1, 2, 3, 4]]], rf"\[0\]: frame 1: found None, {EXPECTED}"),
    ([[[1, 2, 3, 4], [1, 2, 3]], [[1, 2, 3, 4]]], rf"\[0\]: frame 1: found \[1, 2, 3\], {EXPECTED}"),
    ([FIRST, [[1, float("nan"), 3, 4]]], rf"\[1\]: frame 0: found \[1, nan, 3, 4\], {EXPECTED}"),
    ([FIRST, [[1, float("inf"), 3, 4]]], rf"\[1\]: frame 0: found \[1, inf, 3, 4\], {EXPECTED}"),
    ([FIRST, [[1, 2, -3, 4]]], rf"\[1\]: frame 0: found \[1, 2, -3, 4\], {EXPECTED}"),
    ([FIRST, [[1, 2, True, 4]]], rf"\[1\]: frame 0: found \[1, 2, True, 4\], {EXPECTED}"),
    ([FIRST, [[1, 2, "3", 4]]], rf"\[1\]: frame 0: found \[1, 2, '3', 4\], {EXPECTED}"),
    ([FIRST, [[1, 2, 3, 10**400]]], rf"\[1\]: frame 0: found .*, {EXPECTED}"),
]


@pytest.mark.parametrize(("boxes", "message"), FAULTS)
def test_faulty_boxes_are_refused_with_their_place_and_leave_no_metrics(predicted, boxes, message):
    write_boxes(predicted, boxes)
    with pytest.raises(InputError, match=rf"predictions\.boxes\.json: {message}"):
        evaluated(predicted)
    assert not predicted.with_name("metrics.json").exists()


def test_boxes_stay_with_their_prediction_where_others_are_ignored(new_case, tmp_path):
    case = new_case().video().instance((0, 0, 4, 4)).predict((6, 6, 9, 9), category=7).predict((0, 0, 4, 4))
    truth = parse_annotations(case.content)
    found = parse_submission(case.predictions, truth, lenient=True)
    path = tmp_path / "p.boxes.json"
    path.write_text("[[[6, 6, 3, 3]], [[0, 0, 4, 4.5]]]")
    assert read_boxes(path, found, truth).tolist() == [[[0, 0, 4, 4.5]]]


def test_boxes_of_shorter_videos_are_followed_by_zeros(new_case, tmp_path):
    case = new_case().video(1, 1).video(2, 2).video(3, 3).instance((0, 0, 4, 4), (0, 0, 4, 4), video=2)
    case.predict((0, 0, 4, 4), video=1).predict(None, None, video=2)
    truth = parse_annotations(case.content)
    path = tmp_path / "p.boxes.json"
    path.write_text("[[[1, 2, 3, 4]], [[5, 6, 7, 8], [-1, 0, 1, 2.5]]]")
    found = read_boxes(path, parse_submission(case.predictions, truth), truth)
    none = [0, 0, 0, 0]
    assert found.tolist() == [[[1, 2, 3, 4], none, none], [[5, 6, 7, 8], [-1, 0, 1, 2.5], none]]
    path.write_text("[]")
    empty = read_boxes(path, parse_submission([], truth), truth)
    records = match(truth, (), None, empty)
    assert coco_metrics(records, records.categories)["AP"] == 0
