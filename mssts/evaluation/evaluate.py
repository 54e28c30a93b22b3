"""Stage `evaluate`: predictions against annotations -> metrics.json, and match records beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssts.core.errors import InputError
from mssts.core.files import check_outputs, read_record, record_beside, sha256_file, verify_digest, write_record
from mssts.data.datasets import expected_categories
from mssts.data.fingerprints import FINGERPRINT, verify_annotations
from mssts.evaluation.attributes import attribute_metrics, challenge_attributes
from mssts.evaluation.average_precision import coco_metrics, coco_values, mean_coco_metrics
from mssts.evaluation.curves import calibration, confusion, precision_recall
from mssts.evaluation.errors import error_gains
from mssts.evaluation.matching import match
from mssts.evaluation.records_file import BOX_MATCHES, MATCHES, write_records
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.boxes import boxes_beside, read_boxes
from mssts.ytvis.submission import read_submission

if TYPE_CHECKING:
    from mssts.config import EvaluationSection


def evaluate(
    annotations: Path,
    predictions: Path,
    output: Path,
    run: dict[str, Any] | None = None,
    split: str | None = None,
    evaluation_config: EvaluationSection | None = None,
    lenient: bool = False,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Evaluate predictions in the submission format against annotations in the YouTube-VIS format.

    Args:
        annotations: Annotation file.
        predictions: Submission file: JSON, or a zip with it.
        output: Where metrics.json is written; `matches.npz`, and with boxes `box_matches.npz`, are written beside it.
        run: Content of the run's run.json, which is recorded without its `config`; None for an external method. The
            record beside the predictions must say that they are of this run.
        split: Name of the split, for the record.
        evaluation_config: Section of the configuration, for the record.
        lenient: Accept what the reference evaluator silently accepts, treat it as it does, and count each case in
            `warnings`.
        dataset: Name of the dataset whose categories the annotations must have; None if they define their own.

    Returns:
        The content of metrics.json: `overall`, `class_agnostic` and `per_category` (each the COCO metrics in 0..1, None
        where undefined), `attributes`, `errors` (AP gained by the repair of each kind), `precision_recall`,
        `calibration` and `found_as` (see `mssts.evaluation.curves`), `warnings` (what was accepted
        although it is unusual: file, what, count, first occurrence), and `produced_by` with the digests of the inputs
        and of the match records. With boxes also `boxes`: `overall`, `class_agnostic` and `attributes` of the decoder's
        boxes.

    Raises:
        InputError: With one line for each problem of the files.
    """
    annotations, predictions, output = Path(annotations), Path(predictions), Path(output)
    matches, boxes_file, box_matches = output.parent / MATCHES, boxes_beside(predictions), output.parent / BOX_MATCHES
    recorded = [record_beside(predictions), *(folder / FINGERPRINT for folder in annotations.parents[:2])]
    check_outputs([output, matches, box_matches], [annotations, predictions, boxes_file, *recorded])
    verify_annotations(annotations)
    has_boxes = _verify_predictions(predictions, run)
    expected = expected_categories(dataset) if dataset is not None else None
    truth = read_annotations(annotations, lenient=lenient, expected=expected)
    found = read_submission(predictions, truth, lenient)
    boxes = read_boxes(boxes_file, found, truth) if has_boxes else None
    attributes = challenge_attributes(truth)
    records = match(truth, found.predictions, attributes)
    write_records(matches, records)
    values = [coco_values(records, group) for group in records.categories]
    metrics: dict[str, Any] = {
        "overall": mean_coco_metrics(values),
        "class_agnostic": coco_metrics(records, [records.pooled]),
        "per_category": {
            name: mean_coco_metrics([value]) for name, value in zip(truth.categories.values(), values, strict=True)
        },
        "attributes": attribute_metrics(records),
        "errors": error_gains(truth, found.predictions, records),
        "precision_recall": precision_recall(records),
        "calibration": calibration(records),
        "found_as": confusion(
            records, {one.id: one.category_id for one in truth.tracks if not one.crowd}, truth.categories
        ),
        "warnings": [
            {"file": file, **vars(notice)}
            for file, notices in (("annotations", truth.notices), ("predictions", found.notices))
            for notice in notices
        ],
        "produced_by": {
            "annotations_sha256": sha256_file(annotations),
            "predictions_sha256": sha256_file(predictions),
            "matches_sha256": sha256_file(matches),
            "split": split,
            "videos": len(truth.videos),
            "lenient": lenient,
            "settings": evaluation_config.model_dump(mode="json") if evaluation_config is not None else None,
            "run": {key: value for key, value in run.items() if key != "config"} if run is not None else None,
        },
    }
    if boxes is not None:
        box_records = match(truth, found.predictions, attributes, boxes)
        write_records(box_matches, box_records)
        metrics["boxes"] = {
            "overall": coco_metrics(box_records, box_records.categories),
            "class_agnostic": coco_metrics(box_records, [box_records.pooled]),
            "attributes": attribute_metrics(box_records),
        }
        digests = {"boxes_sha256": sha256_file(boxes_file), "box_matches_sha256": sha256_file(box_matches)}
        metrics["produced_by"] |= digests
    write_record(output, metrics)
    return metrics


def _verify_predictions(predictions: Path, run: dict[str, Any] | None) -> bool:
    """Compare predictions and their boxes with the record that `mssts predict` wrote beside them.

    Only predictions of a run must have a record, and in it boxes. Returns whether there are boxes.
    """
    path, boxes = record_beside(predictions), boxes_beside(predictions)
    if run is None and not path.is_file():
        return False
    record = read_record(path)
    for file in (predictions, boxes):
        if file.name in record["files"]:
            verify_digest(file, record["files"][file.name], "Predict again.")
    if run is not None and record["checkpoint_sha256"] != run["checkpoint_sha256"]:
        raise InputError(f"{predictions}: was predicted from another checkpoint than that of the run. Predict again.")
    if run is not None and boxes.name not in record["files"]:
        raise InputError(f"{path}: has no digest of {boxes.name}, which earlier versions did not write. Predict again.")
    return boxes.name in record["files"]
