"""MLflow mirror: one MLflow run per run of a study, and one for its report, delivered from the files of the run.

MLflow is never an input, and its failure never ends a run. The files of a run are the queue: a delivery reads them and
sends what the server does not have, during the run, at its end, or later by `mssts mlflow sync`. MLFLOW_TRACKING_URI
names another server than the local store.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

# MLflow reads this when it is imported: it sends its makers no usage data unless the user wants it to.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from mssts.config import PRETRAIN, TRAIN, leaves
from mssts.core.csv_files import NO_VALUE
from mssts.core.errors import InputError
from mssts.core.files import read_record, sha256_file, verify_digest
from mssts.evaluation.records_file import BOX_MATCHES, MATCHES
from mssts.study.matrix import planned_runs
from mssts.study.paths import ATTENTION, FIGURES, HTML, report_dir
from mssts.study.resolve import ResolvedStudy
from mssts.study.validation_file import FILE as VALIDATION
from mssts.study.validation_file import read_validation
from mssts.training.callbacks import Callback, StartedRun
from mssts.training.failures import Preempted
from mssts.ytvis.boxes import boxes_beside

if TYPE_CHECKING:
    from mssts.models import MsStsVis

STORE = Path("mlruns")
RECORDS_PER_DELIVERY = 10
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 60.0, 900.0
LOCK_SECONDS = 30.0
METRICS_PER_REQUEST, PARAMETERS_PER_REQUEST = 1000, 100  # limits of the server
CONTENT = "content_sha256"  # tag of a finished MLflow run: digest of its artifacts
LOADER = "mssts.study.mlflow_model"  # module that MLflow imports to load a model
CHECKPOINT = "checkpoint.pt"
Status = Literal["RUNNING", "FINISHED", "KILLED", "FAILED"]

# A store that cannot be opened must cost a job seconds: a delivery is tried again later anyway.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
BUSY_SECONDS = 5.0
for _name in ("mlflow", "alembic"):  # what they log as an error they also raise
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def store_uri() -> str:
    """Return the address of the tracking server: the user's, or the local SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(STORE / 'mlflow.db').resolve().as_posix()}"


def initialise(experiment: str) -> None:
    """Create the store and the experiment, so that a study shows from its start on. A failure is a warning."""
    try:
        client = _client()
        with _one_at_a_time():
            _experiment_id(client, experiment)
    except Exception as error:  # MLflow must never end a study
        _warn(experiment, error)


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


class Delivery:
    """Delivers the content of one run to MLflow, as far as the server answers.

    The experiment and the MLflow run are looked for, and created if missing, whenever they are needed: a server may be
    late. An unfinished MLflow run with the same tags, such as that of a killed process, is continued; a finished one is
    left as it is, and is complete if its content is the same.

    Args:
        experiment: Name of the MLflow experiment: the study.
        read: Reads the content from the files of the run.
    """

    def __init__(self, experiment: str, read: Callable[[], Content]) -> None:
        self._experiment = experiment
        self._read = read
        self._run_id = ""
        self._status = ""  # of the MLflow run
        self._delivered: set[tuple[str, int]] = set()  # keys of the metrics that the server has
        self._failures = 0
        self._next_try = 0.0

    def deliver(self, status: Status) -> bool:
        """Send what the server does not have, and set the status; return whether the server has everything.

        The first failure prints a warning. After a failure it waits RETRY_SECONDS, then twice as long, and so on up to
        LONGEST_RETRY_SECONDS, before it tries again; a final status is always tried.
        """
        if status == "RUNNING" and time.monotonic() < self._next_try:
            return False
        try:
            self.send(status)
        except Exception as error:  # MLflow must never end a run
            self._run_id = ""  # the server may have taken what it did not confirm: ask again
            self._next_try = time.monotonic() + min(RETRY_SECONDS * 2**self._failures, LONGEST_RETRY_SECONDS)
            self._failures += 1
            if self._failures == 1:
                _warn(self._experiment, error)
            return False
        return True

    def send(self, status: Status) -> None:
        """Send what the server does not have, and set the status. Raises what MLflow raises."""
        content = self._read()
        digest = content.digest() if status == "FINISHED" else ""
        client = _client()
        if not self._run_id:
            run = self._find_or_create(client, content, digest)
            self._run_id, self._status = run.info.run_id, run.info.status
            if self._status == "FINISHED":
                return self._send_parts(client, content)
            self._complete_parameters(client, content, run)
            if content.data and not (run.inputs and run.inputs.dataset_inputs):
                client.log_inputs(self._run_id, [_dataset_input(*content.data, "training")])
        ended = _milliseconds(content.ended)
        self._send_metrics(client, content, self._delivered)
        if status == "FINISHED":
            self._send_artifacts(client, content)
            if content.model:
                with _one_at_a_time():
                    _log_model(client, self._run_id, content)
            client.set_tag(self._run_id, CONTENT, digest)
        if status != "RUNNING":
            client.set_terminated(self._run_id, status, ended)
        elif status != self._status:
            client.update_run(self._run_id, status)
        self._status = status
        self._send_parts(client, content)

    def _send_metrics(self, client: MlflowClient, content: Content, delivered: set[tuple[str, int]]) -> None:
        """Send the metrics that are not among those delivered, and add them there."""
        ended = _milliseconds(content.ended)
        missing = [key for key in content.metrics if key not in delivered]
        for start in range(0, len(missing), METRICS_PER_REQUEST):
            keys = missing[start : start + METRICS_PER_REQUEST]
            metrics = [Metric(name, content.metrics[name, step], ended, step) for name, step in keys]
            client.log_batch(self._run_id, metrics=metrics)
            delivered.update(keys)

    def _send_artifacts(self, client: MlflowClient, content: Content, folder: str = "") -> None:
        for name, path in content.artifacts.items():
            client.log_artifact(self._run_id, str(path), f"{folder}/{name}".strip("/").rpartition("/")[0] or None)

    def _send_parts(self, client: MlflowClient, content: Content) -> None:
        """Send the parts that the MLflow run lacks. That of changed files replaces the one before."""
        for name, part in content.parts.items():
            digest, tag = part.digest(), f"{CONTENT}.{name}"
            run = client.get_run(self._run_id)
            if run.data.tags.get(tag) == digest:
                continue
            self._send_metrics(client, part, set())
            self._send_artifacts(client, part, name)
            if part.data:
                client.log_inputs(self._run_id, [_dataset_input(*part.data, name)])
            client.set_tag(self._run_id, tag, digest)
            ended = max(_milliseconds(part.ended), run.info.end_time or 0)
            client.set_terminated(self._run_id, "FINISHED", ended)

    def _find_or_create(self, client: MlflowClient, content: Content, digest: str) -> Run:
        """The finished MLflow run of the same content, else an unfinished one of the same tags, else a new one."""
        same = " and ".join(f"tags.`{key}` = '{value}'" for key, value in content.tags.items() if key != "commit")
        with _one_at_a_time():
            experiment = _experiment_id(client, self._experiment)
            found = client.search_runs([experiment], same, max_results=1000)
            finished = (run for run in found if run.info.status == "FINISHED" and run.data.tags.get(CONTENT) == digest)
            unfinished = (run for run in found if run.info.status != "FINISHED")
            run = next(finished, None) or next(unfinished, None)
            if run:
                return run
            started = _milliseconds(content.started)
            description = {"mlflow.note.content": _card(content)} if content.data else {}
            tags = content.tags | description
            return client.create_run(experiment, start_time=started, tags=tags, run_name=content.name)

    def _complete_parameters(self, client: MlflowClient, content: Content, run: Run) -> None:
        """Send the parameters that an MLflow run lacks, and note the metrics that it has."""
        run_id = run.info.run_id
        missing = [Param(key, value) for key, value in content.parameters.items() if key not in run.data.params]
        for start in range(0, len(missing), PARAMETERS_PER_REQUEST):
            client.log_batch(run_id, params=missing[start : start + PARAMETERS_PER_REQUEST])
        histories = {name: client.get_metric_history(run_id, name) for name in run.data.metrics}
        self._delivered = {(name, point.step) for name, points in histories.items() for point in points}


class TrainingMirror(Callback):
    """Callback that delivers a training while it runs."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._delivery: Delivery | None = None
        self._records = 0

    def on_start(self, started: StartedRun) -> None:
        """Create the MLflow run or continue it."""
        if started.fabric.is_global_zero:
            begin = time.time()
            read = partial(training_content, started.record, started.output)
            self._delivery = Delivery(self._experiment, lambda: read(begin, time.time()))
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


def deliver_evaluation(experiment: str, directory: Path, metrics: Path, predictions: Path) -> bool:
    """Deliver an evaluation that has just been made; return whether MLflow has all of it.

    Args:
        experiment: Name of the MLflow experiment: the study.
        directory: Directory of the finished training; the evaluation goes into its MLflow run.
        metrics: metrics.json of the evaluation.
        predictions: The submission that was evaluated.
    """

    def read() -> Content:
        evaluation = evaluation_content(read_record(directory / "run.json"), metrics, predictions)
        return replace(finished_training_content(directory), parts={evaluation.name: evaluation})

    return Delivery(experiment, read).deliver("FINISHED")


def deliver_report(study: ResolvedStudy, document: Path) -> bool:
    """Deliver a study's report that has just been made, and its figures with every run that they show.

    Returns:
        Whether MLflow has all of the report and of the study's finished runs.
    """
    reads = [lambda: report_content(study.name, document), *finished_runs(study)]
    return all(Delivery(study.name, read).deliver("FINISHED") for read in reads)


def finished_runs(study: ResolvedStudy) -> list[Callable[[], Content]]:
    """What reads the contents of all finished runs of a study; no figure shows the pre-trainings."""
    drawn = [path for name in (FIGURES, ATTENTION) for path in sorted((report_dir(study.name) / name).glob("*.png"))]
    figures = {path.name: path for path in drawn}
    runs = [run for run in planned_runs(study) if (run.directory / "run.json").is_file()]
    return [partial(finished_run_content, run.directory, {} if run.variant == PRETRAIN else figures) for run in runs]


def sync(experiment: str, reads: list[Callable[[], Content]]) -> None:
    """Deliver finished runs, as far as MLflow does not have them.

    Args:
        experiment: Name of the MLflow experiment: the study.
        reads: What reads the content of each.

    Raises:
        InputError: If MLflow fails; nothing more is tried then.
    """
    for done, read in enumerate(reads):
        try:
            Delivery(experiment, read).send("FINISHED")
        except InputError:
            raise
        except Exception as error:
            advice = f"It has {done} of {len(reads)} runs. Repair it and run the command again."
            raise InputError(f"MLflow at {_failure(error)} {advice}") from None


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep other processes of this clone from looking for the same things and creating them twice."""
    with ExitStack() as stack:
        with suppress(OSError):  # no locks in this file system, or too long a wait: MLflow may show a run twice
            STORE.mkdir(exist_ok=True)
            stack.enter_context(FileLock(STORE / ".lock", timeout=LOCK_SECONDS))
        yield


def _experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment of that name, created if it is missing."""
    experiment = client.get_experiment_by_name(name)
    here = None if os.environ.get("MLFLOW_TRACKING_URI") else (STORE / "artifacts" / name).resolve()
    if not experiment:
        return client.create_experiment(name, here.as_uri() if here else None)
    if here and here.is_dir() and experiment.artifact_location != here.as_uri():
        _move_artifacts(experiment.artifact_location, here.as_uri())
    return experiment.experiment_id


def _move_artifacts(old: str, new: str) -> None:
    """Write the new place of artifacts into the local store: it holds absolute paths, and the clone was moved."""
    columns = {
        "experiments": ["artifact_location"],
        "runs": ["artifact_uri"],
        "logged_models": ["artifact_location"],
        "model_versions": ["source", "storage_location"],
    }
    with closing(sqlite3.connect(STORE / "mlflow.db", timeout=BUSY_SECONDS)) as database, database:
        for table, names in columns.items():
            for name in names:
                moved = f"update {table} set {name} = ? || substr({name}, ?) where {name} = ? or {name} like ? || '/%'"
                database.execute(moved, (new, len(old) + 1, old, old))


def _client() -> MlflowClient:
    """A client of the store, which is created if it is a missing SQLite file."""
    uri = store_uri()
    if not uri.startswith(("http:", "https:")):  # a server needs none of MLflow's own store, which loads slowly
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 1  # ten tries would wait for 100 s, and have no setting
    scheme, _, name = uri.partition("?")[0].partition("sqlite:///")
    if name and not scheme and not name.startswith((":memory:", "file:")):
        path = Path(name)
        if not path.exists():
            with _one_at_a_time():
                _create_database(path)
        # Ask SQLite itself whether the file can be written: MLflow would wait 20 s for each statement.
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    return MlflowClient(tracking_uri=uri)


def _create_database(path: Path) -> None:
    """Create MLflow's tables under another name, then rename: two jobs, or half of the tables, do no harm."""
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        new = Path(folder).resolve() / path.name
        SqlAlchemyStore(f"sqlite:///{new.as_posix()}", str(STORE / "artifacts")).engine.dispose()
        with closing(sqlite3.connect(new)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # halves the time of a write
        if not path.exists():
            os.replace(new, path)


def _dataset_input(name: str, digest: str, context: str) -> DatasetInput:
    dataset = Dataset(name, digest, "local", json.dumps({"uri": name}))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _log_model(client: MlflowClient, run_id: str, content: Content) -> None:
    """Log the checkpoint as a model of the run, and register it. The registered version points to the logged files."""
    assert content.model
    run = client.get_run(run_id)
    if run.outputs and run.outputs.model_outputs:
        return
    experiment = client.get_experiment(run.info.experiment_id)
    logged = client.create_logged_model(run.info.experiment_id, "model", run_id, model_type="mssts")
    with tempfile.TemporaryDirectory() as folder:
        model = Model(run_id=run_id, model_id=logged.model_id, artifact_path=logged.artifact_location)
        model.add_flavor("python_function", loader_module=LOADER, data=CHECKPOINT)
        model.save(str(Path(folder) / "MLmodel"))
        (Path(folder) / "README.md").write_text(_card(content), encoding="utf-8")
        (Path(folder) / CHECKPOINT).symlink_to(content.model.resolve())
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    variant, backbone, dataset = (content.tags[key] for key in ("variant", "backbone", "dataset"))
    name = f"{experiment.name}-{variant}-{backbone}-{dataset}"
    with suppress(MlflowException):  # it exists
        client.create_registered_model(name, description=f"{variant} of study {experiment.name}, {backbone}, {dataset}")
    client.create_model_version(
        name,
        logged.artifact_location,
        run_id,
        {"seed": f"seed{content.tags['seed']}"},
        description=_card(content),
        model_id=logged.model_id,
    )
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, max(step for _, step in content.metrics))])


def _card(content: Content) -> str:
    """The model card, in Markdown: what was trained, on what, and how to load it."""
    rows = "".join(f"| {key} | {value} |\n" for key, value in content.tags.items() if not key.startswith("mlflow."))
    return (
        f"# {content.name}\n\nMS-STS video instance segmentation: instances of the dataset's categories with a mask in "
        "each frame.\n\n"
        f"| | |\n|---|---|\n{rows}\n"
        "Load it: `mssts.load_model(uri).predict(frames)`, or `mlflow.pyfunc.load_model(uri).predict(frames)`, with "
        "`frames` of shape (T, H, W, 3), uint8 RGB. The AP of each split stands in the metrics of the run.\n\n"
        "It knows only the categories and the kind of videos of its dataset; its scores are no probabilities.\n"
    )


def _tags(record: dict[str, Any], stage: str) -> dict[str, str]:
    keys = ("variant", "backbone", "dataset", "scale", "seed", "pretrain_seed", "commit", "data_fingerprint")
    return {key: str(record[key]) for key in (*keys, "config_digest")} | {"stage": stage}


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _warn(experiment: str, error: Exception) -> None:
    print(
        f"warning: MLflow at {_failure(error)} The study continues. Repair the store or set MLFLOW_TRACKING_URI to "
        f"another; it gets what is missing when it works, at the latest by `mssts mlflow sync --study {experiment}`. "
        "To work without MLflow set MSSTS_MLFLOW=off (with Snakemake: --config mlflow=off).",
        file=sys.stderr,
    )


def _failure(error: Exception) -> str:
    """The store and the reason, without a password; what the system said is clearer than what MLflow makes of it."""
    cause: BaseException = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    reason = " ".join(str(cause if isinstance(cause, OSError | sqlite3.Error) else error).split())[:300].rstrip(".")
    if reason == "database is locked":
        reason += ", by another program or because its file system has no locks"
    return re.sub(r"(?<=://)[^/@ ]*@", "", f"{store_uri()}: {reason}.")
