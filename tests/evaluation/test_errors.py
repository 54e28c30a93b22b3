"""One error of each kind, with the AP before and after its repair worked out by hand."""

import numpy as np
import pytest

from mssts.evaluation.errors import KINDS, error_gains
from mssts.evaluation.matching import match
from mssts.ytvis.annotations import parse_annotations
from mssts.ytvis.submission import parse_submission

LEFT, RIGHT, QUARTER, CORNER = (0, 0, 5, 10), (5, 0, 10, 10), (0, 0, 2, 10), (0, 0, 1, 1)
HALF = 51 / 101  # AP if the first of two instances is found before any mistake: recall points 0 to 0.5


def gains(case, metric="AP50"):
    truth = parse_annotations(case.content)
    predictions = parse_submission(case.predictions, truth).predictions
    found = error_gains(truth, predictions, match(truth, predictions))
    assert list(found) == list(KINDS)
    return {kind: (round(values[metric], 9), values["count"]) for kind, values in found.items()}


def expected(**changed):
    return {kind: (round(gain, 9), count) for kind, (gain, count) in (dict.fromkeys(KINDS, (0, 0)) | changed).items()}


def test_perfect_predictions_have_no_errors(new_case):
    assert gains(new_case().video().instance(LEFT).predict(LEFT)) == expected()


def test_a_wrong_category_is_a_classification_error(new_case):
    # the only category with instances is 1: AP 0 before; the repair moves the detection there
    case = new_case(2).video().instance(LEFT).predict(LEFT, category=2)
    assert gains(case) == expected(classification=(1, 1))


def test_a_repaired_category_gives_no_instance_a_second_detection(new_case):
    # kind1: right at 0.8; kind2's detection at 0.9 overlaps the same instance: removed, which changes no AP of kind1
    case = new_case(2).video().instance(LEFT).predict(LEFT, score=0.8).predict(LEFT, score=0.9, category=2)
    assert gains(case) == expected(classification=(0, 1))


def test_a_small_overlap_is_a_segmentation_error(new_case):
    # IoU 20 / 50: AP 1/2 would be, found before: instance 2; after: both
    case = new_case().video().instance(LEFT).instance(RIGHT).predict(RIGHT, score=0.9).predict(QUARTER, score=0.8)
    assert gains(case) == expected(segmentation=(1 - HALF, 1))


def test_an_overlap_below_a_tenth_is_spurious_and_the_instance_is_missed(new_case):
    # IoU 1 / 50: spurious, and the instance is missed. AP 0 before; without the instance nothing is asked for
    case = new_case().video().instance(LEFT).predict(CORNER)
    assert gains(case) == expected(spurious=(0, 1), missed=(1, 1))


def test_an_identity_switch_is_a_tracking_error(new_case):
    # LEFT in frames 1 and 2 of 4, RIGHT after: IoU 100 / 300 with both; its best, the first, becomes right
    case = new_case().video(1, 4).instance(LEFT, LEFT, LEFT, LEFT).instance(RIGHT, RIGHT, RIGHT, RIGHT)
    case.predict(LEFT, LEFT, RIGHT, RIGHT)
    assert gains(case) == expected(tracking=(HALF, 1), missed=(0, 1))


def test_a_track_that_only_ends_early_is_a_segmentation_error(new_case):
    case = new_case().video(1, 4).instance(LEFT, LEFT, LEFT, LEFT).instance(RIGHT, RIGHT, RIGHT, RIGHT)
    case.predict(LEFT, None, None, None).predict(RIGHT, RIGHT, RIGHT, RIGHT, score=0.95)
    assert gains(case) == expected(segmentation=(1 - HALF, 1))


def test_a_duplicate_is_spurious(new_case):
    # falling score: right, duplicate, right: precision 1 up to recall 1/2, then 2/3
    case = new_case().video().instance(LEFT).instance(RIGHT)
    case.predict(LEFT, score=0.9).predict(LEFT, score=0.8).predict(RIGHT, score=0.7)
    assert gains(case) == expected(spurious=(1 - (51 + 50 * 2 / 3) / 101, 1))


def test_a_missed_instance_is_not_asked_for_after_its_repair(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT).predict(LEFT)
    assert gains(case) == expected(missed=(1 - HALF, 1))


def test_a_crowd_is_never_missed_and_makes_no_errors(new_case):
    case = new_case().video().instance(LEFT).instance(RIGHT, crowd=1).predict(LEFT).predict(RIGHT).predict(RIGHT)
    assert gains(case) == expected()


def test_the_gain_in_ap_is_the_mean_gain_over_all_thresholds(new_case):
    # IoU 4 / 5 is right up to the threshold 0.8 (7 of 10) and a segmentation error above
    case = new_case().video().instance((0, 0, 10, 10)).predict((0, 0, 8, 10))
    assert gains(case, "AP") == expected(segmentation=(0.3, 0))
    assert gains(case, "AP50") == expected()


@pytest.mark.parametrize("seed", range(25))
def test_a_repair_never_lowers_ap_and_never_lifts_it_above_one(random_case, seed):
    case = random_case(np.random.default_rng(seed), videos=5)
    if all(record["iscrowd"] for record in case.content["annotations"]):
        return
    ap = case.numbers()
    found = gains(case), gains(case, "AP")
    for kind in KINDS:
        assert -1e-9 <= found[0][kind][0] <= 1 - ap["AP50"] + 1e-9
        assert -1e-9 <= found[1][kind][0] <= 1 - ap["AP"] + 1e-9
