"""MLflow mirrors runs in a real store, and its absence costs a warning only."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mssts import cli
from mssts.core.errors import InputError
from mssts.core.files import write_json
from mssts.study import mlflow_mirror as mirror
from mssts.study.resolve import load_study
from mssts.training.callbacks import StartedRun, observed
from mssts.training.failures import Preempted

KEYS = ("variant", "backbone", "dataset", "scale", "commit", "data_fingerprint", "config_digest")
RECORD = {key: key for key in KEYS} | {"seed": 3, "pretrain_seed": 2, "steps": 40, "config": {"train": {"steps": 40}}}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mirror.initialise("study")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=mirror.store_uri())


@pytest.fixture
def no_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)


def runs(store):
    return store.search_runs([store.get_experiment_by_name("study").experiment_id])


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
            write_json(self.directory / "run.json", self.record)


def test_a_run_carries_tags_parameters_curves_and_artifacts(store, tmp_path):
    Training(tmp_path / "run", variant="ms_sts").run(range(1, 31))
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert found.data.tags["variant"] == "ms_sts" and found.data.tags["seed"] == "3"
    assert found.data.params == {"train.steps": "40"}
    assert points(store, found) == [(step, 1.0 / step) for step in range(1, 31)]
    assert [file.path for file in store.list_artifacts(found.info.run_id)] == ["log.jsonl", "run.json"]


@pytest.mark.parametrize(("error", "status"), [(KeyError(), "FAILED"), (Preempted(), "KILLED")])
def test_a_run_that_ends_early_is_marked_as_failed_or_killed_with_its_curve(store, tmp_path, error, status):
    with pytest.raises(type(error)):
        Training(tmp_path / "run").run(range(1, 4), error)
    (found,) = runs(store)
    assert found.info.status == status
    assert len(points(store, found)) == 3


def test_initialising_twice_keeps_the_experiment(store):
    mirror.initialise("study")
    assert len([e for e in store.search_experiments() if e.name == "study"]) == 1


def test_a_dead_server_gives_one_warning_and_the_run_goes_on(no_server, tmp_path, capsys):
    Training(tmp_path / "run").run(range(1, 101))
    assert capsys.readouterr().err.count("warning: MLflow does not respond") == 1


def test_mlflow_switched_off_writes_nothing(root, tmp_path, monkeypatch):
    (tmp_path / "ablations").symlink_to(root / "ablations")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSSTS_MLFLOW", "off")
    cli.mlflow_init("smoke")
    assert cli._callbacks("smoke") == []
    assert [path.name for path in tmp_path.iterdir()] == ["ablations"]


def test_an_unreachable_mlflow_store_does_not_stop_the_study(no_server, capsys):
    mirror.initialise("study")
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
    home = mirror.store_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    training = Training(tmp_path / "run")
    with observed([training.mirror], training.started):
        training.steps(range(1, 41))
        write_json(tmp_path / "run/run.json", training.record)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", home)
    (found,) = runs(store)
    assert points(store, found) == [(step, 1.0 / step) for step in range(1, 41)]
    assert capsys.readouterr().err.count("warning") == 1


def test_a_server_that_fails_is_asked_again_after_a_minute_then_two(store, tmp_path, monkeypatch):
    now = 1000.0
    tries = []
    monkeypatch.setattr(mirror.time, "monotonic", lambda: now)
    monkeypatch.setattr(mirror, "_client", lambda: tries.append(now) or 1 / 0)
    training = Training(tmp_path / "run")
    training.mirror.on_start(training.started)
    for _ in range(200):
        now += 1
        training.steps(range(1, 11))
    assert tries == [1000.0, 1060.0, 1180.0]


@pytest.fixture
def finished(root, store, tmp_path, monkeypatch):
    """A finished training and its evaluation, as files."""
    run = tmp_path / "results/smoke/synthvis/tiny/baseline/seed3"
    names = {"scale": "smoke", "dataset": "synthvis", "backbone": "tiny", "variant": "baseline"}
    monkeypatch.setattr(mirror, "_client", lambda: 1 / 0)
    Training(run, **names).run(range(1, 21))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    metrics = {
        "produced_by": {"split": "valid"},
        "overall": {"AP": 0.5, "AR1": None},
        "class_agnostic": {"AP": 0.6},
        "attributes": {"heavy": {"AP": 0.25}},
    }
    write_json(run / "valid/metrics.json", metrics)
    write_json(run / "valid/predictions.json", [])
    return load_study("smoke", root / "ablations").spec


def evaluated(store):
    (run,) = [run for run in runs(store) if run.data.tags["stage"] == "evaluate"]
    return run


def test_sync_sends_what_is_missing_once(store, finished):
    for _ in range(2):
        assert mirror.sync("study", finished) == (2, 2)
        assert len(runs(store)) == 2
        (trained,) = [run for run in runs(store) if run.data.tags["stage"] == "train"]
        assert points(store, trained) == [(step, 1.0 / step) for step in range(1, 21)]
        measured = evaluated(store)
        assert points(store, measured, "AP") == [(40, 0.5)]
        assert measured.data.metrics == {"AP": 0.5, "AP_agnostic": 0.6, "heavy/AP": 0.25}
        assert {file.path for file in store.list_artifacts(measured.info.run_id)} == {
            "metrics.json",
            "predictions.json",
        }
        assert {run.info.status for run in runs(store)} == {"FINISHED"}


def test_sync_changes_nothing_of_an_evaluation_that_arrived(store, finished, tmp_path):
    run = tmp_path / "results/smoke/synthvis/tiny/baseline/seed3"
    record = json.loads((run / "run.json").read_text())
    assert mirror.deliver_evaluation("study", record, run / "valid/metrics.json", run / "valid/predictions.json")
    before = evaluated(store)
    mirror.sync("study", finished)
    assert evaluated(store).info.end_time == before.info.end_time


def test_sync_without_a_server_is_an_error(finished, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    with pytest.raises(InputError, match="does not respond"):
        mirror.sync("study", finished)


def test_a_report_is_one_run_with_its_files(store, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n")
    assert mirror.deliver_report("study", [tmp_path / "table.csv"])
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert [file.path for file in store.list_artifacts(found.info.run_id)] == ["table.csv"]
