"""MLflow mirror: one MLflow run per run of a study, and one for its report, delivered from the files of the run.

MLflow is never an input, and its failure never ends a run. The files of a run are the queue: a delivery reads them and
sends what the server does not have, during the run, at its end, or later by `mssts mlflow sync`. MLFLOW_TRACKING_URI
names another server than the local store.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from mssts.core.errors import InputError
from mssts.core.files import read_record
from mssts.study import mlflow_view
from mssts.study.mlflow_content import (
    CHECKPOINT,
    Content,
    evaluation_content,
    finished_runs,
    finished_training_content,
    report_content,
    training_content,
)
from mssts.study.mlflow_store import experiment_id, failure, one_at_a_time, open_store, warn
from mssts.study.resolve import ResolvedStudy
from mssts.training.callbacks import Callback, StartedRun
from mssts.training.failures import Preempted

if TYPE_CHECKING:
    from mssts.models import MsStsVis

RECORDS_PER_DELIVERY = 10
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 60.0, 900.0
METRICS_PER_REQUEST, PARAMETERS_PER_REQUEST = 1000, 100  # limits of the server
CONTENT = "content_sha256"  # tag of a finished MLflow run: digest of its artifacts
LOADER = "mssts.study.mlflow_model"  # module that MLflow imports to load a model
Status = Literal["RUNNING", "FINISHED", "KILLED", "FAILED"]


def initialise(study: ResolvedStudy) -> None:
    """Create the store, the experiment and its saved view, so that a study shows from its start on.

    A failure is a warning. A view that a user has changed stays as it is.
    """
    try:
        client = open_store()
        with one_at_a_time():
            experiment = client.get_experiment(experiment_id(client, study.name))
            if study.spec.splits and mlflow_view.TAG not in experiment.tags:
                view = mlflow_view.ablation_view(study.spec.splits)
                client.set_experiment_tag(experiment.experiment_id, mlflow_view.TAG, view)
    except Exception as error:  # MLflow must never end a study
        warn(study.name, error)


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
                warn(self._experiment, error)
            return False
        return True

    def send(self, status: Status) -> None:
        """Send what the server does not have, and set the status. Raises what MLflow raises."""
        content = self._read()
        digest = content.digest() if status == "FINISHED" else ""
        client = open_store()
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
            with one_at_a_time():
                if content.model:
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
            with one_at_a_time():
                self._send_part(client, name, part)

    def _send_part(self, client: MlflowClient, name: str, part: Content) -> None:
        digest, tag = part.digest(), f"{CONTENT}.{name}"
        run = client.get_run(self._run_id)
        if run.data.tags.get(tag) == digest:
            return
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
        with one_at_a_time():
            experiment = experiment_id(client, self._experiment)
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
            raise InputError(f"MLflow at {failure(error)} {advice}") from None


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
    last = max((step for _, step in content.metrics), default=0)  # none in a training shorter than a line of its log
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, last)])


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


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
