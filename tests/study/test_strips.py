"""The videos of the qualitative figure follow their rule."""

import numpy as np

from mssts.study.strips import Chosen, choose


def test_each_rule_chooses_its_video_and_no_video_twice():
    baseline = {1: 0.5, 2: 0.9, 3: 0.0, 4: 1.0, 5: 0.4, 6: 0.3, 7: None}
    variant = {1: 0.9, 2: 0.2, 3: 0.0, 4: 1.0, 5: 0.4, 6: 0.3, 7: None}
    assert choose(baseline, variant) == [
        Chosen("gain", 1, 0.5, 0.9),
        Chosen("loss", 2, 0.9, 0.2),
        Chosen("best", 4, 1.0, 1.0),
        Chosen("median", 6, 0.3, 0.3),  # of 3, 6 and 5
        Chosen("worst", 3, 0.0, 0.0),
    ]


def test_equal_models_have_no_gain_and_no_loss():
    assert [one.rule for one in choose({1: 0.5}, {1: 0.5})] == ["best"]
    assert choose({1: None}, {1: None}) == []


def test_the_largest_gain_and_loss_are_those_of_all_videos():
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (dict(enumerate(rng.integers(0, 4, 9) / 4)) for _ in range(2))
        gains = {key: other[key] - one[key] for key in one}
        by_rule = {chosen.rule: chosen.video_id for chosen in choose(one, other)}
        assert "gain" not in by_rule or gains[by_rule["gain"]] == max(gains.values()) > 0
        assert "loss" not in by_rule or gains[by_rule["loss"]] == min(gains.values()) < 0
        assert len(set(by_rule.values())) == len(by_rule)
