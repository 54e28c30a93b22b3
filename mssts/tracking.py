"""Everything MLflow: one run per training and per evaluation, mirrored from the files, never an input and never fatal.

Tracking is off when MSSTS_TRACKING is "off"; MLFLOW_TRACKING_URI names another store than the local one.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mssts.checkpoint import atomic_write

STORE = Path("mlruns")
POINTS_PER_REQUEST = 10


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
    """Create the store's schema and the study's experiment, before any job writes (concurrent first use would race)."""
    marker = STORE / f"{study}.ready"
    if enabled():
        STORE.mkdir(exist_ok=True)
        client = _client()
        if client.get_experiment_by_name(study) is None:
            local = "MLFLOW_TRACKING_URI" not in os.environ
            artifacts = (STORE / "artifacts" / study).resolve().as_uri() if local else None
            client.create_experiment(study, artifact_location=artifacts)
        if store_uri().startswith("sqlite:///"):
            with sqlite3.connect(store_uri().removeprefix("sqlite:///")) as database:
                database.execute("PRAGMA journal_mode=WAL")
    with atomic_write(marker) as file:
        file.write("on\n" if enabled() else "off\n")


class TrackedRun:
    """One MLflow run; after the first failure it warns once and goes silent."""

    def __init__(
        self, study: str, name: str, tags: dict[str, str], parameters: dict[str, Any], alive: bool = True
    ) -> None:
        self._points: list[tuple[str, float, int]] = []
        self._client: Any = None
        self._run_id = ""
        self._alive = alive and enabled()
        self._attempt(lambda: self._start(study, name, tags, parameters))

    def _start(self, study: str, name: str, tags: dict[str, str], parameters: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self._client = _client()
        experiment = self._client.get_experiment_by_name(study)
        if experiment is None:
            raise LookupError(f"experiment {study!r} does not exist; run `mssts tracking {study}`")
        run = self._client.create_run(experiment.experiment_id, run_name=name, tags=tags)
        self._run_id = run.info.run_id
        self._client.log_batch(self._run_id, params=[Param(k, str(v)) for k, v in sorted(parameters.items())])

    def log(self, step: int, values: dict[str, float]) -> None:
        """Queue the numbers of one step; sent in batches."""
        self._points += [(name, float(value), step) for name, value in values.items()]
        if len(self._points) >= POINTS_PER_REQUEST * max(len(values), 1):
            self._attempt(self._send)

    def artifact(self, path: Path) -> None:
        """Copy a file to the run."""
        self._attempt(lambda: self._client.log_artifact(self._run_id, str(path)))

    def close(self, status: str = "FINISHED") -> None:
        """Send what is queued and end the run."""
        self._attempt(self._send)
        self._attempt(lambda: self._client.set_terminated(self._run_id, status))

    def _send(self) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in self._points]
        for start in range(0, len(metrics), 1000):  # the server's limit of one request
            self._client.log_batch(self._run_id, metrics=metrics[start : start + 1000])
        self._points.clear()

    def _attempt(self, action: Callable[[], Any]) -> None:
        if not self._alive:
            return
        try:
            action()
        except Exception as error:  # tracking must never end a run
            self._alive = False
            reason = " ".join(str(error).split())[:200]
            print(f"warning: MLflow does not answer, this run goes on without it: {reason}", file=sys.stderr)


@contextmanager
def tracked_run(study: str, name: str, tags: dict[str, Any], parameters: dict[str, Any]) -> Iterator[TrackedRun]:
    """An MLflow run that ends as FINISHED, or as FAILED when the block raises."""
    run = TrackedRun(study, name, {key: str(value) for key, value in tags.items()}, parameters)
    try:
        yield run
    except BaseException:
        run.close("FAILED")
        raise
    run.close()


@contextmanager
def untracked_run(*_: Any) -> Iterator[TrackedRun]:
    """What `tracked_run` gives where another process of the same run does the tracking."""
    yield TrackedRun("", "", {}, {}, alive=False)


def run_tags(record: dict[str, Any], stage: str) -> dict[str, Any]:
    """The tags of a run from its run.json record."""
    keys = ("variant", "backbone", "dataset", "scale", "seed", "pretrain_seed", "commit", "data_fingerprint")
    return {key: record[key] for key in (*keys, "config_digest")} | {"stage": stage}


def log_evaluation(study: str, record: dict[str, Any], metrics: dict[str, Any], files: list[Path]) -> None:
    """Mirror one evaluation: overall, class-agnostic and per-challenge numbers, and its files."""
    split = metrics["produced_by"]["split"]
    values = dict(metrics["overall"])
    values |= {f"{name}_agnostic": value for name, value in metrics["class_agnostic"].items()}
    values |= {f"{challenge}/AP": numbers["AP"] for challenge, numbers in metrics["attributes"].items()}
    name = f"evaluate {split} {record['variant']} seed{record['seed']}"
    with tracked_run(study, name, run_tags(record, "evaluate") | {"split": split}, {}) as run:
        run.log(record["steps"], {key: value for key, value in values.items() if value is not None})
        for file in files:
            run.artifact(file)


def log_report(study: str, files: list[Path]) -> None:
    """Mirror a study's report: the PDF, its figures and tables as artifacts of one run."""
    with tracked_run(study, f"report {study}", {"stage": "report"}, {}) as run:
        for file in files:
            run.artifact(file)
