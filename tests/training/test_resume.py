"""A training that is interrupted, however, ends with the bytes of one that was not."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
import torch

from mssts.config import resolve
from mssts.core.files import read_record
from mssts.evaluation.evaluate import evaluate
from mssts.inference.predict import predict
from mssts.training.failures import NoSpace, Preempted
from tests.training.conftest import contents, set_scale, signal_at_line, wait_for_lines

FUTURE = time.time() + 10 * 365 * 86400


def interrupted(train, workplace, name: str, lines: int, number=signal.SIGTERM) -> None:
    """Train until a signal stops it after so many lines of the log."""
    sender = signal_at_line(workplace / name / "log.jsonl", lines, number)
    with pytest.raises(Preempted) as caught:
        train(name)
    sender.join()
    assert caught.value.exit_code == 75
    assert "the same command again" in str(caught.value).lower()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_stopped_by_a_signal_goes_on_to_the_same_bytes(train, whole, workplace, number, capsys):
    handler = signal.getsignal(number)
    interrupted(train, workplace, "stopped", 1, number)
    assert signal.getsignal(number) == handler
    (workplace / "stopped/log.jsonl").unlink()  # the workflow removes the outputs of a job that it starts again
    capsys.readouterr()
    assert contents(train("stopped")) == whole
    continued = capsys.readouterr().err
    assert "warning" not in continued and "| 0/12" not in continued


@pytest.mark.long
def test_a_training_killed_outright_goes_on_to_the_same_bytes(train, whole, start, workplace):
    process = start("killed")
    wait_for_lines(process, workplace / "killed/log.jsonl", 2)
    process.kill()
    process.wait()
    with (workplace / "killed/log.jsonl").open("a") as log:
        log.write('{"step": 999')  # half a line, as a power cut leaves it
    assert contents(train("killed")) == whole


@pytest.mark.long
def test_ten_kills_at_random_moments_change_no_byte_of_the_results(train, start, workplace, data):
    set_scale(workplace, "{checkpoint_every: 3}", steps=60)
    whole = contents(train("whole"))
    moments = random.Random(5)
    for kill in range(10):
        process = start("killed")
        wait_for_lines(process, workplace / "killed/log.jsonl", kill + moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.3))
        assert process.poll() is None, f"ended before kill {kill}"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert contents(train("killed")) == whole
    assert measured(workplace / "killed", data) == measured(workplace / "whole", data)


def measured(run, data) -> list[bytes]:
    """Predictions and metrics of a run's final checkpoint."""
    predictions, metrics = run / "valid/predictions.json", run / "valid/metrics.json"
    predict(resolve("smoke"), run / "checkpoint.pt", data, "synthvis", "valid", predictions)
    evaluate(data / "valid.json", predictions, metrics, split="valid")
    return [path.read_bytes() for path in (predictions, metrics)]


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_saves_itself_when_its_workers_are_signalled_as_well(train, whole, start, workplace, number):
    set_scale(workplace, "{checkpoint_every: 500, workers: 2}")
    process = start("stopped", start_new_session=True)
    wait_for_lines(process, workplace / "stopped/log.jsonl", 1)
    os.killpg(process.pid, number)
    assert process.wait(timeout=300) == 75, process.stderr.read()
    assert contents(train("stopped")) == whole


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, lambda content: b""], ids=["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_used(train, whole, workplace, capsys, damage):
    interrupted(train, workplace, "run", 2)
    newest, previous = workplace / "run/resume.pt", workplace / "run/resume-previous.pt"
    assert previous.exists()
    newest.write_bytes(damage(newest.read_bytes()))
    assert contents(train("run")) == whole
    said = capsys.readouterr().err
    assert "run/resume.pt: damaged" in said


@pytest.mark.long
def test_a_training_whose_checkpoints_are_all_damaged_starts_anew(train, whole, workplace, capsys):
    interrupted(train, workplace, "run", 2)
    for path in (workplace / "run").glob("resume*.pt"):
        path.write_bytes(b"nothing of use")
    assert contents(train("run")) == whole
    assert capsys.readouterr().err.count(": damaged:") == 2


@pytest.mark.long
def test_a_checkpoint_of_another_configuration_is_not_used(train, workplace, capsys):
    interrupted(train, workplace, "run", 2)
    scale = workplace / "ablations/scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("learning_rate: 1.0e-3,", "learning_rate: 1.1e-3,"))
    assert contents(train("run")) == contents(train("fresh"))
    assert "belongs to another configuration" in capsys.readouterr().err


def test_a_training_resumes_to_the_same_bytes_under_other_execution_settings(train, whole, workplace):
    interrupted(train, workplace, "run", 1)
    set_scale(workplace, "{checkpoint_every: 500, workers: 1, checkpoint_encoder: true}")
    assert contents(train("run")) == whole


def test_a_training_resumed_in_another_environment_records_both(train, workplace, monkeypatch, capsys):
    interrupted(train, workplace, "moved", 1)
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    record = read_record(train("moved") / "run.json")
    first, second = record["environments"]
    assert second == first | {"torch": "9.9.9"} and first["torch"] != "9.9.9"
    assert f"another environment: torch {first['torch']} -> 9.9.9" in capsys.readouterr().err


def test_files_dated_in_the_future_do_no_harm(train, whole, workplace):
    interrupted(train, workplace, "run", 2)
    for path in [workplace / "run", *(workplace / "run").iterdir()]:
        os.utime(path, (FUTURE, FUTURE))
    assert contents(train("run")) == whole


def test_a_checkpoint_that_does_not_fit_the_disk_keeps_the_last_good_one(train, whole, workplace, file_size_limit):
    interrupted(train, workplace, "run", 1)
    before = (workplace / "run/resume.pt").read_bytes()
    with file_size_limit(len(before) // 2), pytest.raises(NoSpace, match=r"no space left.*last resume checkpoint"):
        train("run")
    assert (workplace / "run/resume.pt").read_bytes() == before
    assert contents(train("run")) == whole
