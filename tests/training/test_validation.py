"""AP during a training: the same weights as without it, the same file after an interruption."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace

import pytest

from mssts.core.files import read_json
from mssts.data.datasets import split_annotations
from mssts.data.frames import evenly_spaced
from mssts.evaluation.evaluate import evaluate
from mssts.inference.predict import predict
from mssts.study.validation import Validation
from mssts.study.validation_file import FILE, read_validation
from mssts.training.failures import Preempted
from tests.training.conftest import contents, set_scale, signal_at_line, training

EVERY, VIDEOS = 4, 3


def callback(data, videos: int = VIDEOS, every: int | None = EVERY) -> Validation:
    run = training()
    execution = run.config.execution.model_copy(update={"validate_every": every, "validate_videos": videos})
    return Validation(replace(run, config=run.config.model_copy(update={"execution": execution})), data, "valid")


def without_ap(directory) -> dict[str, bytes]:
    """The other files of a run; the one with AP is removed."""
    (directory / FILE).unlink()
    return contents(directory)


def test_the_weights_are_those_of_a_training_without_it(train, data, whole):
    run = train("run", callback(data))
    found = read_validation(run / FILE)
    assert list(found["step"]) == ["4", "8", "12"] and set(found["videos"]) == {"3"}
    assert without_ap(run) == whole


def test_ap_of_all_videos_after_the_last_step_is_that_of_the_evaluation(train, data, tmp_path):
    run = train("run", callback(data, videos=1000))
    [last] = read_validation(run / FILE).to_dict("records")[-1:]
    predictions = tmp_path / "predicted/predictions.json"
    predict(training().config, run / "checkpoint.pt", data, "synthvis", "valid", predictions)
    metrics = evaluate(data / "valid.json", predictions, predictions.with_name("metrics.json"))
    assert float(last["AP"]) == pytest.approx(100 * metrics["overall"]["AP"], abs=1e-3)
    assert float(last["AP_agnostic"]) == pytest.approx(100 * metrics["class_agnostic"]["AP"], abs=1e-3)
    assert int(last["videos"]) == len(read_json(data / "valid.json")["videos"])


def test_a_resumed_training_has_the_same_file(train, data, workplace, whole):
    expected = (train("undisturbed", callback(data)) / FILE).read_bytes()
    sender = signal_at_line(workplace / "run/log.jsonl", 1, signal.SIGTERM)
    with pytest.raises(Preempted):
        train("run", callback(data))
    sender.join()
    path = workplace / "run" / FILE
    path.write_bytes(path.read_bytes() + b"12,3,9,99.0,99.0\n")  # a line of a step that is trained again
    run = train("run", callback(data))
    assert (run / FILE).read_bytes() == expected
    assert without_ap(run) == whole


def test_a_new_training_removes_the_file_of_an_old_one(train, data, workplace):
    (workplace / "run").mkdir()
    (workplace / "run" / FILE).write_text("of another run")
    assert not (train("run", callback(data, every=None)) / FILE).exists()


def test_the_videos_are_spread_over_the_split(data):
    videos = len(split_annotations("synthvis", data, "valid").videos)
    assert evenly_spaced(videos, 3) == [0, 4, 9]
    assert evenly_spaced(videos, 99) == list(range(10))


@pytest.mark.long
def test_two_processes_train_the_same_weights_with_it_as_without(command, environment, workplace):
    for name, validate in (("without", ""), ("with", f", validate_every: {EVERY}, validate_videos: {VIDEOS}")):
        set_scale(workplace, f"{{devices: 2{validate}}}")
        subprocess.run(command(name), env=environment, check=True)
    assert list(read_validation(workplace / "with" / FILE)["step"]) == ["4", "8", "12"]
    assert without_ap(workplace / "with") == contents(workplace / "without")
