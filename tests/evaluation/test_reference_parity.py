"""The numbers of the reference evaluator on a case with the quirks of real files."""

import json
from pathlib import Path

import pytest

from mssts.evaluation.average_precision import METRICS, coco_metrics
from mssts.evaluation.matching import match
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.submission import read_submission

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "evaluation_small.expected.json").read_text())


@pytest.fixture
def records(each_reader):
    truth = read_annotations(DATA / "evaluation_small.gt.json")
    return match(truth, read_submission(DATA / "evaluation_small.predictions.json", truth).predictions)


@pytest.mark.parametrize("name", METRICS)
def test_every_number_equals_that_of_the_reference_evaluator(records, name):
    ours = coco_metrics(records, records.categories)[name]
    assert (-1.0 if ours is None else ours) == pytest.approx(EXPECTED[name], abs=1e-12)


def test_the_mean_over_categories_is_the_overall_number(records):
    per_category = [coco_metrics(records, [group])["AP"] for group in records.categories]
    defined = [value for value in per_category if value is not None]
    assert sum(defined) / len(defined) == pytest.approx(EXPECTED["AP"], abs=1e-12)
