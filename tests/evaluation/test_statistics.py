import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.statistics import MIN_SEEDS, bootstrap_over_videos, compare_seeds, holm, sign_flip_p_value

LEFT, RIGHT = (0, 0, 5, 10), (5, 0, 10, 10)


def hits(new_case, found):
    """One instance in each video, found or not: AP is the share of videos in which it is found, up to recall points."""
    case = new_case()
    for video, hit in enumerate(found, start=1):
        case.video(video).instance(LEFT, video=video)
        if hit:
            case.predict(LEFT, video=video, score=1 / (1 + video))
    return case.records()


def test_identical_runs_do_not_differ(random_case):
    records = random_case(np.random.default_rng(0), videos=12).records()
    for interval in bootstrap_over_videos([records], [records], 200, np.random.default_rng(0)).values():
        assert (interval.difference, interval.low, interval.high) == (0, 0, 0)


def test_the_difference_is_second_minus_first_on_all_videos(random_case):
    case = random_case(np.random.default_rng(5), videos=10)
    first = case.records()
    case.predictions = case.predictions[::2]
    second = case.records()
    result = bootstrap_over_videos([first], [second], 50, np.random.default_rng(0))
    for name, kind, groups in (("AP", "AP", "all"), ("AP75", "AP75", "all"), ("AP_agnostic", "AP", "pooled")):
        values = [
            coco_metrics(run, run.categories if groups == "all" else [run.pooled])[kind] for run in (first, second)
        ]
        assert result[name].difference == pytest.approx(values[1] - values[0], abs=1e-12)
        assert result[name].low <= result[name].high


def test_the_interval_is_that_of_the_binomial_share(new_case):
    # AP of `hits` is floor(100 share) + 1 of 101 points; resampled shares are binomial
    found = [video % 2 for video in range(100)]
    interval = bootstrap_over_videos(
        [hits(new_case, [0] * 100)], [hits(new_case, found)], 2000, np.random.default_rng(1)
    )["AP"]
    deviation = np.sqrt(0.25 / 100)
    assert interval.difference == pytest.approx(51 / 101)
    assert interval.low == pytest.approx(0.5 - 1.96 * deviation, abs=0.02)
    assert interval.high == pytest.approx(0.5 + 1.96 * deviation, abs=0.02)


def test_an_interval_of_few_replicates_is_as_wide_as_its_confidence_asks(new_case):
    # one more resample lies below 19 others with probability 1/20, and above them too: they span a 90 % interval
    runs = hits(new_case, [0] * 100), hits(new_case, [video % 2 for video in range(100)])
    for seed in range(5):
        within, all_draws = (
            bootstrap_over_videos([runs[0]], [runs[1]], 19, np.random.default_rng(seed), confidence, ("AP",))["AP"]
            for confidence in (0.9, 1.0)
        )
        assert (within.low, within.high) == pytest.approx((all_draws.low, all_draws.high))


def test_intervals_cover_the_true_difference_about_nineteen_times_in_twenty(new_case):
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        first, second = hits(new_case, rng.random(40) < 0.3), hits(new_case, rng.random(40) < 0.6)
        interval = bootstrap_over_videos([first], [second], 200, rng)["AP"]
        covered += interval.low <= 0.3 <= interval.high
    assert 50 <= covered <= 60


def test_runs_are_resampled_on_the_same_videos(new_case):
    # both find the same instances except one: paired, the difference is never below 0
    found = [video % 2 for video in range(30)]
    better = [1, *found[1:]]
    interval = bootstrap_over_videos([hits(new_case, found)], [hits(new_case, better)], 300, np.random.default_rng(0))[
        "AP"
    ]
    assert interval.low >= -1e-12
    assert interval.high < 0.15


def test_seeds_of_a_group_are_averaged(new_case):
    none, all_found = hits(new_case, [0] * 10), hits(new_case, [1] * 10)
    result = bootstrap_over_videos([none], [none, all_found], 50, np.random.default_rng(0))["AP"]
    assert (result.difference, result.low, result.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_same_seed_gives_the_same_intervals(random_case):
    case = random_case(np.random.default_rng(1), videos=8)
    first = case.records()
    case.predictions = case.predictions[1:]
    second = case.records()
    draws = [bootstrap_over_videos([first], [second], 70, np.random.default_rng(4)) for _ in range(2)]
    assert draws[0] == draws[1]


def test_resamples_without_an_instance_do_not_count(new_case):
    case = new_case().video(1).video(2).instance(LEFT, video=1).predict(LEFT, video=1)
    result = bootstrap_over_videos([case.records()], [case.records()], 400, np.random.default_rng(0))["AP"]
    assert 250 < result.replicates < 350  # a quarter of the resamples draws the empty video twice


def test_an_undefined_metric_gets_no_interval(new_case):
    case = new_case().video(1).instance(LEFT, crowd=1)
    records = [case.records(lenient=True)]
    result = bootstrap_over_videos(records, records, 10, np.random.default_rng(0))["AP"]
    assert (result.difference, result.low, result.high, result.replicates) == (None, None, None, 0)


def test_runs_on_different_videos_are_refused(new_case):
    with pytest.raises(InputError, match="different videos"):
        bootstrap_over_videos([hits(new_case, [1])], [hits(new_case, [1, 1])], 10, np.random.default_rng(0))
    with pytest.raises(InputError, match="found 1 and 0 runs"):
        bootstrap_over_videos([hits(new_case, [1])], [], 10, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0], 1.0),
        ([1.0, 2.0], 0.5),  # of the four sums +-1 +-2, two (3 and -3) are as far from 0 as 3
        ([1.0, 2.0, -3.0], 1.0),  # the sum is 0
        ([1.0, 2.0, 4.0, -0.5], 0.25),  # at least 6.5 in absolute value: 7.5, 6.5, -6.5, -7.5, 4 of 16
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2 / 64),
        ([-0.6, -0.6, -0.4, 0.4], 6 / 16),  # four sums of +-1.2 that differ by rounding, two of +-2.0
        ([0.0, 0.0], 1.0),
    ],
)
def test_the_sign_flip_p_value_is_the_one_by_hand(differences, expected):
    assert sign_flip_p_value(differences) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=7))
def test_the_sign_flip_p_value_is_the_share_of_all_flips(differences):
    # tenths: sums that are equal on paper differ by rounding
    flips = itertools.product((-1, 1), repeat=len(differences))
    far = [abs(np.dot(signs, differences)) >= abs(sum(differences)) for signs in flips]
    assert sign_flip_p_value([value / 10 for value in differences]) == np.mean(far)


@pytest.mark.parametrize("bad", [[], [float("nan")], [1.0] * 21])
def test_the_sign_flip_test_refuses_what_it_cannot_count(bad):
    with pytest.raises(InputError, match="1 to 20 finite"):
        sign_flip_p_value(bad)


def test_five_seeds_cannot_reach_5_percent_and_six_can():
    five = compare_seeds(dict.fromkeys(range(5), 0.1), dict.fromkeys(range(5), 0.3))
    six = compare_seeds(dict.fromkeys(range(6), 0.1), dict.fromkeys(range(6), 0.3))
    assert (five.p_value, six.p_value, MIN_SEEDS) == (0.0625, 0.03125, 6)
    assert six.mean_difference == pytest.approx(0.2)


def test_seeds_are_paired_by_number_and_not_by_order():
    result = compare_seeds({1: 0.1, 2: 0.5}, {2: 0.6, 1: 0.2})
    assert result.p_value == 0.5
    assert result.mean_difference == pytest.approx(0.1)


@pytest.mark.parametrize(("first", "second"), [({}, {}), ({1: 0.0}, {2: 0.0}), ({1: 0.0, 2: 0.0}, {1: 0.0})])
def test_unpaired_seeds_are_refused(first, second):
    with pytest.raises(InputError, match="the same seeds"):
        compare_seeds(first, second)


def test_the_holm_correction_is_the_one_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []
