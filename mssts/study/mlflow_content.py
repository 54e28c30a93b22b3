"""What the files of a study's runs and of its report say, as MLflow wants it. Imports no MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mssts.config import PRETRAIN, TRAIN, leaves
from mssts.core.csv_files import NO_VALUE
from mssts.core.files import read_record, sha256_file, verify_digest
from mssts.evaluation.records_file import BOX_MATCHES, MATCHES
from mssts.study.matrix import planned_runs
from mssts.study.paths import ATTENTION, FIGURES, HTML, report_dir
from mssts.study.resolve import ResolvedStudy
from mssts.study.validation_file import FILE as VALIDATION
from mssts.study.validation_file import read_validation
from mssts.ytvis.boxes import boxes_beside

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Content:
    """What the files of a run say, as MLflow wants it.

    Attributes:
        name: Name of the MLflow run.
        tags: Tags; all but the commit identify the run.
        parameters: Flat parameters.
        metrics: (name, step) -> value.
        artifacts: Path within the artifacts -> file to copy.
        started, ended: Times of the run in seconds since 1970. The metrics carry the second: no file has their own.
        parts: What is made of a finished training, by folder of the MLflow run: its evaluations by split, and figures.
        data: Name and digest of the dataset; none for a report.
        model: The checkpoint, once the training is finished.
    """

    name: str
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: dict[tuple[str, int], float]
    artifacts: dict[str, Path]
    started: float
    ended: float
    parts: dict[str, Content] = field(default_factory=dict)
    data: tuple[str, str] | None = None
    model: Path | None = None

    def digest(self) -> str:
        """Return the digest of the artifacts, from which all the rest is read."""
        files = {name: sha256_file(path) for name, path in self.artifacts.items()}
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def training_content(record: dict[str, Any], directory: Path, started: float, ended: float) -> Content:
    """Content of a training: its log and, once they are there, its files.

    Args:
        record: Description of the run, as in run.json.
        directory: Directory of the run.
        started, ended: Its times in seconds since 1970; a training that still runs has ended so far.
    """
    stage = PRETRAIN if record["variant"] == PRETRAIN else TRAIN
    log = directory / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    metrics = {(key, line["step"]): float(value) for line in lines for key, value in line.items() if key != "step"}
    validation, checkpoint = directory / VALIDATION, directory / CHECKPOINT
    if validation.is_file():
        metrics |= _validation_metrics(validation)
    files = (*(directory / name for name in ("run.json", "log.jsonl", "cost.json")), validation)
    return Content(
        name=f"{record['variant']} {record['backbone']} {record['dataset']} seed{record['seed']}",
        tags=_tags(record, stage),
        parameters={key: str(value) for key, value in leaves(record["config"]).items()},
        metrics=metrics,
        artifacts={path.name: path for path in files if path.is_file()},
        started=started,
        ended=ended,
        data=(record["dataset"], record["data_fingerprint"]),
        model=checkpoint if checkpoint.is_file() else None,
    )


def _validation_metrics(path: Path) -> dict[tuple[str, int], float]:
    """AP over the steps of a training, in 0..1 as all metrics here and in percent in its file, by metric and step."""
    measured = read_validation(path)
    rows = measured[measured["AP"] != NO_VALUE].to_dict("records")
    return {("validation/AP", int(row["step"])): float(row["AP"]) / 100 for row in rows}


def finished_training_content(directory: Path) -> Content:
    """Content of a finished training: cost.json is its last file, and holds the seconds that it took."""
    cost = directory / "cost.json"
    seconds, record = read_record(cost)["seconds"], read_record(directory / "run.json")
    verify_digest(directory / "log.jsonl", str(record.get("log_sha256")), "Train the run again.")
    ended = cost.stat().st_mtime
    return training_content(record, directory, ended - seconds, ended)


def finished_run_content(directory: Path, figures: dict[str, Path]) -> Content:
    """Content of a finished training with all its evaluations, and figures of a report by name."""
    training, found = finished_training_content(directory), sorted(directory.glob("*/metrics.json"))
    record = read_record(directory / "run.json")
    parts = {path.parent.name: evaluation_content(record, path, path.with_name("predictions.json")) for path in found}
    if figures:  # drawn later, they leave the times of the run as they are
        parts[FIGURES] = Content(FIGURES, {}, {}, {}, figures, training.started, training.ended)
    return replace(training, parts=parts)


def evaluation_content(record: dict[str, Any], metrics: Path, predictions: Path) -> Content:
    """Content of an evaluation: overall, class-agnostic, per-challenge and boxes' numbers, and the files.

    Args:
        record: Description of the run, as in run.json.
        metrics: metrics.json of the evaluation. Its time is that of the evaluation.
        predictions: The submission that was evaluated.
    """
    measured = read_record(metrics)
    split = measured["produced_by"]["split"]
    values = measured["overall"] | {f"{name}_agnostic": value for name, value in measured["class_agnostic"].items()}
    values |= {f"{name}_box": value for name, value in measured.get("boxes", {}).get("overall", {}).items()}
    values |= {f"{challenge}/AP": numbers["AP"] for challenge, numbers in measured["attributes"].items()}
    matches = [metrics.with_name(name) for name in (MATCHES, BOX_MATCHES)]
    files = (metrics, *matches, predictions, boxes_beside(predictions))
    written = metrics.stat().st_mtime
    return Content(
        name=split,
        tags={},
        parameters={},
        metrics={
            (f"{split}/{name}", record["steps"]): float(value) for name, value in values.items() if value is not None
        },
        artifacts={path.name: path for path in files if path.is_file()},
        started=written,
        ended=written,
        data=(f"{record['dataset']} {split}", record["data_fingerprint"]),
    )


def report_content(study: str, document: Path) -> Content:
    """Content of a report: the document, and all files of the study's directory but the pages of the HTML report.

    It has the times of these files.
    """
    folder = report_dir(study)
    mirrored = [path for path in sorted(folder.iterdir()) if path.name != HTML]
    paths = [path for own in mirrored for path in (own, *sorted(own.rglob("*"))) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    written = [path.stat().st_mtime for path in files.values()]
    return Content(
        name=f"report {study}",
        tags={"stage": "report"},
        parameters={},
        metrics={},
        artifacts={document.name: document} | files,
        started=min(written),
        ended=max(written),
    )


def finished_runs(study: ResolvedStudy) -> list[Callable[[], Content]]:
    """What reads the contents of all finished runs of a study; no figure shows the pre-trainings."""
    drawn = [path for name in (FIGURES, ATTENTION) for path in sorted((report_dir(study.name) / name).glob("*.png"))]
    figures = {path.name: path for path in drawn}
    runs = [run for run in planned_runs(study) if (run.directory / "run.json").is_file()]
    return [partial(finished_run_content, run.directory, {} if run.variant == PRETRAIN else figures) for run in runs]


def _tags(record: dict[str, Any], stage: str) -> dict[str, str]:
    keys = ("variant", "backbone", "dataset", "scale", "seed", "pretrain_seed", "commit", "data_fingerprint")
    return {key: str(record[key]) for key in (*keys, "config_digest")} | {"stage": stage}
