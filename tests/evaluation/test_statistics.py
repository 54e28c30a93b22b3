import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import AP_METRICS, coco_metrics
from mssts.evaluation.statistics import (
    MIN_SEEDS,
    bootstrap_intervals,
    least_p,
    resampled_metrics,
    resamples_of_videos,
    sign_flip_p_value,
)

LEFT, RIGHT = (0, 0, 5, 10), (5, 0, 10, 10)


def hits(new_case, found):
    """One instance in each video, found or not: AP is the share of videos in which it is found, up to recall points."""
    case = new_case()
    for video, hit in enumerate(found, start=1):
        case.video(video).instance(LEFT, video=video)
        if hit:
            case.predict(LEFT, video=video, score=1 / (1 + video))
    return case.records()


def compare(first, second, replicates, generator, metrics=AP_METRICS, confidence=0.95):
    """{metric: (difference, its intervals)} of two runs, all in one family."""
    videos = len(first.video_ids)
    weights = resamples_of_videos(videos, replicates, generator)
    values = [resampled_metrics(run, weights, metrics) for run in (first, second)]
    differences = np.array([values[1][name] - values[0][name] for name in metrics])
    intervals = bootstrap_intervals(differences, [videos] * len(metrics), confidence)
    return dict(zip(metrics, zip(differences[:, 0], intervals, strict=True), strict=True))


def test_identical_runs_do_not_differ(random_case):
    records = random_case(np.random.default_rng(0), videos=12).records()
    for difference, intervals in compare(records, records, 200, np.random.default_rng(0)).values():
        assert (difference, *intervals) == (0, (0, 0), (0, 0))
        assert not intervals.simultaneous.excludes_zero


def test_the_difference_is_second_minus_first_on_all_videos(random_case):
    case = random_case(np.random.default_rng(5), videos=10)
    first = case.records()
    case.predictions = case.predictions[::2]
    second = case.records()
    result = compare(first, second, 50, np.random.default_rng(0))
    for name, kind, groups in (("AP", "AP", "all"), ("AP75", "AP75", "all"), ("AP_agnostic", "AP", "pooled")):
        values = [
            coco_metrics(run, run.categories if groups == "all" else [run.pooled])[kind] for run in (first, second)
        ]
        difference, intervals = result[name]
        assert difference == pytest.approx(values[1] - values[0], abs=1e-12)
        assert intervals.pointwise.low <= difference <= intervals.pointwise.high


def test_the_interval_is_that_of_the_binomial_share(new_case):
    # AP of `hits` is floor(100 share) + 1 of 101 points; resampled shares are binomial
    found = [video % 2 for video in range(100)]
    runs = hits(new_case, [0] * 100), hits(new_case, found)
    difference, (interval, _) = compare(*runs, 2000, np.random.default_rng(1), ("AP",))["AP"]
    deviation = np.sqrt(0.25 / 100)
    assert difference == pytest.approx(51 / 101)
    assert interval.low == pytest.approx(0.5 - 1.98 * deviation, abs=0.02)
    assert interval.high == pytest.approx(0.5 + 1.98 * deviation, abs=0.02)


def test_intervals_cover_the_true_difference_about_nineteen_times_in_twenty(new_case):
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        first, second = hits(new_case, rng.random(40) < 0.3), hits(new_case, rng.random(40) < 0.6)
        _, (interval, _) = compare(first, second, 200, rng, ("AP",))["AP"]
        covered += interval.low <= 0.3 <= interval.high
    assert 50 <= covered <= 60


def test_the_same_seed_gives_the_same_intervals(random_case):
    case = random_case(np.random.default_rng(1), videos=8)
    first = case.records()
    case.predictions = case.predictions[1:]
    second = case.records()
    draws = [compare(first, second, 300, np.random.default_rng(4)) for _ in range(2)]
    assert draws[0] == draws[1]


def test_resamples_count_every_video_once_first_and_keep_their_number(new_case):
    weights = resamples_of_videos(7, 30, np.random.default_rng(0))
    assert weights.shape == (31, 7)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 7).all()


def test_a_metric_is_undefined_on_resamples_without_an_instance(new_case):
    case = new_case().video(1).video(2).instance(LEFT, video=1).predict(LEFT, video=1)
    values = resampled_metrics(case.records(), resamples_of_videos(2, 400, np.random.default_rng(0)))["AP"]
    assert 50 < np.isnan(values).sum() < 150  # a quarter of the resamples draws the empty video twice


# Two comparisons, four resamples. Deviations with n - 1 of (-1, 1, -1, 1): sqrt(4/3), of (-2, 2, 6, -6): sqrt(80/3);
# distances from 0 in these units: sqrt(3)/2 four times; 2, 2, 6, 6 times sqrt(3/80). The largest of each resample:
# sqrt(3)/2, sqrt(3)/2, 6 sqrt(3/80), 6 sqrt(3/80). A confidence of 0.4 asks for the second smallest of four.
TINY = np.array([[0.0, -1, 1, -1, 1], [10.0, 8, 12, 16, 4]])


def widened(distance, videos):
    """The distance with which Student's t has the same probability, times the step from n to n - 1."""
    return stats.t(videos - 1).ppf(stats.norm.cdf(distance)) * np.sqrt(videos / (videos - 1))


def test_the_intervals_of_a_tiny_family_are_those_by_hand():
    one, two = bootstrap_intervals(TINY, [30, 5], confidence=0.4)
    reach = np.sqrt(4 / 3) * widened(np.sqrt(3) / 2, 30)
    assert one.pointwise == pytest.approx((-reach, reach))
    assert one.simultaneous == pytest.approx((-reach, reach))
    own, joint = (np.sqrt(80 / 3) * widened(distance, 5) for distance in (2 * np.sqrt(3 / 80), np.sqrt(3) / 2))
    assert two.pointwise == pytest.approx((10 - own, 10 + own))
    assert two.simultaneous == pytest.approx((10 - joint, 10 + joint))


def test_with_many_videos_the_reach_is_the_plain_number_of_deviations():
    [one] = bootstrap_intervals(TINY[1:], [10**7], confidence=0.4)
    assert one.pointwise == pytest.approx((8, 12), abs=1e-4)  # the second smallest distance: 2


def random_family(seed, size, correlated=0.5):
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(size, 1)) + rng.normal(size=(1, 200)) * correlated + rng.normal(size=(size, 200))
    return np.concatenate([rng.normal(size=(size, 1)), drawn], axis=1) * rng.lognormal(size=(size, 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 300))
def test_the_simultaneous_interval_contains_the_pointwise_one(seed, size, videos):
    for pointwise, simultaneous in bootstrap_intervals(random_family(seed, size), [videos] * size):
        assert simultaneous.low <= pointwise.low <= pointwise.high <= simultaneous.high


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_family_of_one_has_the_pointwise_interval(seed):
    [[pointwise, simultaneous]] = bootstrap_intervals(random_family(seed, 1), [40])
    assert pointwise == simultaneous


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_simultaneous_intervals_hold_for_95_percent_of_the_resamples_at_once(seed):
    family = random_family(seed, 8)
    intervals = bootstrap_intervals(family, [10**7] * 8)
    ends = np.array([simultaneous for _, simultaneous in intervals])
    inside = ((family[:, 1:] >= ends[:, :1]) & (family[:, 1:] <= ends[:, 1:])).all(axis=0)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


def test_undefined_resamples_do_not_count():
    family = random_family(3, 3)
    holes = np.insert(family, [5, 50], np.nan, axis=1)
    assert bootstrap_intervals(holes, [40] * 3) == bootstrap_intervals(family, [40] * 3)


def test_fewer_videos_widen_the_intervals():
    widths = [bootstrap_intervals(random_family(1, 4), [videos] * 4)[0].simultaneous for videos in (5, 20, 100, 10**7)]
    lengths = [interval.high - interval.low for interval in widths]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 1.3 * lengths[-1]


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
    assert (least_p(5), least_p(6), MIN_SEEDS) == (0.0625, 0.03125, 6)


def test_the_least_p_is_that_of_differences_of_one_sign():
    for seeds in range(1, 8):
        assert least_p(seeds) == sign_flip_p_value([1.0] * seeds)
    assert least_p(MIN_SEEDS) <= 0.05 < least_p(MIN_SEEDS - 1)
