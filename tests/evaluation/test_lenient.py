"""Silent failures of the public evaluator: an error by default, its own number and a counted warning with `lenient`.

The numbers beside the cases are worked out by hand from its code; every rectangle has 10 pixels per column.
"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mssts.cli import app
from mssts.core.errors import InputError
from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.errors import error_gains
from mssts.evaluation.evaluate import evaluate
from mssts.evaluation.matching import match
from mssts.ytvis.annotations import parse_annotations
from mssts.ytvis.submission import parse_submission

pytestmark = pytest.mark.usefixtures("each_reader")

LEFT, RIGHT, HALF = (0, 0, 5, 10), (5, 0, 10, 10), (0, 0, 5, 5)


def lenient_numbers(case):
    truth = parse_annotations(case.content, lenient=True)
    submission = parse_submission(case.predictions, truth, lenient=True)
    records = match(truth, submission.predictions)
    notices = {notice.what.partition(":")[0]: notice.count for notice in (*truth.notices, *submission.notices)}
    return coco_metrics(records, records.categories), notices


def refused(case, *words):
    with pytest.raises(InputError) as error:
        truth = parse_annotations(case.content)
        parse_submission(case.predictions, truth)
    return all(word in str(error.value) for word in words)


def test_a_short_track_is_compared_over_its_own_frames_only(new_case):
    case = new_case().video(1, 3).instance(LEFT, LEFT, RIGHT).predict(LEFT, LEFT)
    assert refused(case, "found 2 frames, but video 1 has 3")
    numbers, notices = lenient_numbers(case)
    assert numbers["AP"] == pytest.approx(1)  # the third frame of the annotation adds nothing to the union
    assert notices == {"tracks without exactly one entry per frame": 1}


def test_frames_beyond_the_end_of_the_annotation_do_not_count(new_case):
    case = new_case().video(1, 1).instance(LEFT).predict(LEFT, RIGHT, RIGHT)
    assert lenient_numbers(case)[0]["AP"] == pytest.approx(1)


def test_an_annotated_frame_of_another_size_adds_to_neither_intersection_nor_union(new_case, rectangle_of):
    case = new_case().video(1, 2).instance(LEFT, LEFT).predict(HALF, LEFT)
    case.predictions[0]["segmentations"][0] = rectangle_of((0, 0, 9, 9), (9, 11))
    assert refused(case, "segmentations[0]: size: found [9, 11], expected [10, 10]")
    numbers, notices = lenient_numbers(case)
    assert numbers["AP"] == pytest.approx(1)  # only the second frame is left
    assert notices == {"masks whose size is not that of the video": 1}


def test_a_frame_of_another_size_without_annotation_adds_to_the_union(new_case, rectangle_of):
    case = new_case().video(1, 2).instance(None, LEFT).predict(None, LEFT)
    case.predictions[0]["segmentations"][0] = rectangle_of((0, 0, 5, 5), (9, 11))  # 25 pixels beside 50
    assert lenient_numbers(case)[0]["AP"] == pytest.approx(0.4)  # IoU 50 / 75 passes four thresholds of ten


def test_a_prediction_of_an_unknown_category_does_not_count(new_case):
    case = new_case().video().instance(LEFT).predict(LEFT, score=0.5).predict(RIGHT, category=41, score=0.9)
    assert refused(case, "category_id: found 41")
    numbers, notices = lenient_numbers(case)
    assert numbers["AP"] == pytest.approx(1)
    assert notices == {"predictions of unknown categories": 1}


def test_a_nan_score_ranks_last(new_case):
    case = new_case().video().instance(LEFT).predict(RIGHT, score=float("nan")).predict(LEFT, score=-5.0)
    assert refused(case, "score: found nan")
    assert lenient_numbers(case)[0]["AP"] == pytest.approx(1)


def test_a_repeated_annotation_id_counts_the_last_instance_twice(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT, id=1).predict(RIGHT)
    assert refused(case, "id 1 occurs twice")
    numbers, notices = lenient_numbers(case)
    assert numbers["AR100"] == pytest.approx(0.5)  # two instances, both the right one
    assert notices == {"several entries of annotations with the same id": 1}


def test_a_repeated_id_of_an_unknown_category_counts_twice_class_agnostically(new_case):
    case = new_case().video().instance(RIGHT, category=9).instance(LEFT, id=1).predict(LEFT)
    truth = parse_annotations(case.content, lenient=True)
    records = match(truth, parse_submission(case.predictions, truth, lenient=True).predictions)
    assert coco_metrics(records, records.categories)["AR100"] == pytest.approx(1)
    assert coco_metrics(records, [records.pooled])["AR100"] == pytest.approx(0.5)  # both names stand for the last


def test_a_match_to_annotation_id_zero_does_not_count_as_right(new_case):
    case = new_case().video().instance(LEFT, id=0).predict(LEFT)
    assert refused(case, "id: found 0")
    assert lenient_numbers(case)[0]["AP"] == 0


def test_annotations_of_unknown_videos_or_categories_do_not_count(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT, video=7).instance(RIGHT, category=9).predict(LEFT)
    assert refused(case, "video_id: found 7", "category_id: found 9")
    numbers, notices = lenient_numbers(case)
    assert (numbers["AP"], len(notices)) == (pytest.approx(1), 2)


def test_empty_entries_are_read_as_null(new_case):
    case = new_case().video(1, 3).instance(LEFT, None, None).predict(LEFT, None, None)
    case.predictions[0]["segmentations"][1:] = [{}, []]
    assert refused(case, "segmentations[1]")
    numbers, notices = lenient_numbers(case)
    assert numbers["AP"] == pytest.approx(1)
    assert notices == {"empty entries that are not null": 2}


def test_length_counts_where_the_number_of_file_names_is_another(new_case):
    case = new_case().video(1, 2).instance(LEFT, LEFT).predict(LEFT, LEFT)
    case.content["videos"][0]["file_names"] = ["a.jpg"]
    assert refused(case, "length: found 2, but there are 1 file_names")
    numbers, notices = lenient_numbers(case)
    assert numbers["AP"] == pytest.approx(1)
    assert notices == {"videos whose length differs from the number of their file_names": 1}


def test_names_of_frames_are_not_used(new_case):
    case = new_case().video(1).video(2).instance(LEFT).predict(LEFT)
    case.content["videos"][0]["file_names"] = ["../a.jpg"]
    case.content["videos"][1]["file_names"] = None
    assert refused(case, "videos[0]: file_names: '../a.jpg' points outside", "videos[1]: file_names: found None")
    numbers, notices = lenient_numbers(case)
    assert numbers["AP"] == pytest.approx(1)
    assert notices == {
        "file_names that point outside of the image folder": 1,
        "file_names that are not a list of names": 1,
    }


def test_all_numbers_are_undefined_without_an_annotation(new_case):
    case = new_case().video().predict(LEFT)
    assert refused(case, "annotations: found []")
    numbers, notices = lenient_numbers(case)
    assert set(numbers.values()) == {None}
    assert notices == {"no annotations": 1}


def test_an_empty_list_and_predictions_beyond_the_hundredth_give_a_warning(new_case):
    case = new_case().video().instance(LEFT)
    assert lenient_numbers(case)[1] == {"no predictions": 1}
    for _ in range(103):
        case.predict(LEFT)
    assert lenient_numbers(case)[1] == {"predictions beyond the top 100 of a video and category": 3}


def areas(*values):
    return lambda case: case.content["annotations"][0].update(areas=list(values))


TOLERATED_AREAS = {
    "one short": (areas(150**2), "areas without exactly one entry per frame", "AP_medium"),
    "one too many": (areas(150**2, 0, 150**2), "areas without exactly one entry per frame", "AP_medium"),
    "none": (areas(), "areas without exactly one entry per frame", "AP_small"),
    "null where the object is visible": (areas(150**2, None), "areas that are null where the object", "AP_medium"),
    "null everywhere": (areas(None, None), "areas that are null where the object has a mask", "AP_small"),
    "larger than the frame": (areas(300**2, 300**2), "areas larger than the frame", "AP_large"),
}


@pytest.mark.parametrize("name", TOLERATED_AREAS)
def test_the_mean_of_the_areas_in_the_file_decides_the_area_range(new_case, name):
    change, notice, defined = TOLERATED_AREAS[name]
    case = new_case().video(1, 2).instance(LEFT, LEFT).predict(LEFT, LEFT)
    change(case)
    assert refused(case, "annotations[0]: areas")
    numbers, notices = lenient_numbers(case)
    assert notice in " ".join(notices)
    assert [size for size in ("AP_small", "AP_medium", "AP_large") if numbers[size] is not None] == [defined]
    assert numbers["AP"] == pytest.approx(1)


@pytest.mark.parametrize("area", [-1, -0.5, float("nan"), float("inf"), 1e11, 10**30, True, "50", [50], {}])
def test_areas_that_would_undefine_every_metric_are_refused_even_leniently(new_case, area):
    case = new_case().video(1, 2).instance(LEFT, LEFT, areas=[50, area]).predict(LEFT, LEFT)
    for lenient in (False, True):
        with pytest.raises(
            InputError, match=r"annotations\[0\]: areas\[1\]: found .*, expected a number of pixels from 0"
        ):
            parse_annotations(case.content, lenient=lenient)


def test_all_numbers_are_undefined_if_every_object_is_a_crowd(new_case):
    case = new_case(2).video().instance(LEFT, crowd=1).instance(RIGHT, category=2, crowd=1).predict(LEFT)
    assert refused(case, "annotations: every object is a crowd")
    numbers, notices = lenient_numbers(case)
    assert set(numbers.values()) == {None}
    assert notices == {"no object that counts": 1}


@pytest.mark.parametrize("lenient", [False, True])
def test_what_silently_moves_the_metrics_is_counted(new_case, lenient):
    case = new_case(4).video(1, 2).instance(LEFT, LEFT).instance(LEFT, None, category=2, crowd=1)
    case.instance(None, None, category=4).predict(LEFT, LEFT)
    notices = parse_annotations(case.content, lenient=lenient).notices
    assert {(notice.what.partition(":")[0], notice.count, notice.first) for notice in notices} == {
        ("objects without a pixel in any frame", 1, "annotations[2]"),
        ("categories without an object that counts", 2, "category 2"),
    }


@pytest.mark.parametrize("repeated", [2, 3])
def test_gains_of_a_repeated_annotation_id_are_those_of_several_objects(new_case, repeated):
    case = new_case(2).video()
    for _ in range(repeated):
        case.instance(LEFT, id=1)
    for score in (0.9, 0.8, 0.7):
        case.predict(LEFT, score=score)
    case.predict(LEFT, category=2)
    truth = parse_annotations(case.content, lenient=True)
    predictions = parse_submission(case.predictions, truth, lenient=True).predictions
    gains = error_gains(truth, predictions, match(truth, predictions))
    assert gains["missed"]["count"] == 0
    assert gains["spurious"]["count"] == 3 - repeated
    assert gains["classification"] == {"AP": 0, "AP50": 0, "count": 1}


def test_damaged_runs_are_refused_even_leniently(new_case):
    case = new_case().video().instance(LEFT).predict(LEFT)
    case.predictions[0]["segmentations"][0]["counts"] = "0" * 9  # the public code never ends on these
    with pytest.raises(InputError, match="runs add up to 0 pixels"):
        lenient_numbers(case)


def test_the_command_prints_and_records_its_warnings(new_case, tmp_path):
    case = new_case().video(1, 2).instance(LEFT, LEFT).predict(LEFT).predict(LEFT)
    (tmp_path / "gt.json").write_text(json.dumps(case.content))
    (tmp_path / "p.json").write_text(json.dumps(case.predictions))
    arguments = ["evaluate", "--annotations", str(tmp_path / "gt.json"), "--predictions", str(tmp_path / "p.json")]
    arguments += ["--output", str(tmp_path / "metrics.json")]
    assert isinstance(CliRunner().invoke(app, arguments).exception, InputError)
    done = CliRunner().invoke(app, [*arguments, "--lenient"])
    assert done.exit_code == 0
    assert "warning: predictions: tracks without exactly one entry per frame" in done.stderr
    assert "(2 times, first at [0])" in done.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert [(one["file"], one["count"], one["first"]) for one in metrics["warnings"]] == [("predictions", 2, "[0]")]
    assert metrics["produced_by"]["lenient"] is True


def test_lenient_changes_no_number_of_a_clean_file(random_case, tmp_path):
    case = random_case(np.random.default_rng(4))
    (tmp_path / "gt.json").write_text(json.dumps(case.content))
    (tmp_path / "p.json").write_text(json.dumps(case.predictions))
    files = tmp_path / "gt.json", tmp_path / "p.json"
    strict = evaluate(*files, tmp_path / "strict" / "metrics.json")
    lenient = evaluate(*files, tmp_path / "lenient" / "metrics.json", lenient=True)
    assert strict.pop("produced_by") != lenient.pop("produced_by")
    assert strict == lenient
    assert strict["warnings"] == []
