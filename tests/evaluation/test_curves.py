"""Curves, calibration and confusion by hand; an instance is a track of rectangles on 10x10 pixels."""

import numpy as np
import pytest

from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.curves import calibration, calibration_error, confusion, precision_recall

WHOLE, LEFT, RIGHT, LINE = (0, 0, 10, 10), (0, 0, 5, 10), (5, 0, 10, 10), (0, 0, 10, 1)


def test_precision_falls_to_zero_beyond_the_recall_that_is_reached(new_case):
    # by score: right, wrong; one of two instances is found
    case = new_case().video().instance(LEFT).instance(RIGHT).predict(LEFT, score=0.9).predict(LINE, score=0.8)
    curve = precision_recall(case.records())["AP50"]
    assert curve == [1.0] * 51 + [0.0] * 50


def test_precision_is_lifted_to_that_of_higher_recall(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT)
    case.predict(LINE, score=0.9).predict(LEFT, score=0.8).predict(RIGHT, score=0.7)
    assert precision_recall(case.records())["AP75"] == pytest.approx([2 / 3] * 101, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_a_curve_is_its_metric(random_case, seed):
    records = random_case(np.random.default_rng(seed)).records()
    numbers, curves = coco_metrics(records, records.categories), precision_recall(records)
    for name, curve in curves.items():
        assert np.mean(curve) == pytest.approx(numbers[name], abs=1e-6)


def test_scores_are_compared_with_the_share_that_is_right(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT)
    case.predict(LEFT, score=0.92).predict(RIGHT, score=0.98).predict(LINE, score=0.96).predict(LINE, score=0.05)
    case.predict(WHOLE, score=1.0)
    bins = calibration(case.records())
    assert [one["detections"] for one in bins] == [1, *[0] * 8, 4]
    assert (bins[0]["score"], bins[0]["right"]) == (0.05, 0.0)
    assert (bins[9]["score"], bins[9]["right"]) == (pytest.approx(0.965), 0.5)  # the whole frame has an IoU of 0.5
    assert (bins[5]["score"], bins[5]["right"]) == (None, None)
    assert calibration_error(bins) == pytest.approx((1 * 0.05 + 4 * 0.465) / 5)


def test_scores_that_are_no_probabilities_have_no_calibration(new_case):
    assert calibration(new_case().video().instance(LEFT).predict(LEFT, score=3.0).records()) == []
    assert calibration_error([]) is None


def test_confusion_counts_the_category_that_finds_each_instance(new_case):
    case = new_case(2).video(1).video(2)
    case.instance(LEFT, category=1).instance(RIGHT, category=2).instance(WHOLE, video=2, category=2)
    case.instance(LINE, video=2, category=1, crowd=1)
    case.predict(LEFT, category=2, score=0.9).predict(LEFT, category=1, score=0.4).predict(RIGHT, category=2, score=0.3)
    found = confusion(case.records(), {1: 1, 2: 2, 3: 2}, {1: "z", 2: "a"})
    assert found == [["z", "a", 1], ["a", "a", 1], ["a", None, 1]]
