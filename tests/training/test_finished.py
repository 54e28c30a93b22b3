"""A finished run is never replaced unless asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mssts.core.errors import InputError
from mssts.core.files import read_record, write_record
from mssts.training import run as stage
from mssts.training.record import TrainingRun
from tests.training.conftest import RUN_FILES, VARIANT, contents, pretraining, training
from tests.training.test_resume import interrupted


@pytest.fixture
def finished(pretrained, tmp_path) -> Path:
    """Directory of a finished pre-training."""
    return shutil.copytree(pretrained.parent, tmp_path / "finished")


def state(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.iterdir()}


def test_a_finished_run_is_left_as_it_is_and_said_to_be_finished(data, finished, capsys):
    before = state(finished)
    stage.train(pretraining(), data, finished)
    assert state(finished) == before
    assert f"{finished}: this run is finished, nothing to do. The option --again" in capsys.readouterr().out


def test_the_option_trains_a_finished_run_once_more(data, finished):
    results = {path: (time, content) for path, (time, content) in state(finished).items() if path in RUN_FILES}
    stage.train(pretraining(), data, finished, again=True)
    for name, (time, content) in state(finished).items():
        if name in RUN_FILES:
            assert time > results[name][0] and content == results[name][1], name


def other_seed(data: Path, tmp_path: Path) -> tuple[TrainingRun, Path]:
    return pretraining(seed=2), data


def other_configuration(data: Path, tmp_path: Path) -> tuple[TrainingRun, Path]:
    run = pretraining()
    section = run.config.pretrain.model_copy(update={"learning_rate": 1.0e-5})
    return replace(run, config=run.config.model_copy(update={"pretrain": section})), data


def other_data(data: Path, tmp_path: Path) -> tuple[TrainingRun, Path]:
    copy = shutil.copytree(data, tmp_path / "other")
    path = copy / "fingerprint.json"
    write_record(path, read_record(path) | {"fingerprint": "another"})
    return pretraining(), copy


@pytest.mark.parametrize(
    ("other", "key"),
    [(other_seed, "seed 1, not 2"), (other_configuration, "config_digest"), (other_data, "data_fingerprint")],
)
def test_the_finished_run_of_something_else_is_never_overwritten(data, finished, tmp_path, other, key):
    before = state(finished)
    with pytest.raises(InputError, match=f"finished: holds the finished run of another .*{key}.*--again"):
        stage.train(*other(data, tmp_path), finished)
    assert state(finished) == before


def test_the_finished_run_of_another_start_is_never_overwritten(data, pretrained, whole, train, tmp_path):
    output = train("run")
    other = shutil.copy(pretrained, tmp_path / "other.pt")
    with other.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match="another configuration, dataset or start: initial_checkpoint_sha256"):
        stage.train(training(VARIANT), data, output, other)
    assert contents(output) == whole


def test_a_finished_run_whose_checkpoint_is_damaged_is_named(data, finished):
    content = bytearray((finished / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (finished / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt: was changed after its digest was recorded.*--again"):
        stage.train(pretraining(), data, finished)


@pytest.mark.parametrize("lost", ["run.json", "cost.json", "log.jsonl"])
def test_a_checkpoint_that_no_complete_run_describes_is_never_overwritten(data, finished, lost):
    (finished / lost).unlink()
    before = (finished / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt: exists, but .*--again"):
        stage.train(pretraining(), data, finished)
    assert (finished / "checkpoint.pt").read_bytes() == before


def test_a_run_killed_while_it_wrote_its_results_is_completed(train, whole, workplace):
    interrupted(train, workplace, "run", 2)
    (workplace / "run/checkpoint.pt").write_bytes(whole["checkpoint.pt"])  # the first of the results
    assert contents(train("run")) == whole
