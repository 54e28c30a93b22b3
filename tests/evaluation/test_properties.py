import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
quickly = settings(max_examples=40, deadline=None)


def value(number):
    return -1.0 if number is None else number


def counted(case):
    return any(not record["iscrowd"] for record in case.content["annotations"])


@quickly
@given(seeds)
def test_the_order_of_videos_does_not_change_ap(random_case, seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng, distinct_scores=True)
    before = case.numbers(), case.agnostic_numbers()
    renamed = {old + 1: int(new) + 1 for old, new in enumerate(rng.permutation(4))}
    for video in case.content["videos"]:
        video["id"] = renamed[video["id"]]
    for record in case.content["annotations"] + case.predictions:
        record["video_id"] = renamed[record["video_id"]]
    rng.shuffle(case.content["videos"])
    for old, new in zip(before, (case.numbers(), case.agnostic_numbers()), strict=True):
        for name in old:
            assert value(new[name]) == pytest.approx(value(old[name]), abs=1e-12)


@quickly
@given(seeds)
def test_perfect_predictions_give_1(random_case, seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    keys = ("video_id", "category_id", "segmentations")
    case.predictions = [
        {**{key: record[key] for key in keys}, "score": float(rng.random())}
        for record in case.content["annotations"]
        if not record["iscrowd"]
    ]
    expected = pytest.approx(1 if counted(case) else -1)
    assert value(case.numbers()["AP"]) == expected
    assert value(case.numbers()["AR100"]) == expected
    assert value(case.agnostic_numbers()["AP"]) == expected


@quickly
@given(seeds)
def test_a_lower_scored_duplicate_does_not_raise_ap(random_case, seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng, distinct_scores=True)
    if not case.predictions:
        return
    before = case.numbers()
    copied = case.predictions[int(rng.integers(len(case.predictions)))]
    lowest = min(prediction["score"] for prediction in case.predictions)
    case.predictions.append({**copied, "score": lowest / 2})
    after = case.numbers()
    if after["AR100"] == before["AR100"]:  # otherwise the copy found another, similar instance
        assert value(after["AP"]) <= value(before["AP"]) + 1e-12


@quickly
@given(seeds)
def test_numbers_keep_their_range_and_order(random_case, seed):
    numbers = {name: value(number) for name, number in random_case(np.random.default_rng(seed)).numbers().items()}
    assert all(number == -1 or 0 <= number <= 1 + 1e-12 for number in numbers.values())
    assert numbers["AP75"] <= numbers["AP50"] + 1e-12 and numbers["AP"] <= numbers["AP50"] + 1e-12
    assert numbers["AR1"] <= numbers["AR10"] <= numbers["AR100"]


@quickly
@given(seeds)
def test_scores_count_by_their_order_only(random_case, seed):
    case = random_case(np.random.default_rng(seed))
    before = case.numbers()
    for prediction in case.predictions:
        prediction["score"] = 3 * prediction["score"] ** 3 - 7
    assert case.numbers() == before


@quickly
@given(seeds)
def test_class_agnostic_numbers_do_not_depend_on_predicted_categories(random_case, seed):
    rng = np.random.default_rng(seed)
    case = random_case(rng, distinct_scores=True)
    before = case.agnostic_numbers()
    for prediction in case.predictions:
        prediction["category_id"] = int(rng.integers(1, 3))
    assert case.agnostic_numbers() == before
