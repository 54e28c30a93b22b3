"""Attributes on 10x10 frames by hand."""

import pytest

from mssts.evaluation.attributes import THRESHOLDS, attribute_measures, attribute_metrics, challenge_attributes
from mssts.ytvis.annotations import parse_annotations

STILL = (3, 3, 6, 6)


def measures(case, identifier=1):
    return attribute_measures(parse_annotations(case.content))[identifier]


def flags(case, identifier=1):
    return {name for name, has in challenge_attributes(parse_annotations(case.content))[identifier].items() if has}


def test_a_still_object_has_no_attribute(new_case):
    case = new_case().video(1, 3).instance(STILL, STILL, STILL)
    assert flags(case) == set()
    assert measures(case) == {
        "scale_variation": 1,
        "aspect_ratio_change": 1,
        "fast_motion": 0,
        "occlusion": 0,
        "partial_visibility": 0,
    }


def test_scale_variation_is_the_ratio_of_the_largest_to_the_smallest_box_area(new_case):
    case = new_case().video(1, 3).instance((2, 2, 8, 8), None, (3, 3, 6, 6))
    assert measures(case)["scale_variation"] == pytest.approx(36 / 9)
    assert "scale_variation" in flags(case)


def test_aspect_ratio_change_is_the_largest_aspect_ratio_over_the_smallest(new_case):
    case = new_case().video(1, 2).instance((2, 2, 8, 5), (2, 2, 5, 8))
    assert measures(case)["aspect_ratio_change"] == pytest.approx(4)
    assert flags(case) == {"aspect_ratio_change"}


def test_fast_motion_is_in_units_of_the_objects_size(new_case):
    case = new_case().video(1, 2).instance((1, 1, 4, 4), (5, 1, 8, 4))
    assert measures(case)["fast_motion"] == pytest.approx(4 / 3)
    assert flags(case) == {"fast_motion"}


def test_motion_is_not_measured_across_a_gap(new_case):
    case = new_case().video(1, 3).instance((1, 1, 4, 4), None, (5, 1, 8, 4))
    assert measures(case)["fast_motion"] == 0


def test_a_return_after_a_gap_is_an_occlusion(new_case):
    assert flags(new_case().video(1, 3).instance(STILL, None, STILL)) == {"occlusion"}
    assert flags(new_case().video(1, 3).instance(None, STILL, None)) == set()


def test_occlusion_is_the_share_of_the_box_that_another_object_covers(new_case):
    case = new_case().video(1, 2).instance((2, 2, 6, 6), (2, 2, 6, 6)).instance((5, 2, 9, 6), (4, 2, 8, 6))
    assert measures(case)["occlusion"] == pytest.approx(0.5)
    assert flags(case) == {"occlusion"}


def test_an_object_of_another_video_covers_nothing(new_case):
    case = new_case().video(1).video(2).instance(STILL, video=1).instance(STILL, video=2)
    assert measures(case)["occlusion"] == 0


def test_an_object_cut_by_the_border_is_partially_visible(new_case):
    case = new_case().video(1, 2).instance((5, 3, 9, 6), (9, 3, 10, 6))
    assert measures(case)["partial_visibility"] == pytest.approx(1 - 3 / 12)
    assert "partial_visibility" in flags(case)


@pytest.mark.parametrize("boxes", [[(5, 3, 10, 6), (5, 3, 10, 6)], [(4, 3, 8, 6), (4, 3, 5, 6)]])
def test_neither_border_alone_nor_shrinking_alone_is_partial_visibility(new_case, boxes):
    assert "partial_visibility" not in flags(new_case().video(1, 2).instance(*boxes))


def test_an_object_without_a_pixel_has_no_attribute(new_case):
    assert flags(new_case().video(1, 2).instance((0, 0, 0, 0), None)) == set()


def test_recorded_attributes_replace_measured_ones(new_case):
    recorded = {"fog": True, "occlusion": False}
    case = new_case().video(1, 3).instance(STILL, None, STILL, attributes=recorded).instance(STILL, None, STILL)
    both = challenge_attributes(parse_annotations(case.content))
    assert both[1] == recorded
    assert set(both[2]) == set(THRESHOLDS) and both[2]["occlusion"]


@pytest.mark.parametrize("attributes", [{"rotation": 0.5, "track_id": 3}, {}])
def test_challenges_are_measured_where_no_attribute_is_true_or_false(new_case, attributes):
    case = new_case().video(1, 3).instance(STILL, None, STILL, attributes=attributes)
    assert flags(case) == {"occlusion"}


def test_attributes_that_are_not_true_or_false_are_counted_and_not_used(new_case):
    recorded = {"fog": True, "rotation": 0.5, "keyframe": None}
    truth = parse_annotations(new_case().video().instance(STILL, attributes=recorded).content)
    assert challenge_attributes(truth) == {1: {"fog": True}}
    [notice] = truth.notices
    assert (notice.count, notice.first) == (2, "annotations[0]")
    assert notice.what == "attributes whose value is not true or false: ignored"


def attribute_numbers(case):
    return attribute_metrics(case.records(challenge_attributes(parse_annotations(case.content))))


def test_an_instance_without_the_attribute_is_ignored(new_case):
    left, right = (0, 0, 5, 10), (5, 0, 10, 10)
    case = new_case(2).video()
    case.instance(left, attributes={"fog": True}).instance(right, attributes={"fog": False})
    case.predict(right, score=0.9).predict(left, score=0.8)
    fog = attribute_numbers(case)["fog"]
    assert fog["instances"] == 1
    assert [fog[name] for name in ("AP", "AP75", "AP_agnostic")] == pytest.approx([1, 1, 1])
    case.predictions = case.predictions[:1]
    assert attribute_numbers(case)["fog"]["AP"] == 0


def test_an_unmatched_detection_counts_against_an_attribute(new_case):
    case = new_case().video().instance((0, 0, 5, 10), attributes={"fog": True})
    case.predict((5, 0, 10, 10), score=0.9).predict((0, 0, 5, 10), score=0.8)
    assert attribute_numbers(case)["fog"]["AP"] == pytest.approx(0.5)


def test_the_class_agnostic_ap_of_an_attribute_ignores_categories(new_case):
    case = new_case(2).video().instance(STILL, attributes={"fog": True}).predict(STILL, category=2)
    fog = attribute_numbers(case)["fog"]
    assert (fog["AP"], fog["AP_agnostic"]) == pytest.approx((0, 1))


def test_the_ap_of_an_attribute_without_instances_is_undefined(new_case):
    case = new_case().video().instance(STILL, attributes={"fog": False})
    case.instance(STILL, crowd=1, attributes={"fog": True})
    assert attribute_numbers(case)["fog"] == {"AP": None, "AP75": None, "AP_agnostic": None, "instances": 0}
