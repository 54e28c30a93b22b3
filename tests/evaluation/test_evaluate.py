import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mssts.config import EvaluationSection
from mssts.core.errors import InputError
from mssts.core.files import read_record, record_beside, sha256_file, write_json, write_record
from mssts.evaluation.average_precision import METRICS, coco_metrics
from mssts.evaluation.evaluate import evaluate
from mssts.evaluation.records_file import read_records, write_records
from mssts.ytvis.boxes import boxes_beside

DATA = Path(__file__).parent / "data"
ANNOTATIONS, PREDICTIONS = DATA / "evaluation_small.gt.json", DATA / "evaluation_small.predictions.json"
RUN = {"variant": "baseline", "seed": 1, "checkpoint_sha256": "c0" * 32, "config": {"large": "thing"}}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    output = tmp_path_factory.mktemp("run") / "valid" / "metrics.json"
    settings = EvaluationSection(bootstrap_replicates=50, bootstrap_seed=3)
    return output, evaluate(ANNOTATIONS, predicted(output.parent), output, RUN, "valid", settings)


def predicted(directory: Path) -> Path:
    """The predictions with boxes and the record that `mssts predict` writes beside them."""
    directory.mkdir(exist_ok=True)
    path = Path(shutil.copy(PREDICTIONS, directory / "predictions.json"))
    lengths = [len(prediction["segmentations"]) for prediction in json.loads(path.read_text())]
    write_json(boxes_beside(path), [[[1, 2, 3, 4]] * length for length in lengths])
    files = {file.name: sha256_file(file) for file in (path, boxes_beside(path))}
    write_record(record_beside(path), {"checkpoint_sha256": RUN["checkpoint_sha256"], "files": files})
    return path


def test_the_file_holds_what_is_returned(done):
    output, metrics = done
    assert read_record(output) == metrics


def test_the_metrics_have_the_agreed_layout(done):
    _, metrics = done
    expected = json.loads((DATA / "evaluation_small.expected.json").read_text())
    assert set(metrics) == {
        "overall",
        "class_agnostic",
        "per_category",
        "attributes",
        "errors",
        "precision_recall",
        "calibration",
        "found_as",
        "warnings",
        "produced_by",
        "boxes",
    }
    assert metrics["overall"]["AP"] == pytest.approx(expected["AP"], abs=1e-12)
    assert metrics["overall"]["AP_large"] is None
    assert list(metrics["per_category"]) == ["c1", "c2", "c3", "c4"]
    for numbers in (metrics["overall"], metrics["class_agnostic"], *metrics["per_category"].values()):
        assert set(numbers) == set(METRICS)
    for numbers in metrics["attributes"].values():
        assert set(numbers) == {"AP", "AP75", "AP_agnostic", "instances"}


def test_the_file_says_what_produced_it(done):
    assert done[1]["produced_by"] == {
        "annotations_sha256": hashlib.sha256(ANNOTATIONS.read_bytes()).hexdigest(),
        "predictions_sha256": hashlib.sha256(PREDICTIONS.read_bytes()).hexdigest(),
        "matches_sha256": hashlib.sha256(done[0].with_name("matches.npz").read_bytes()).hexdigest(),
        "boxes_sha256": sha256_file(done[0].with_name("predictions.boxes.json")),
        "box_matches_sha256": sha256_file(done[0].with_name("box_matches.npz")),
        "split": "valid",
        "videos": 20,
        "lenient": False,
        "settings": {"bootstrap_replicates": 50, "bootstrap_seed": 3},
        "run": {key: value for key, value in RUN.items() if key != "config"},
    }


def test_predictions_that_changed_since_they_were_made_are_refused(tmp_path):
    path = predicted(tmp_path)
    path.write_text(path.read_text().replace('"score": 0.9', '"score": 0.8', 1))
    assert sha256_file(path) != sha256_file(PREDICTIONS)
    for run in (RUN, None):
        with pytest.raises(InputError, match=r"predictions\.json: was changed after its digest was recorded"):
            evaluate(ANNOTATIONS, path, tmp_path / "metrics.json", run)
    assert not (tmp_path / "metrics.json").exists()


def test_the_predictions_of_a_run_are_of_its_checkpoint(tmp_path):
    path = predicted(tmp_path)
    with pytest.raises(InputError, match="was predicted from another checkpoint than that of the run"):
        evaluate(ANNOTATIONS, path, tmp_path / "metrics.json", RUN | {"checkpoint_sha256": "d0" * 32})
    record_beside(path).unlink()
    with pytest.raises(InputError, match=r"predictions\.record\.json: no such file"):
        evaluate(ANNOTATIONS, path, tmp_path / "metrics.json", RUN)
    assert evaluate(ANNOTATIONS, path, tmp_path / "metrics.json")["produced_by"]["run"] is None


def test_a_second_evaluation_gives_the_same_bytes(done, tmp_path):
    output, _ = done
    evaluate(ANNOTATIONS, PREDICTIONS, tmp_path / "metrics.json")
    evaluate(ANNOTATIONS, PREDICTIONS, tmp_path / "again" / "metrics.json")
    for name in ("metrics.json", "matches.npz"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (tmp_path / "matches.npz").read_bytes() == output.with_name("matches.npz").read_bytes()


def test_a_zip_is_evaluated_as_the_file_in_it(done, tmp_path):
    with zipfile.ZipFile(tmp_path / "predictions.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(PREDICTIONS, "results.json")
    zipped = evaluate(ANNOTATIONS, tmp_path / "predictions.zip", tmp_path / "metrics.json")
    assert zipped["overall"] == done[1]["overall"]
    assert (tmp_path / "matches.npz").read_bytes() == done[0].with_name("matches.npz").read_bytes()


def test_match_records_on_disk_give_the_same_numbers(done):
    output, metrics = done
    records = read_records(output.with_name("matches.npz"))
    assert coco_metrics(records, records.categories) == metrics["overall"]
    assert coco_metrics(records, [records.pooled]) == metrics["class_agnostic"]


def test_records_are_read_back_as_they_were_written(random_case, tmp_path):
    records = random_case(np.random.default_rng(0)).records()
    write_records(tmp_path / "m.npz", records)
    again = read_records(tmp_path / "m.npz")
    assert (again.video_ids, again.category_ids, again.views) == (
        records.video_ids,
        records.category_ids,
        records.views,
    )
    for old, new in zip((*records.categories, records.pooled), (*again.categories, again.pooled), strict=True):
        for name, array in vars(old).items():
            np.testing.assert_array_equal(getattr(new, name), array)
            assert getattr(new, name).dtype == array.dtype


def test_records_name_prediction_and_instance(new_case):
    case = new_case().video(1).video(2).instance((0, 0, 5, 10), video=2)
    case.predict((5, 0, 9, 10), video=2, score=0.2).predict((0, 0, 5, 9), video=2, score=0.9)
    group = case.records().pooled
    assert group.prediction_N.tolist() == [1, 0]
    assert group.annotation_TN[:, 0].tolist() == [1] * 9 + [0]  # IoU 0.9 passes the thresholds up to 0.9
    assert group.annotation_TN[:, 1].tolist() == [0] * 10
    assert group.video_N.tolist() == [1, 1]


def test_an_empty_list_of_predictions_gives_ap_0(new_case, tmp_path):
    case = new_case(2).video().instance((0, 0, 5, 10))
    (tmp_path / "gt.json").write_text(json.dumps(case.content))
    (tmp_path / "p.json").write_text("[]")
    metrics = evaluate(tmp_path / "gt.json", tmp_path / "p.json", tmp_path / "metrics.json")
    assert (metrics["overall"]["AP"], metrics["class_agnostic"]["AP"]) == (0, 0)
    assert metrics["per_category"]["kind2"]["AP"] is None
    assert read_records(tmp_path / "matches.npz").pooled.video_N.size == 0


def test_bad_predictions_leave_no_metrics_file(new_case, tmp_path):
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(InputError):
        evaluate(ANNOTATIONS, tmp_path / "p.json", tmp_path / "metrics.json")
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK nonsense"])
def test_damaged_records_are_refused_with_the_advice_to_evaluate_again(tmp_path, content):
    if content is not None:
        (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(InputError, match="evaluate the run again"):
        read_records(tmp_path / "m.npz")
