"""Everything MLflow: one run per training and per evaluation, mirrored from the files, never an input and never fatal.

Tracking is off when MSSTS_TRACKING is "off"; MLFLOW_TRACKING_URI names another store than the local one.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mssts.config import PRETRAIN, TRAIN, load_study
from mssts.core.errors import InputError
from mssts.core.files import read_json
from mssts.study.paths import RESULTS
from mssts.training.failures import Preempted

STORE = Path("mlruns")
POINTS_PER_REQUEST = 10
RETRY_SECONDS = 60.0


def enabled() -> bool:
    """Whether runs are mirrored to MLflow."""
    return os.environ.get("MSSTS_TRACKING", "on") != "off"


def store_uri() -> str:
    """The tracking store: the user's server, or the local sqlite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(STORE / 'mlflow.db').resolve().as_posix()}"


def _client() -> Any:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the default waits for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=store_uri())


def initialise(study: str) -> None:
    """Create the store's schema and the study's experiment, before any job writes (concurrent first use would race).

    A store that cannot be had is a warning: the study runs without it.
    """
    if not enabled():
        return
    try:
        _create_experiment(study)
    except Exception as error:  # tracking must never end a study
        print(f"warning: MLflow: {' '.join(str(error).split())[:200]}", file=sys.stderr)


def _create_experiment(study: str) -> None:
    STORE.mkdir(exist_ok=True)
    client = _client()
    if client.get_experiment_by_name(study) is None:
        local = "MLFLOW_TRACKING_URI" not in os.environ
        artifacts = (STORE / "artifacts" / study).resolve().as_uri() if local else None
        client.create_experiment(study, artifact_location=artifacts)
    if store_uri().startswith("sqlite:///"):
        with sqlite3.connect(store_uri().removeprefix("sqlite:///")) as database:
            database.execute("PRAGMA journal_mode=WAL")


class TrackedRun:
    """One MLflow run, mirrored as far as the server answers.

    What it does not take stays queued and is sent when it answers again: it is asked again after RETRY_SECONDS, then
    after twice as long and so on, and at the end in any case. The first failure warns, the others are silent. A run of
    the same tags that was not finished (its process was killed) is gone on with; `again` also takes a finished one.
    """

    def __init__(
        self, study: str, name: str, tags: dict[str, str], parameters: dict[str, Any], again: bool = False
    ) -> None:
        self._study = study
        self._name = name
        self._tags = {key: str(value) for key, value in tags.items()}
        self._parameters = parameters
        self._again = again
        self._points: list[tuple[str, float, int]] = []
        self._files: list[Path] = []
        self._status = ""
        self._client: Any = None
        self._run_id = ""
        self._uncertain = False  # whether the server may have more than we know
        self._delivered: set[tuple[str, int]] = set()  # by others, or in an answer that got lost
        self._failures = 0
        self._next_try = 0.0
        self._attempt()

    @property
    def complete(self) -> bool:
        """Whether the server has everything."""
        return bool(self._run_id) and not (self._points or self._files or self._status)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Queue the numbers of one step; sent in batches."""
        self._points += [(name, float(value), step) for name, value in values.items()]
        if len(self._points) >= POINTS_PER_REQUEST * max(len(values), 1):
            self._attempt()

    def artifact(self, path: Path) -> None:
        """Copy a file to the run, when it is next sent or at the end."""
        self._files.append(path)

    def close(self, status: str = "FINISHED") -> None:
        """Send what is queued and end the run."""
        self._status = status
        self._next_try = 0.0
        self._attempt()

    def _attempt(self) -> None:
        if time.monotonic() < self._next_try:
            return
        try:
            self._deliver()
        except Exception as error:  # tracking must never end a run
            self._uncertain = True
            self._next_try = time.monotonic() + RETRY_SECONDS * 2**self._failures
            self._failures += 1
            if self._failures == 1:
                reason = " ".join(str(error).split())[:200]
                print(
                    f"warning: MLflow does not answer, the run goes on ({reason}). What it misses is sent when it "
                    f"answers again, at the latest by `mssts tracking sync --study {self._study}`.",
                    file=sys.stderr,
                )

    def _deliver(self) -> None:
        if not self._run_id:
            self._open()
        if self._uncertain:
            self._learn_delivered()
        self._points = [point for point in self._points if (point[0], point[2]) not in self._delivered]
        self._send_points()
        while self._files:
            self._client.log_artifact(self._run_id, str(self._files[0]))
            self._files.pop(0)
        if self._status:
            self._client.set_terminated(self._run_id, self._status)
            self._status = ""

    def _open(self) -> None:
        from mlflow.entities import Param

        self._client = _client()
        experiment = self._client.get_experiment_by_name(self._study)
        if experiment is None:
            raise LookupError(f"experiment {self._study!r} does not exist; run `mssts tracking init`")
        found = [
            run
            for run in self._client.search_runs([experiment.experiment_id], self._filter(), max_results=1000)
            if self._again or run.info.status != "FINISHED"
        ]
        if found:
            run = found[0]
            self._uncertain = True
            if not self._again:
                self._client.update_run(run.info.run_id, "RUNNING")
        else:
            run = self._client.create_run(experiment.experiment_id, run_name=self._name, tags=self._tags)
        missing = {key: value for key, value in self._parameters.items() if key not in run.data.params}
        if missing:
            self._client.log_batch(
                run.info.run_id, params=[Param(key, str(value)) for key, value in sorted(missing.items())]
            )
        self._run_id = run.info.run_id

    def _filter(self) -> str:
        """The run of these tags, whatever code continues it."""
        return " and ".join(f"tags.`{key}` = '{value}'" for key, value in self._tags.items() if key != "commit")

    def _learn_delivered(self) -> None:
        """Ask what the server has: an answer that got lost, or a process that was killed, must double no sample."""
        names = self._client.get_run(self._run_id).data.metrics
        histories = {name: self._client.get_metric_history(self._run_id, name) for name in names}
        self._delivered = {(name, point.step) for name, points in histories.items() for point in points}
        if self._again:
            present = {file.path for file in self._client.list_artifacts(self._run_id)}
            self._files = [path for path in self._files if path.name not in present]
        self._uncertain = False

    def _send_points(self) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        while self._points:
            chunk = self._points[:1000]  # the server's limit of one request
            self._client.log_batch(
                self._run_id, metrics=[Metric(name, value, now, step) for name, value, step in chunk]
            )
            del self._points[:1000]


class Untracked:
    """What stands for a TrackedRun where tracking is off, or where another process of the same run does it."""

    complete = True

    def log(self, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def artifact(self, path: Path) -> None:
        """Nothing."""


@contextmanager
def tracked_run(
    study: str, name: str, tags: dict[str, Any], parameters: dict[str, Any], on: bool = True, again: bool = False
) -> Iterator[TrackedRun | Untracked]:
    """An MLflow run that ends as FINISHED, as KILLED when the block is asked to stop, or as FAILED when it raises.

    on: False in all but one of a run's processes. again: add what is missing to a run that was finished before.
    """
    if not (on and enabled()):
        yield Untracked()
        return
    run = TrackedRun(study, name, tags, parameters, again)
    try:
        yield run
    except BaseException as error:
        run.close("KILLED" if isinstance(error, Preempted) else "FAILED")
        raise
    run.close()


def run_tags(record: dict[str, Any], stage: str) -> dict[str, Any]:
    """The tags of a run from its run.json record."""
    keys = ("variant", "backbone", "dataset", "scale", "seed", "pretrain_seed", "commit", "data_fingerprint")
    return {key: record[key] for key in (*keys, "config_digest")} | {"stage": stage}


def log_evaluation(
    study: str, record: dict[str, Any], metrics: dict[str, Any], files: list[Path], again: bool = False
) -> bool:
    """Mirror one evaluation: overall, class-agnostic and per-challenge numbers, and its files; whether all arrived.

    again: add what is missing to an evaluation that was mirrored before.
    """
    split = metrics["produced_by"]["split"]
    values = dict(metrics["overall"])
    values |= {f"{name}_agnostic": value for name, value in metrics["class_agnostic"].items()}
    values |= {f"{challenge}/AP": numbers["AP"] for challenge, numbers in metrics["attributes"].items()}
    name = f"evaluate {split} {record['variant']} seed{record['seed']}"
    with tracked_run(study, name, run_tags(record, "evaluate") | {"split": split}, {}, again=again) as run:
        run.log(record["steps"], {key: value for key, value in values.items() if value is not None})
        for file in files:
            run.artifact(file)
    return run.complete


def log_report(study: str, files: list[Path]) -> None:
    """Mirror a study's report: the PDF, its figures and tables as artifacts of one run."""
    with tracked_run(study, f"report {study}", {"stage": "report"}, {}) as run:
        for file in files:
            run.artifact(file)


def sync(study: str) -> tuple[int, int]:
    """Send what MLflow misses of a study's finished trainings and evaluations, from their own files.

    Returns how many there are, and how many of them the server now has complete. Raises InputError if it does not
    answer at all.
    """
    try:
        initialise(study)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"MLflow at {store_uri()}: does not answer ({reason}). Start it, then sync again.") from None
    matrix = load_study(study)
    arrived = []
    for path in sorted((RESULTS / matrix.scale).glob("*/*/*/seed*/run.json")):
        record = read_json(path)
        wanted = (
            record["dataset"] in matrix.datasets
            and record["backbone"] in matrix.backbones
            and (record["variant"] == PRETRAIN or record["variant"] in matrix.variants)
        )
        if not wanted:
            continue
        arrived.append(_sync_training(study, record, path))
        for metrics in sorted(path.parent.glob("*/metrics.json")):
            files = [metrics, metrics.with_name("predictions.json")]
            arrived.append(log_evaluation(study, record, read_json(metrics), files, again=True))
    return len(arrived), sum(arrived)


def _sync_training(study: str, record: dict[str, Any], path: Path) -> bool:
    stage = PRETRAIN if record["variant"] == PRETRAIN else TRAIN
    name = f"{stage} {record['dataset']}/{record['backbone']}/{record['variant']}/seed{record['seed']}"
    parameters = flat(record["config"])
    with tracked_run(study, name, run_tags(record, stage), parameters, again=True) as run:
        for line in path.with_name("log.jsonl").read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            run.log(values.pop("step"), values)
        run.artifact(path)
        run.artifact(path.with_name("log.jsonl"))
    return run.complete


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one with dotted keys, as MLflow wants its parameters."""
    leaves: dict[str, object] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves
