"""MLflow mirrors runs in a real store, and its absence costs a warning only."""

import pytest

from mssts.study import mlflow_mirror as tracking


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MSSTS_TRACKING", "on")
    tracking.initialise("study")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking.store_uri())


def runs(store):
    return store.search_runs([store.get_experiment_by_name("study").experiment_id])


def test_a_run_carries_tags_parameters_curves_and_artifacts(store, tmp_path):
    (tmp_path / "log.jsonl").write_text("{}\n")
    with tracking.tracked_run("study", "a run", {"variant": "ms_sts", "seed": 3}, {"train.steps": 40}) as run:
        for step in range(1, 31):
            run.log(step, {"loss": 1.0 / step})
        run.artifact(tmp_path / "log.jsonl")
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert found.data.tags["variant"] == "ms_sts" and found.data.tags["seed"] == "3"
    assert found.data.params == {"train.steps": "40"}
    curve = store.get_metric_history(found.info.run_id, "loss")
    assert {point.step: point.value for point in curve} == {step: 1.0 / step for step in range(1, 31)}
    assert [file.path for file in store.list_artifacts(found.info.run_id)] == ["log.jsonl"]


def test_a_run_that_raises_is_marked_failed(store):
    with pytest.raises(KeyError), tracking.tracked_run("study", "a run", {}, {}):
        raise KeyError
    assert [run.info.status for run in runs(store)] == ["FAILED"]


def test_initialising_twice_keeps_the_experiment(store):
    tracking.initialise("study")
    assert len([e for e in store.search_experiments() if e.name == "study"]) == 1


def test_a_dead_server_gives_one_warning_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSSTS_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with tracking.tracked_run("study", "a run", {}, {}) as run:
        for step in range(100):
            run.log(step, {"loss": 1.0})
    assert capsys.readouterr().err.count("warning: MLflow does not answer") == 1


def test_mlflow_switched_off_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSSTS_TRACKING", "off")
    tracking.initialise("study")
    with tracking.tracked_run("study", "a run", {}, {}) as run:
        run.log(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_an_unreachable_mlflow_store_does_not_stop_the_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSSTS_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    tracking.initialise("study")
    assert capsys.readouterr().err.count("warning: MLflow") == 1


def points(store, run, name="loss"):
    return sorted((point.step, point.value) for point in store.get_metric_history(run.info.run_id, name))


def test_a_run_whose_process_was_killed_is_continued_without_doubled_samples(store):
    tags = {"variant": "ms_sts", "seed": 3, "commit": "a"}
    killed = tracking.TrackedRun("study", "a run", tags, {"steps": 9})
    for step in range(1, 13):
        killed.log(step, {"loss": float(step)})
    with tracking.tracked_run("study", "a run", tags | {"commit": "a..b"}, {"steps": 9}) as run:
        for step in range(8, 31):
            run.log(step, {"loss": float(step)})
    (found,) = runs(store)
    assert found.info.status == "FINISHED"
    steps = [step for step, _ in points(store, found)]
    assert len(steps) == len(set(steps)) and set(steps) >= set(range(8, 31))


def test_a_run_of_another_seed_or_a_finished_run_is_not_continued(store):
    for tags in ({"seed": 1}, {"seed": 2}, {"seed": 1}):
        with tracking.tracked_run("study", "a run", tags, {}) as run:
            run.log(1, {"loss": 1.0})
    assert len(runs(store)) == 3


def test_what_a_server_missed_is_sent_at_the_end_after_one_warning(store, monkeypatch, capsys):
    home = tracking.store_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with tracking.tracked_run("study", "a run", {"seed": 1}, {}) as run:
        for step in range(1, 41):
            run.log(step, {"loss": float(step)})
        monkeypatch.setenv("MLFLOW_TRACKING_URI", home)
    assert run.complete
    (found,) = runs(store)
    assert points(store, found) == [(step, float(step)) for step in range(1, 41)]
    assert capsys.readouterr().err.count("warning") == 1
