"""MLflow mirrors runs in a real store, and its absence costs a warning only."""

from __future__ import annotations

import base64
import errno
import json
import multiprocessing
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from mssts import cli
from mssts.core.csv_files import NO_VALUE, write_csv
from mssts.core.errors import InputError
from mssts.core.files import sha256_file, write_json, write_record
from mssts.study import mlflow_content as content
from mssts.study import mlflow_mirror as mirror
from mssts.study import mlflow_store, mlflow_view, validation_file
from mssts.study.resolve import ResolvedStudy, load_study
from mssts.training.callbacks import StartedRun, observed
from mssts.training.failures import Preempted

KEYS = ("variant", "backbone", "dataset", "scale", "commit", "data_fingerprint", "config_digest")
RECORD = {key: key for key in KEYS} | {"seed": 3, "pretrain_seed": 2, "steps": 40, "config": {"train": {"steps": 40}}}
NOWHERE = "http://127.0.0.1:9"
SECONDS = 12.5  # of a training
FIGURES = ("figures/ablation.pdf", "figures/ablation.png", "attention/queries.png")


@pytest.fixture(scope="module")
def new_database(tmp_path_factory):
    """A store without experiments: to create one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow_store._create_database(path)
    return path


@pytest.fixture
def database(new_database, tmp_path, monkeypatch):
    """The file of a store that no job has opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    return Path(shutil.copy(new_database, tmp_path / "mlruns"))


@pytest.fixture
def store(database):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=mlflow_store.store_uri())


@pytest.fixture
def no_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)


@pytest.fixture
def study(root):
    return load_study("smoke", root / "ablations")


def runs(store, experiment="study"):
    return store.search_runs([store.get_experiment_by_name(experiment).experiment_id])


def artifacts(store, run, folder=None):
    """Paths of all artifacts of a run."""
    found = store.list_artifacts(run.info.run_id, folder)
    deeper = [artifacts(store, run, file.path) for file in found if file.is_dir]
    return {file.path for file in found if not file.is_dir}.union(*deeper)


def points(store, run, name="loss"):
    return sorted((point.step, point.value) for point in store.get_metric_history(run.info.run_id, name))


class Training:
    """What a training does: it writes its files and calls the mirror."""

    def __init__(self, directory: Path, **record) -> None:
        self.directory = directory
        self.record = RECORD | record
        self.mirror = mirror.TrainingMirror("study")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "log.jsonl").touch()

    @property
    def started(self) -> StartedRun:
        return StartedRun(self.record, self.directory, SimpleNamespace(is_global_zero=True))

    def steps(self, steps) -> None:
        for step in steps:
            line = {"step": step, "loss": 1.0 / step}
            with (self.directory / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            self.mirror.on_step(step, None, line)

    def run(self, steps, error: BaseException | None = None) -> None:
        with observed([self.mirror], self.started):
            self.steps(steps)
            if error:
                raise error
            self.finish()

    def finish(self) -> None:
        digest = {"log_sha256": sha256_file(self.directory / "log.jsonl")}
        write_record(self.directory / "run.json", self.record | digest)
        write_record(self.directory / "cost.json", {"seconds": SECONDS})


def test_a_run_carries_tags_parameters_curves_and_artifacts(store, tmp_path):
    Training(tmp_path / "run", variant="ms_sts").run(range(1, 31))
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert found.data.tags["variant"] == "ms_sts" and found.data.tags["seed"] == "3"
    assert found.data.params == {"train.steps": "40"}
    assert points(store, found) == [(step, 1.0 / step) for step in range(1, 31)]
    assert artifacts(store, found) == {"run.json", "log.jsonl", "cost.json"}


def test_a_training_shorter_than_a_line_of_its_log_has_its_model_once(store, tmp_path):
    training = Training(tmp_path / "run")
    (training.directory / "checkpoint.pt").write_bytes(b"weights")
    training.run([])
    (found,) = runs(store)
    assert found.info.status == "FINISHED" and len(found.outputs.model_outputs) == 1


@pytest.mark.parametrize(("error", "status"), [(KeyError(), "FAILED"), (Preempted(), "KILLED")])
def test_a_run_that_ends_early_is_marked_as_failed_or_killed_with_its_curve(store, tmp_path, error, status):
    with pytest.raises(type(error)):
        Training(tmp_path / "run").run(range(1, 4), error)
    (found,) = runs(store)
    assert found.info.status == status
    assert len(points(store, found)) == 3


def test_initialising_twice_keeps_the_experiment_and_its_saved_view(store, study):
    mirror.initialise(study)
    (before,) = [e for e in store.search_experiments() if e.name == "smoke"]
    mirror.initialise(study)
    assert store.get_experiment_by_name("smoke").tags == before.tags
    view = json.loads(before.tags["mlflow.sharedViewState.mssts"])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    assert view["name"] == "Ablation"
    assert state["orderByKey"] == "metrics.`valid/AP`" and state["orderByAsc"] is False
    assert {"tags.`variant`", "metrics.`valid/AP`", "metrics.`control/AP`"} <= set(state["selectedColumns"])


@pytest.mark.long
def test_the_search_of_the_documentation_lists_the_trainings(store, finished, root):
    mirror.deliver_report(finished, Path("table.pdf"))
    (code,) = re.findall(r"```python\n(import mlflow\n.*?)```", (root / "docs/mlflow.md").read_text(), re.DOTALL)
    command = [sys.executable, "-c", code.replace('"demo"', '"smoke"')]
    header, *rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert header.split() == ["tags.variant", "tags.backbone", "tags.seed", "metrics.valid/AP", "metrics.valid/fog/AP"]
    assert [row.split() for row in rows] == [["baseline", "tiny", "1", "0.5", "0.25"]]


def test_the_saved_view_finds_the_evaluated_trainings(store, finished):
    mirror.initialise(finished)
    mirror.deliver_report(finished, Path("table.pdf"))
    experiment = store.get_experiment_by_name("smoke")
    packed = json.loads(experiment.tags[mlflow_view.TAG])["state"].removeprefix("deflate;")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    found = store.search_runs([experiment.experiment_id], state["searchFilter"], order_by=[order])
    assert [run.data.tags["variant"] for run in found] == ["baseline"]


def test_a_dead_server_gives_one_warning_and_the_run_goes_on(no_server, tmp_path, capsys):
    Training(tmp_path / "run").run(range(1, 101))
    assert capsys.readouterr().err.count("warning: MLflow") == 1


def test_mlflow_switched_off_writes_nothing(root, tmp_path, monkeypatch):
    (tmp_path / "ablations").symlink_to(root / "ablations")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSSTS_MLFLOW", "off")
    cli.mlflow_init("smoke")
    assert cli._callbacks(load_study("smoke")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["ablations"]


def test_an_unreachable_mlflow_store_does_not_stop_the_study(no_server, study, capsys):
    mirror.initialise(study)
    assert capsys.readouterr().err.count("warning: MLflow") == 1


def test_a_run_whose_process_was_killed_is_continued_without_doubled_samples(store, tmp_path):
    killed = Training(tmp_path / "run", commit="a")
    killed.mirror.on_start(killed.started)
    killed.steps(range(1, 13))
    assert [run.info.status for run in runs(store)] == ["RUNNING"]
    resumed = Training(tmp_path / "run", commit="a..b")
    log = tmp_path / "run/log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:7]))
    resumed.run(range(8, 31))
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert points(store, found) == [(step, 1.0 / step) for step in range(1, 31)]


def test_a_run_that_was_asked_to_stop_is_continued(store, tmp_path):
    with pytest.raises(Preempted):
        Training(tmp_path / "run").run(range(1, 5), Preempted())
    resumed = Training(tmp_path / "run")
    resumed.mirror.on_start(resumed.started)
    assert [run.info.status for run in runs(store)] == ["RUNNING"]
    resumed.run(range(5, 9))
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert points(store, found) == [(step, 1.0 / step) for step in range(1, 9)]


def test_a_run_of_another_seed_or_a_finished_run_is_not_continued(store, tmp_path):
    for number, seed in enumerate((1, 2, 1)):
        Training(tmp_path / f"run{number}", seed=seed).run([1])
    assert len(runs(store)) == 3


def test_what_a_server_missed_is_sent_at_the_end_after_one_warning(store, tmp_path, monkeypatch, capsys):
    home = mlflow_store.store_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    training = Training(tmp_path / "run")
    with observed([training.mirror], training.started):
        training.steps(range(1, 41))
        training.finish()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", home)
    (found,) = runs(store)
    assert points(store, found) == [(step, 1.0 / step) for step in range(1, 41)]
    assert capsys.readouterr().err.count("warning") == 1


def test_a_server_that_fails_is_asked_again_after_a_minute_two_four_and_at_most_fifteen(store, tmp_path, monkeypatch):
    now = 1000.0
    tries = []
    monkeypatch.setattr(mirror.time, "monotonic", lambda: now)
    monkeypatch.setattr(mirror, "open_store", lambda: tries.append(now) or 1 / 0)
    training = Training(tmp_path / "run")
    training.mirror.on_start(training.started)
    for _ in range(300):
        now += 15
        training.steps(range(1, 11))
    assert tries == [1000.0, 1060.0, 1180.0, 1420.0, 1900.0, 2800.0, 3700.0, 4600.0, 5500.0]


@pytest.fixture
def finished(study, tmp_path, monkeypatch):
    """Study `smoke` with a finished training, its evaluation and its report, as files; no MLflow had been there."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results/smoke/synthvis/tiny/baseline/seed1"
    names = {"scale": "smoke", "dataset": "synthvis", "backbone": "tiny", "variant": "baseline", "seed": 1}
    with monkeypatch.context() as patch:
        patch.setattr(mirror, "open_store", lambda: 1 / 0)
        Training(run, **names).run(range(1, 21))
    evaluation(run, 0.5)
    for name in ("table.csv", *FIGURES, "html/icon.png"):
        path = tmp_path / "reports/smoke" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "table.pdf").write_text("PDF")
    return study


def evaluation(run: Path, ap: float) -> tuple:
    """Write the files of an evaluation of a run; return what the command line hands to the mirror."""
    metrics = {
        "produced_by": {"split": "valid"},
        "overall": {"AP": ap, "AR1": None},
        "class_agnostic": {"AP": 0.6},
        "boxes": {"overall": {"AP": 0.7, "AR1": None}},
        "attributes": {"fog": {"AP": 0.25}},
    }
    write_record(run / "valid/metrics.json", metrics)
    write_json(run / "valid/predictions.json", [])
    for name in ("matches.npz", "box_matches.npz", "predictions.boxes.json"):
        (run / "valid" / name).write_text(name)
    return run, run / "valid/metrics.json", run / "valid/predictions.json"


def sync(study):
    """What `mssts mlflow sync` sends."""
    runs = content.finished_runs(study)
    mirror.sync("study", [*runs, lambda: content.report_content("smoke", Path("table.pdf"))])
    return len(runs)


def of_stage(store, stage, experiment="study"):
    (run,) = [run for run in runs(store, experiment) if run.data.tags["stage"] == stage]
    return run


def test_sync_sends_what_is_missing_once(store, finished):
    for _ in range(2):
        assert sync(finished) == 1
        assert len(runs(store)) == 2
        trained = of_stage(store, "train")
        assert points(store, trained) == [(step, 1.0 / step) for step in range(1, 21)]
        assert points(store, trained, "valid/AP") == [(40, 0.5)]
        measured = {name: value for name, value in trained.data.metrics.items() if name.startswith("valid/")}
        expected = {"AP": 0.5, "AP_agnostic": 0.6, "AP_box": 0.7, "fog/AP": 0.25}
        assert measured == {f"valid/{name}": value for name, value in expected.items()}
        assert [i.dataset.name for i in trained.inputs.dataset_inputs] == ["synthvis", "synthvis valid"]
        files = {"metrics.json", "predictions.json", "predictions.boxes.json", "matches.npz", "box_matches.npz"}
        own = {"run.json", "log.jsonl", "cost.json"}
        figures = {"figures/ablation.png", "figures/queries.png"}
        assert artifacts(store, trained) == own | {f"valid/{name}" for name in files} | figures
        assert artifacts(store, of_stage(store, "report")) == {"table.pdf", "table.csv", *FIGURES}
        assert {run.info.status for run in runs(store)} == {"FINISHED"}


def test_sync_dates_each_run_by_its_files(store, finished, tmp_path):
    run = tmp_path / "results/smoke/synthvis/tiny/baseline/seed1"
    written = {run / "cost.json": 1_000_000, run / "valid/metrics.json": 2_000_000}
    report = tmp_path / "reports/smoke"
    written |= {report / "table.csv": 3_000_000} | {report / name: 3_000_060 for name in FIGURES}
    for path, seconds in written.items():
        os.utime(path, (seconds, seconds))
    sync(finished)
    times = {stage: of_stage(store, stage).info for stage in ("train", "report")}
    assert {stage: (info.start_time / 1000, info.end_time / 1000) for stage, info in times.items()} == {
        "train": (1_000_000 - SECONDS, 2_000_000),
        "report": (3_000_000, 3_000_060),
    }
    (point,) = store.get_metric_history(times["train"].run_id, "valid/AP")
    assert point.timestamp / 1000 == 2_000_000


def test_sync_changes_nothing_of_what_arrived(store, finished, tmp_path):
    files = evaluation(tmp_path / "results/smoke/synthvis/tiny/baseline/seed1", 0.5)
    assert [mirror.deliver_evaluation("study", *files) for _ in range(2)] == [True, True]
    before = of_stage(store, "train")
    sync(finished)
    after = of_stage(store, "train")
    assert after.data.tags.pop("content_sha256.figures")  # these are new
    assert after.to_dictionary() == before.to_dictionary()


def test_another_evaluation_of_the_same_training_replaces_the_one_before(store, finished, tmp_path):
    run = tmp_path / "results/smoke/synthvis/tiny/baseline/seed1"
    for second, ap in ((2_000_000, 0.75), (2_000_001, 0.5)):
        evaluation(run, ap)
        os.utime(run / "valid/metrics.json", (second, second))
        sync(finished)
    assert of_stage(store, "train").data.metrics["valid/AP"] == 0.5


def test_artifacts_are_found_after_the_clone_was_moved(store, finished, tmp_path, monkeypatch):
    sync(finished)
    run = of_stage(store, "train").info.run_id
    (tmp_path / "moved").mkdir()
    for name in ("mlruns", "results", "reports", "table.pdf"):
        os.rename(tmp_path / name, tmp_path / "moved" / name)
    monkeypatch.chdir(tmp_path / "moved")
    sync(finished)
    moved = mlflow_store.open_store()
    assert moved.get_run(run).info.artifact_uri.startswith((tmp_path / "moved").as_uri())
    assert {"run.json", "figures/ablation.png"} <= artifacts(moved, moved.get_run(run))


def test_sync_without_a_server_is_an_error(finished, no_server):
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9: \[Errno 111\] Connection refused\. It has 0 of 2 runs"):
        sync(finished)


def deliver_training(run: Path) -> None:
    Training(run / "other", seed=2).run([1, 2, 3])


def deliver_evaluation(run: Path) -> None:
    mirror.deliver_evaluation("study", *evaluation(run, 0.5))


@pytest.mark.parametrize("deliver", [deliver_training, deliver_evaluation])
def test_a_server_that_was_late_gets_all_that_follows(store, finished, tmp_path, monkeypatch, deliver):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    mirror.initialise(finished)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    deliver(tmp_path / "results/smoke/synthvis/tiny/baseline/seed1")
    assert [run.info.status for run in runs(store)] == ["FINISHED"]


def in_processes(number: int, work) -> None:
    """Do the same work in some processes at the same time."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(number)

    def job() -> None:
        gate.wait(timeout=60)
        work()

    jobs = [context.Process(target=job) for _ in range(number)]
    for process in jobs:
        process.start()
    for process in jobs:
        process.join(timeout=60)
    assert [process.exitcode for process in jobs] == [0] * number


def test_parallel_jobs_open_a_run_once(store, finished):
    in_processes(4, lambda: sync(finished))
    assert sorted(run.data.tags["stage"] for run in runs(store)) == ["report", "train"]
    assert {run.info.status for run in runs(store)} == {"FINISHED"}
    assert [experiment.name for experiment in store.search_experiments()] == ["study", "Default"]
    assert points(store, of_stage(store, "train")) == [(step, 1.0 / step) for step in range(1, 21)]


@pytest.mark.long
def test_parallel_jobs_create_the_store_once(finished, capfd):
    in_processes(3, lambda: mirror.initialise(finished))
    assert capfd.readouterr().err == ""
    with closing(sqlite3.connect("mlruns/mlflow.db")) as database:
        assert database.execute("select name from experiments order by name").fetchall() == [("Default",), ("smoke",)]
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)
    assert {path.name for path in Path("mlruns").iterdir()} <= {".lock", "mlflow.db", "mlflow.db-shm", "mlflow.db-wal"}


def text_file(database: Path) -> str:
    database.write_text("hello " * 1000)
    return f"sqlite:///{database}"


def a_folder(database: Path) -> str:
    database.unlink()
    database.mkdir()
    return f"sqlite:///{database}"


def below_a_file(database: Path) -> str:
    return f"sqlite:///{database}/store.db"


def of_another_version(database: Path) -> str:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("update alembic_version set version_num = 'other'")
    return f"sqlite:///{database}"


def damaged(database: Path) -> str:
    content = database.read_bytes()
    database.write_bytes(content[:4096] + b"x" * 4096 * 20)
    return f"sqlite:///{database}"


BROKEN = {
    "a text file": (text_file, "file is not a database"),
    "a folder": (a_folder, "unable to open database file"),
    "a file as folder": (below_a_file, "exists|Not a directory"),
    "the schema of another version": (of_another_version, "schema .found version other"),
    "a damaged database": (damaged, "malformed"),
    "an unknown scheme": (lambda _: "nonsense://x", "unsupported URI"),
    "no scheme": (lambda _: "localhost:5000", "unsupported URI"),
    "a wrong path": (lambda _: "sqlite:/x", "Could not parse"),
    "a folder of files": (lambda _: "file:///nowhere", "filesystem tracking backend"),
    "no driver": (lambda _: "postgresql://user:secret@127.0.0.1:9/x", "No module named"),
    "no server": (lambda _: "http://user:secret@127.0.0.1:9", "Connection refused"),
    "no name": (lambda _: "http://", "resolve|Name or service"),
}


def try_all(study: ResolvedStudy, run: Path, capsys) -> tuple[list[str], float]:
    """What a study does with a store: the lines on the standard error stream, and the seconds."""
    capsys.readouterr()
    start = time.monotonic()
    mirror.initialise(study)
    deliver_evaluation(run)
    deliver_training(run)
    return capsys.readouterr().err.splitlines(), time.monotonic() - start


@pytest.mark.parametrize("kind", BROKEN)
def test_a_store_that_cannot_be_opened_costs_one_warning_and_no_time(database, finished, monkeypatch, capsys, kind):
    break_store, reason = BROKEN[kind]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", break_store(database))
    said, seconds = try_all(finished, Path("results/smoke/synthvis/tiny/baseline/seed1"), capsys)
    assert len(said) == 3  # one of each command
    for line in said:
        assert re.match(
            rf"warning: MLflow at \S+: .*({reason}).*The study continues.*mlflow sync --study (study|smoke)", line
        )
        assert "secret" not in line
    assert seconds < 5


def test_a_locked_store_costs_one_warning_and_seconds(store, finished, monkeypatch, capsys):
    monkeypatch.setattr(mlflow_store, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect("mlruns/mlflow.db")) as other:
        other.execute("begin immediate")
        said, seconds = try_all(finished, Path("results/smoke/synthvis/tiny/baseline/seed1"), capsys)
    assert ["database is locked" in line for line in said] == [True] * 3
    assert seconds < 5


def test_a_server_that_does_not_answer_costs_one_warning_and_its_timeout(finished, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        deliver_evaluation(Path("results/smoke/synthvis/tiny/baseline/seed1"))
        assert time.monotonic() - start < 2
    assert capsys.readouterr().err.count("timed out") == 1


def test_a_file_system_without_locks_still_gets_its_runs(store, finished, tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unsupported)
    deliver_evaluation(tmp_path / "results/smoke/synthvis/tiny/baseline/seed1")
    assert [run.info.status for run in runs(store)] == ["FINISHED"]
    assert capsys.readouterr().err == ""


def test_a_report_is_one_run_with_its_files_and_its_figures_are_with_the_runs_that_they_show(store, finished, tmp_path):
    run = tmp_path / "results/smoke/synthvis/tiny/baseline/seed1"
    pretraining = Training(run.parents[1] / "pretrain/seed1", **RECORD | {"variant": "pretrain"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror, "open_store", lambda: 1 / 0)
        pretraining.run([1])
    assert mirror.deliver_report(finished, Path("table.pdf"))
    found = {run.info.run_name.split()[0]: artifacts(store, run) for run in runs(store, "smoke")}
    assert found["report"] == {"table.pdf", "table.csv", *FIGURES}
    assert {name for name in found["baseline"] if "figures" in name} == {"figures/ablation.png", "figures/queries.png"}
    assert not [name for name in found["pretrain"] if "figures" in name]
    assert {run.info.status for run in runs(store, "smoke")} == {"FINISHED"}


def test_figures_drawn_again_replace_those_before_and_keep_the_times_of_the_run(store, finished, tmp_path):
    mirror.deliver_report(finished, Path("table.pdf"))
    before = of_stage(store, "train", "smoke")
    Path("reports/smoke/figures/ablation.png").write_text("of another report")
    for _ in range(2):
        assert mirror.deliver_report(finished, Path("table.pdf"))
        after = of_stage(store, "train", "smoke")
        assert after.info.to_proto() == before.info.to_proto()
        assert artifacts(store, after) == artifacts(store, before)
        downloaded = store.download_artifacts(after.info.run_id, "figures/ablation.png", tmp_path / "got")
        assert Path(downloaded).read_text() == "of another report"


def test_a_report_without_a_store_is_one_warning_and_sync_sends_its_figures(store, finished, monkeypatch, capsys):
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        assert mirror.deliver_report(finished, Path("table.pdf")) is False
    assert capsys.readouterr().err.count("warning: MLflow") == 1
    sync(finished)
    assert "figures/ablation.png" in artifacts(store, of_stage(store, "train"))
    assert "figures/ablation.png" in artifacts(store, of_stage(store, "report"))


def test_without_a_report_of_the_study_its_delivery_is_a_warning(store, finished, capsys):
    shutil.rmtree("reports")
    assert mirror.deliver_report(finished, Path("table.pdf")) is False
    assert capsys.readouterr().err.count("warning: MLflow") == 1


@pytest.mark.long
@pytest.mark.parametrize("choice", [{}, {"MLFLOW_DISABLE_TELEMETRY": "false", "DO_NOT_TRACK": "true"}])
def test_mlflow_sends_no_usage_data_unless_the_user_wants_it(root, tmp_path, choice):
    code = """
import os, mssts.study.mlflow_mirror
from mlflow.telemetry import get_telemetry_client
print(get_telemetry_client(), os.environ["MLFLOW_DISABLE_TELEMETRY"])
"""
    ours = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(tmp_path)}  # neither CI nor pytest
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    run = subprocess.run([sys.executable, "-c", code], env=ours | nowhere | choice, capture_output=True, text=True)
    assert run.stdout.split() == ["None", choice.get("MLFLOW_DISABLE_TELEMETRY", "true")], run.stderr
    assert not list(tmp_path.rglob("*mlflow*"))


def test_ap_during_a_training_is_sent_for_the_steps_that_have_one(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 4, "loss": 2.0}\n')
    rows = [["4", "3", "0", NO_VALUE, NO_VALUE], ["8", "3", "5", "31.5", "40.0"]]
    write_csv(tmp_path / validation_file.FILE, pd.DataFrame(rows, columns=validation_file.COLUMNS))
    assert content.training_content(RECORD, tmp_path, 0.0, 1.0).metrics == {
        ("loss", 4): 2.0,
        ("validation/AP", 8): 0.315,
    }
