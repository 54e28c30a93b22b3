"""Each number by hand; an instance is a track of rectangles on 10x10 pixels."""

import numpy as np
import pytest

from mssts.evaluation.average_precision import (
    RECALL_POINTS,
    _recall_points_reached,
    ap_metrics,
    average_precision,
    average_recall,
    mean_over_categories,
)
from mssts.evaluation.matching import match_greedily

WHOLE, LEFT, RIGHT = (0, 0, 10, 10), (0, 0, 5, 10), (5, 0, 10, 10)


def test_a_perfect_prediction_gives_1(new_case):
    case = new_case().video(1, 3).instance(WHOLE, None, LEFT).predict(WHOLE, None, LEFT, score=0.1)
    numbers = case.numbers()
    assert [numbers[name] for name in ("AP", "AP_small", "AR1", "AR100")] == pytest.approx([1, 1, 1, 1])
    assert numbers["AP_medium"] is None and numbers["AR_large"] is None


def test_an_iou_of_64_percent_passes_three_thresholds(new_case):
    numbers = new_case().video().instance(WHOLE).predict((0, 0, 8, 8)).numbers()
    assert numbers["AP"] == pytest.approx(0.3)
    assert (numbers["AP50"], numbers["AP75"]) == pytest.approx((1, 0))
    assert numbers["AR100"] == pytest.approx(0.3)


def test_a_false_positive_ranked_above_halves_precision(new_case):
    case = new_case().video().instance(LEFT).predict(RIGHT, score=0.9).predict(LEFT, score=0.8)
    assert case.numbers()["AP"] == pytest.approx(0.5)


def test_a_false_positive_ranked_below_does_not_lower_precision(new_case):
    case = new_case().video().instance(LEFT).predict(RIGHT, score=0.1).predict(LEFT, score=0.8)
    assert case.numbers()["AP"] == pytest.approx(1)


def test_half_of_the_instances_is_51_of_101_recall_points(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT).predict(LEFT)
    assert case.numbers()["AP"] == pytest.approx(51 / 101)
    assert case.numbers()["AR100"] == 0.5


def test_interpolation_lifts_earlier_precision(new_case):
    # by score: false, true, true: precision 1/2 at recall 1/2 is lifted to 2/3 of recall 1
    case = new_case().video().instance(LEFT).instance(RIGHT)
    case.predict((0, 0, 10, 1), score=0.9).predict(LEFT, score=0.8).predict(RIGHT, score=0.7)
    assert case.numbers()["AP"] == pytest.approx(2 / 3)


def test_ar1_counts_the_best_detection_of_a_video_only(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT).predict(LEFT, score=0.5).predict(RIGHT, score=0.6)
    numbers = case.numbers()
    assert (numbers["AR1"], numbers["AR10"]) == (0.5, 1)


def test_detection_101_of_a_category_does_not_count(new_case):
    case = new_case(2).video().instance(LEFT)
    for _ in range(100):
        case.predict(RIGHT, score=0.9)
    case.predict(LEFT, score=0.8)
    assert case.numbers()["AR100"] == 0
    case.predictions.pop(0)
    assert case.numbers()["AR100"] == 1


def test_detection_101_of_all_categories_does_not_count_class_agnostically(new_case):
    case = new_case(2).video().instance(LEFT).predict(LEFT, score=0.8)
    for _ in range(100):
        case.predict(RIGHT, score=0.9, category=2)
    assert case.numbers()["AR100"] == 1
    assert case.agnostic_numbers()["AR100"] == 0


def test_tied_scores_within_a_video_keep_the_order_of_the_file(new_case):
    before = new_case().video().instance(LEFT).predict(LEFT, score=0.5).predict(RIGHT, score=0.5)
    after = new_case().video().instance(LEFT).predict(RIGHT, score=0.5).predict(LEFT, score=0.5)
    assert (before.numbers()["AP"], after.numbers()["AP"]) == pytest.approx((1, 0.5))


def test_tied_scores_of_different_videos_follow_the_order_of_video_ids(new_case):
    case = new_case().video(2).video(1).instance(LEFT, video=2)
    case.predict(LEFT, video=2, score=0.5).predict(LEFT, video=1, score=0.5)
    assert case.numbers()["AP"] == pytest.approx(0.5)


def test_a_second_detection_of_an_instance_is_a_false_positive(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT)
    case.predict(LEFT, score=0.9).predict(LEFT, score=0.8).predict(RIGHT, score=0.7)
    assert case.numbers()["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_detections_on_a_crowd_are_ignored(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT, crowd=1)
    case.predict(RIGHT, score=0.9).predict(RIGHT, score=0.8).predict(LEFT, score=0.7)
    assert case.numbers()["AP"] == pytest.approx(1)


def test_a_crowd_alone_leaves_all_numbers_undefined(new_case):
    case = new_case().video().instance(LEFT, crowd=1).predict(LEFT)
    assert set(case.numbers(lenient=True).values()) == {None}


def test_the_area_range_is_that_of_the_files_areas(new_case):
    case = new_case().video(1, 3).instance(LEFT, LEFT, None, areas=[150**2, 0, None]).predict(LEFT, LEFT, None)
    numbers = case.numbers(lenient=True)  # the area is larger than the frame
    assert numbers["AP_small"] is None
    assert (numbers["AP"], numbers["AP_medium"]) == pytest.approx((1, 1))


def test_an_unmatched_detection_outside_the_area_range_is_ignored_there(new_case):
    case = new_case().video().instance(LEFT, areas=[150**2]).predict(RIGHT, score=0.9).predict(LEFT, score=0.8)
    numbers = case.numbers(lenient=True)  # the area is larger than the frame
    assert (numbers["AP"], numbers["AP_medium"]) == pytest.approx((0.5, 1))


def test_a_category_without_instances_does_not_enter_the_mean(new_case):
    case = new_case(3).video().instance(LEFT, category=1).predict(LEFT, category=1).predict(RIGHT, category=3)
    assert case.numbers()["AP"] == pytest.approx(1)


def test_a_category_without_predictions_enters_the_mean_as_zero(new_case):
    case = new_case(2).video().instance(LEFT, category=1).instance(RIGHT, category=2).predict(LEFT, category=1)
    assert case.numbers()["AP"] == pytest.approx(0.5)


def test_a_wrong_category_is_right_in_class_agnostic_numbers_only(new_case):
    case = new_case(2).video().instance(LEFT, category=1).predict(LEFT, category=2)
    assert case.numbers()["AP"] == 0
    assert case.agnostic_numbers()["AP"] == pytest.approx(1)


def test_no_prediction_gives_zero(new_case):
    numbers = new_case().video().instance(LEFT).numbers()
    assert (numbers["AP"], numbers["AR100"], numbers["AP_large"]) == (0, 0, None)


def test_of_equal_ious_the_last_instance_is_taken():
    iou = np.array([[0.8, 0.8]])
    assert match_greedily(iou, np.zeros(2, bool), np.zeros((1, 2), bool))[0, 0].tolist() == [1]


def test_an_instance_that_counts_is_preferred_to_an_ignored_one():
    iou = np.array([[0.9, 0.6], [0.9, 0.6]])
    given = match_greedily(iou, np.zeros(2, bool), np.array([[True, False]]))
    assert given[0, 0].tolist() == [1, 0]  # threshold 0.5: the counted one first, the ignored one for the second
    assert given[0, 4].tolist() == [0, -1]  # threshold 0.7: only the ignored one is near enough, and taken once


def test_a_crowd_can_be_matched_more_than_once():
    iou = np.array([[0.9], [0.9]])
    assert match_greedily(iou, np.array([True]), np.array([[True]]))[0, 0].tolist() == [0, 0]


def test_an_iou_equal_to_the_threshold_is_a_match():
    iou = np.array([[0.5]])
    assert match_greedily(iou, np.array([False]), np.array([[False]]))[0, :, 0].tolist() == [0] + 9 * [-1]


def test_a_video_with_weight_two_equals_the_video_written_twice(random_case):
    for seed in range(20):
        case = random_case(np.random.default_rng(seed), distinct_scores=True)
        records = case.records()
        weights = np.random.default_rng(seed).integers(0, 4, size=(1, 4)).astype(float)
        copies = [v for v in range(1, 5) for _ in range(int(weights[0, v - 1]))]
        if not copies:
            continue
        written = type(case)(2)
        for new, old in enumerate(copies, start=1):
            written.content["videos"].append({**case.content["videos"][old - 1], "id": new})
            for record in case.content["annotations"]:
                if record["video_id"] == old:
                    identifier = len(written.content["annotations"]) + 1
                    written.content["annotations"].append({**record, "video_id": new, "id": identifier})
            written.predictions += [{**p, "video_id": new} for p in case.predictions if p["video_id"] == old]
        again = written.records()
        ones = np.ones((1, len(copies)))
        names = ("AP", "AP50", "AP75", "AP_agnostic", "AP50_agnostic", "AP75_agnostic")
        weighted, unweighted = ap_metrics(records, 0, weights, names), ap_metrics(again, 0, ones, names)
        for name in names:
            np.testing.assert_allclose(weighted[name], unweighted[name], atol=1e-12)
        for best in (1, 100):
            for groups, groups_again in ((records.categories, again.categories), ([records.pooled], [again.pooled])):
                weighted_K = [average_recall(group, 0, weights, best) for group in groups]
                unweighted_K = [average_recall(group, 0, ones, best) for group in groups_again]
                found, expected = mean_over_categories(weighted_K), mean_over_categories(unweighted_K)
                np.testing.assert_allclose(found, expected, atol=1e-12)


def test_weightings_do_not_influence_each_other(random_case):
    records = random_case(np.random.default_rng(3)).records()
    weights = np.random.default_rng(0).integers(0, 3, size=(7, 4)).astype(float)
    for function in (average_precision, lambda *a: average_recall(*a, 10)):
        together = function(records.pooled, 0, weights)
        alone = [function(records.pooled, 0, weights[i : i + 1])[0] for i in range(7)]
        np.testing.assert_allclose(together, alone, rtol=1e-14)


def test_recall_points_are_counted_without_a_rounding_error():
    possible = np.array([k / n for n in range(1, 60) for k in range(n + 1)])
    np.testing.assert_array_equal(
        _recall_points_reached(possible), np.searchsorted(RECALL_POINTS, possible, side="right")
    )
    beside = np.concatenate([np.nextafter(RECALL_POINTS[1:], 0), RECALL_POINTS])
    np.testing.assert_array_equal(_recall_points_reached(beside), np.searchsorted(RECALL_POINTS, beside, side="right"))
