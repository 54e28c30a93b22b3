"""MLflow mirror: one MLflow run per training, evaluation and report, delivered from the files of the run.

MLflow is never an input, and its failure never ends a run. The files of a run are the queue: a delivery reads them and
sends what the server does not have, during the run, at its end, or later by `mssts mlflow sync`. MLFLOW_TRACKING_URI
names another server than the local store.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from mssts.config import PRETRAIN, TRAIN, Study, leaves
from mssts.core.errors import InputError
from mssts.core.files import read_json
from mssts.study.paths import RESULTS
from mssts.training.callbacks import Callback, StartedRun
from mssts.training.failures import Preempted

if TYPE_CHECKING:
    from mssts.models import MsStsVis

STORE = Path("mlruns")
RECORDS_PER_DELIVERY = 10
RETRY_SECONDS = 60.0
METRICS_PER_REQUEST, PARAMETERS_PER_REQUEST = 1000, 100  # limits of the server
Status = Literal["RUNNING", "FINISHED", "KILLED", "FAILED"]


def store_uri() -> str:
    """Return the address of the tracking server: the user's, or the local SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(STORE / 'mlflow.db').resolve().as_posix()}"


def initialise(experiment: str) -> None:
    """Create the store and the experiment before any job writes: jobs that first use a store together would race.

    A server that does not answer is a warning.
    """
    try:
        _create_experiment(experiment)
    except Exception as error:  # MLflow must never end a study
        print(f"warning: MLflow: {_reason(error)}", file=sys.stderr)


@dataclass(frozen=True)
class Content:
    """What the files of a run say, as MLflow wants it.

    Attributes:
        name: Name of the MLflow run.
        tags: Tags; all but the commit identify the run.
        parameters: Flat parameters.
        metrics: (name, step) -> value.
        artifacts: Files to copy.
    """

    name: str
    tags: dict[str, str]
    parameters: dict[str, str]
    metrics: dict[tuple[str, int], float]
    artifacts: list[Path]


class Delivery:
    """Delivers the content of one run to MLflow, as far as the server answers.

    After a failure it waits RETRY_SECONDS, then twice as long, and so on, before it tries again; a final status is
    always tried. The first failure prints a warning. An unfinished MLflow run with the same tags, such as that of a
    killed process, is continued.

    Args:
        experiment: Name of the MLflow experiment: the study.
        read: Reads the content from the files of the run.
        add_to_finished: Also continue a finished MLflow run, with what it lacks.
    """

    def __init__(self, experiment: str, read: Callable[[], Content], add_to_finished: bool = False) -> None:
        self._experiment = experiment
        self._read = read
        self._add_to_finished = add_to_finished
        self._run_id = ""
        self._status = ""  # of the MLflow run
        self._delivered: set[tuple[str, int]] = set()  # keys of the metrics that the server has
        self._failures = 0
        self._next_try = 0.0

    def deliver(self, status: Status) -> bool:
        """Send what the server does not have, and set the status; return whether the server has everything."""
        if status == "RUNNING" and time.monotonic() < self._next_try:
            return False
        try:
            self._send(self._read(), status)
        except Exception as error:  # MLflow must never end a run
            self._run_id = ""  # the server may have taken what it did not confirm: ask again
            self._next_try = time.monotonic() + RETRY_SECONDS * 2**self._failures
            self._failures += 1
            if self._failures == 1:
                print(
                    f"warning: MLflow does not respond ({_reason(error)}). The run continues. Missing data is sent "
                    f"when MLflow responds again, or by `mssts mlflow sync --study {self._experiment}`.",
                    file=sys.stderr,
                )
            return False
        return True

    def _send(self, content: Content, status: Status) -> None:
        client = _client()
        if not self._run_id:
            self._find_or_create(client, content)
        missing = [key for key in content.metrics if key not in self._delivered]
        now = int(time.time() * 1000)
        for start in range(0, len(missing), METRICS_PER_REQUEST):
            keys = missing[start : start + METRICS_PER_REQUEST]
            metrics = [Metric(name, content.metrics[name, step], now, step) for name, step in keys]
            client.log_batch(self._run_id, metrics=metrics)
            self._delivered.update(keys)
        if status == "FINISHED":
            present = {(file.path, file.file_size) for file in client.list_artifacts(self._run_id)}
            for path in content.artifacts:
                if (path.name, path.stat().st_size) not in present:
                    client.log_artifact(self._run_id, str(path))
        if status != self._status:
            set_status = client.update_run if status == "RUNNING" else client.set_terminated  # this notes the time
            set_status(self._run_id, status)
            self._status = status

    def _find_or_create(self, client: MlflowClient, content: Content) -> None:
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            raise LookupError(f"experiment {self._experiment!r} does not exist; run `mssts mlflow init`")
        same = " and ".join(f"tags.`{key}` = '{value}'" for key, value in content.tags.items() if key != "commit")
        found = client.search_runs([experiment.experiment_id], same, max_results=1000)
        run = next((run for run in found if self._add_to_finished or run.info.status != "FINISHED"), None)
        if run is None:
            run = client.create_run(experiment.experiment_id, tags=content.tags, run_name=content.name)
        run_id = run.info.run_id
        missing = [Param(key, value) for key, value in content.parameters.items() if key not in run.data.params]
        for start in range(0, len(missing), PARAMETERS_PER_REQUEST):
            client.log_batch(run_id, params=missing[start : start + PARAMETERS_PER_REQUEST])
        histories = {name: client.get_metric_history(run_id, name) for name in run.data.metrics}
        self._delivered = {(name, point.step) for name, points in histories.items() for point in points}
        self._run_id, self._status = run_id, run.info.status


class TrainingMirror(Callback):
    """Callback that delivers a training while it runs."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._delivery: Delivery | None = None
        self._records = 0

    def on_start(self, started: StartedRun) -> None:
        """Create the MLflow run or continue it."""
        if started.fabric.is_global_zero:
            self._delivery = Delivery(self._experiment, lambda: training_content(started.record, started.output))
            self._delivery.deliver("RUNNING")

    def on_step(self, step: int, model: MsStsVis, record: dict[str, float] | None) -> None:
        """Deliver after every RECORDS_PER_DELIVERY records of the log."""
        self._records += record is not None
        if self._delivery and record and self._records % RECORDS_PER_DELIVERY == 0:
            self._delivery.deliver("RUNNING")

    def on_end(self, error: BaseException | None) -> None:
        """Deliver the rest and the status."""
        if self._delivery:
            failed: Status = "KILLED" if isinstance(error, Preempted) else "FAILED"
            self._delivery.deliver(failed if error else "FINISHED")


def training_content(record: dict[str, Any], directory: Path) -> Content:
    """Content of a training: its log and, once they are there, its files.

    Args:
        record: Description of the run, as in run.json.
        directory: Directory of the run.
    """
    stage = PRETRAIN if record["variant"] == PRETRAIN else TRAIN
    log = directory / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return Content(
        name=f"{stage} {record['dataset']}/{record['backbone']}/{record['variant']}/seed{record['seed']}",
        tags=_tags(record, stage),
        parameters={key: str(value) for key, value in leaves(record["config"]).items()},
        metrics={(key, line["step"]): float(value) for line in lines for key, value in line.items() if key != "step"},
        artifacts=[directory / "run.json", log],
    )


def evaluation_content(record: dict[str, Any], metrics: Path, predictions: Path) -> Content:
    """Content of an evaluation: overall, class-agnostic and per-challenge numbers, and the files.

    Args:
        record: Description of the run, as in run.json.
        metrics: metrics.json of the evaluation.
        predictions: The submission that was evaluated.
    """
    measured = read_json(metrics)
    split = measured["produced_by"]["split"]
    values = measured["overall"] | {f"{name}_agnostic": value for name, value in measured["class_agnostic"].items()}
    values |= {f"{challenge}/AP": numbers["AP"] for challenge, numbers in measured["attributes"].items()}
    return Content(
        name=f"evaluate {split} {record['variant']} seed{record['seed']}",
        tags=_tags(record, "evaluate") | {"split": split},
        parameters={},
        metrics={(name, record["steps"]): float(value) for name, value in values.items() if value is not None},
        artifacts=[metrics, predictions],
    )


def deliver_evaluation(experiment: str, record: dict[str, Any], metrics: Path, predictions: Path) -> bool:
    """Deliver an evaluation that has just been made; return whether MLflow has all of it."""
    return Delivery(experiment, lambda: evaluation_content(record, metrics, predictions)).deliver("FINISHED")


def deliver_report(study: str, files: list[Path]) -> bool:
    """Deliver the files of a study's report as artifacts of one MLflow run; return whether MLflow has all of them."""
    content = Content(f"report {study}", {"stage": "report"}, {}, {}, files)
    return Delivery(study, lambda: content).deliver("FINISHED")


def sync(name: str, study: Study) -> tuple[int, int]:
    """Deliver all finished trainings and evaluations of a study.

    Args:
        name: Name of the study.
        study: Its matrix.

    Returns:
        How many there are, and how many of them MLflow now has complete.

    Raises:
        InputError: If MLflow does not answer at all.
    """
    try:
        _create_experiment(name)
    except Exception as error:
        message = f"MLflow at {store_uri()}: does not respond ({_reason(error)}). Start it and run the command again."
        raise InputError(message) from None
    wanted = set(product(study.datasets, study.backbones, (PRETRAIN, *study.variants)))
    reads: list[Callable[[], Content]] = []
    for path in sorted((RESULTS / study.scale).glob("*/*/*/seed*/run.json")):
        record = read_json(path)
        if (record["dataset"], record["backbone"], record["variant"]) in wanted:
            reads.append(partial(training_content, record, path.parent))
            for metrics in sorted(path.parent.glob("*/metrics.json")):
                reads.append(partial(evaluation_content, record, metrics, metrics.with_name("predictions.json")))
    complete = [Delivery(name, read, add_to_finished=True).deliver("FINISHED") for read in reads]
    return len(complete), sum(complete)


def _create_experiment(name: str) -> None:
    STORE.mkdir(exist_ok=True)
    client = _client()
    if client.get_experiment_by_name(name) is None:
        local = "MLFLOW_TRACKING_URI" not in os.environ
        artifacts = (STORE / "artifacts" / name).resolve().as_uri() if local else None
        client.create_experiment(name, artifact_location=artifacts)
    if store_uri().startswith("sqlite:///"):
        with sqlite3.connect(store_uri().removeprefix("sqlite:///")) as database:
            database.execute("PRAGMA journal_mode=WAL")


def _client() -> MlflowClient:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the default waits for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    return MlflowClient(tracking_uri=store_uri())


def _tags(record: dict[str, Any], stage: str) -> dict[str, str]:
    keys = ("variant", "backbone", "dataset", "scale", "seed", "pretrain_seed", "commit", "data_fingerprint")
    return {key: str(record[key]) for key in (*keys, "config_digest")} | {"stage": stage}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
