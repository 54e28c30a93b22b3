"""Callbacks follow a training from start to end, and change nothing of it."""

from __future__ import annotations

import json
import random
import signal

import numpy as np
import pytest
import torch

from mssts.training.callbacks import Callback
from mssts.training.failures import Preempted
from tests.training.conftest import contents, signal_at_line


class Recorder(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps, self.records, self.ends = [], [], []

    def on_start(self, started) -> None:
        self.started = started

    def on_step(self, step, model, record) -> None:
        self.steps.append(step)
        self.records += [record] if record else []

    def on_end(self, error) -> None:
        self.ends.append(error)


class Careless(Callback):
    """Draws random numbers and leaves the model in evaluation mode, as an evaluation may."""

    def on_step(self, step, model, record) -> None:
        model.eval()
        torch.rand(3), np.random.rand(3), random.random()


def test_a_callback_sees_every_step_every_record_and_the_end(train, workplace):
    recorder = Recorder()
    run = train("run", recorder)
    assert recorder.steps == list(range(1, 13))
    assert recorder.records == [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert recorder.ends == [None]
    assert recorder.started.output == run
    assert recorder.started.record.items() <= json.loads((run / "run.json").read_text()).items()


def test_a_callback_that_draws_and_switches_the_mode_changes_no_byte(train, whole):
    assert contents(train("run", Careless())) == whole


def test_a_callback_is_told_of_a_stop_request_and_of_the_steps_after_it(train, whole, workplace):
    stopped, resumed = Recorder(), Recorder()
    sender = signal_at_line(workplace / "run/log.jsonl", 1, signal.SIGTERM)
    with pytest.raises(Preempted):
        train("run", stopped)
    sender.join()
    assert [type(error) for error in stopped.ends] == [Preempted]
    assert contents(train("run", resumed)) == whole
    assert [*stopped.steps, *resumed.steps] == list(range(1, 13))


def test_a_callback_is_told_of_an_error_even_of_its_own(train):
    class Failing(Recorder):
        def on_step(self, step, model, record) -> None:
            raise KeyError(step)

    failing, other = Failing(), Recorder()
    with pytest.raises(KeyError):
        train("run", failing, other)
    for recorder in (failing, other):
        assert [type(error) for error in recorder.ends] == [KeyError]
