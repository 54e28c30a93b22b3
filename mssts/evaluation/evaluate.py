"""Stage `evaluate`: predictions against annotations -> metrics.json, and match records beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssts.core.files import sha256_file, write_json
from mssts.evaluation.attributes import attribute_metrics, challenge_attributes
from mssts.evaluation.average_precision import coco_metrics, overall_and_per_category
from mssts.evaluation.errors import error_gains
from mssts.evaluation.matching import match
from mssts.evaluation.records_file import write_records
from mssts.ytvis.ground_truth import read_ground_truth
from mssts.ytvis.json_input import uncollected
from mssts.ytvis.submission import read_predictions

if TYPE_CHECKING:
    from mssts.config import EvaluationSection


def evaluate(
    annotations: Path,
    predictions: Path,
    output: Path,
    run: dict[str, Any] | None = None,
    split: str | None = None,
    settings: EvaluationSection | None = None,
    lenient: bool = False,
) -> dict[str, Any]:
    """Evaluate predictions in the submission format against annotations in the YouTube-VIS format.

    Args:
        annotations, predictions: JSON files. output: where metrics.json goes; `matches.npz` is written beside it.
        run: content of the run's run.json, kept without its `config`; None for results of a foreign method.
        split: name of the split, as a report is to call it. settings: evaluation section, kept in the file.
        lenient: do in silence-prone cases as the public evaluator does, and count them in `warnings`.

    Returns:
        The content of metrics.json: `overall`, `class_agnostic` and `per_category` (each the twelve numbers in 0..1,
        None where undefined), `attributes`, `errors` (AP gained by the repair of each kind), `warnings` (what was
        accepted with a word: file, what, count, the first place), and `produced_by` with the digests of both inputs.

    Raises:
        InputError: with one line for each problem of the files.
    """
    annotations, predictions, output = Path(annotations), Path(predictions), Path(output)
    with uncollected():
        truth = read_ground_truth(annotations, lenient)
        found = read_predictions(predictions, truth, lenient)
    records = match(truth, found, challenge_attributes(truth))
    overall, by_category = overall_and_per_category(records)
    metrics = {
        "overall": overall,
        "class_agnostic": coco_metrics(records, [records.pooled]),
        "per_category": dict(zip(truth.categories.values(), by_category, strict=True)),
        "attributes": attribute_metrics(records),
        "errors": error_gains(truth, found, records),
        "warnings": [
            {"file": file, "what": notice.what, "count": notice.count, "first": notice.first}
            for file, notices in (("annotations", truth.notices), ("predictions", found.notices))
            for notice in notices
        ],
        "produced_by": {
            "annotations_sha256": sha256_file(annotations),
            "predictions_sha256": sha256_file(predictions),
            "split": split,
            "videos": len(truth.videos),
            "lenient": lenient,
            "settings": settings.model_dump(mode="json") if settings is not None else None,
            "run": {key: value for key, value in run.items() if key != "config"} if run is not None else None,
        },
    }
    write_records(output.with_name("matches.npz"), records)
    write_json(output, metrics)
    return metrics
