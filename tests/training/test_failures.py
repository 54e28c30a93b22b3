"""What a training says, and how it exits, when it cannot go on."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.errors import InputError
from mssts.data.clips import ClipLoader
from mssts.training import failures
from mssts.training import run as stage
from mssts.training.callbacks import Callback
from mssts.training.failures import DeadWorker, NonFinite, NoSpace, OutOfMemory, TrainingProgress, reraise_with_advice
from tests.training.conftest import contents, set_scale, training


def test_exit_codes_are_distinct():
    kinds = (failures.NonFinite, OutOfMemory, NoSpace, DeadWorker, failures.Preempted)
    assert len({2, 130, *(kind.exit_code for kind in kinds)}) == 7


def test_a_loss_that_is_not_finite_is_reported_with_step_videos_and_remedy(train, workplace):
    scale = workplace / "ablations/scales/smoke.yaml"
    text = scale.read_text().replace("learning_rate: 1.0e-3,", "learning_rate: 10.0,")
    scale.write_text(text.replace("learning_rate: 1.0e-3,", "gradient_clip_norm: 1.0e+9,", 1))
    with pytest.raises(NonFinite) as caught:
        train("run")
    for part in ("step ", "not finite on videos [", "Lower the learning rate"):
        assert part in str(caught.value)
    assert not (workplace / "run/checkpoint.pt").exists()


class PoisonMasks(Callback):
    """After some steps, the weights of the mask head are NaN: class logits and boxes stay finite."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self, step, model, record):
        if step == self.steps:
            torch.nn.init.constant_(model.mask_parameter_head.layers[-1].weight, torch.nan)


@pytest.mark.parametrize(
    ("step", "checkpoint_every", "steps"),
    [(3, 2, 12), (5, 500, 12), (10, 500, 11), (10, 500, 12)],
    ids=["checkpoint due", "line due", "last step", "nothing due"],
)
def test_a_loss_that_is_not_finite_is_neither_logged_nor_saved(train, workplace, step, checkpoint_every, steps):
    """A line is due after the steps 3, 6, 9 and 12."""
    set_scale(workplace, f"{{checkpoint_every: {checkpoint_every}}}", steps)
    with pytest.raises(NonFinite, match=rf"step {step}: loss, loss_mask, loss_dice.* not finite on videos \["):
        train("run", PoisonMasks(step))
    logged = [json.loads(line)["step"] for line in (workplace / "run/log.jsonl").read_text().splitlines()]
    assert logged == [due for due in (3, 6, 9) if due <= step]
    resume = workplace / "run/resume.pt"
    assert resume.exists() == (checkpoint_every == 2)
    if resume.exists():
        state = torch.load(io.BytesIO(resume.read_bytes().split(b"\n", 1)[1]), weights_only=True)
        assert state["step"] == 2 and all(weight.isfinite().all() for weight in state["trainer"]["model"].values())
    assert not (workplace / "run/checkpoint.pt").exists()


def test_a_gradient_that_is_not_finite_is_named_with_its_step(train):
    def poison(_module, _inputs, output):
        output.register_hook(lambda gradient: gradient * torch.nan)

    class PoisonGradient(Callback):
        def on_step(self, step, model, record):
            if step == 5:
                model.mask_features.register_forward_hook(poison)

    with pytest.raises(NonFinite, match=r"step 5: gradients not finite on videos \["):
        train("run", PoisonGradient())


@pytest.mark.long
def test_the_command_exits_with_the_code_of_the_failure(command, environment, pretrained, workplace):
    content = load_checkpoint(pretrained)  # finite weights whose products are not
    content["model"] = {k: torch.full_like(v, 1e30) if v.ndim > 1 else v for k, v in content["model"].items()}
    save_checkpoint(workplace / "bad.pt", content)
    line = [str(workplace / "bad.pt") if part == str(pretrained) else part for part in command("run")]
    run = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert run.returncode == NonFinite.exit_code, run.stderr
    assert "Traceback" not in run.stderr
    assert "seed1: step 0: class logits, boxes not finite on videos [" in run.stderr
    assert "no resume checkpoint had been written yet" in run.stderr


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_an_out_of_memory_error_is_reported_with_what_to_lower(error):
    told = r"run: step 7: out of memory.*execution\.clips_per_device"
    with pytest.raises(OutOfMemory, match=told), reraise_with_advice(TrainingProgress("run", Path("there"), step=7)):
        raise error


def test_memory_that_really_runs_out_is_recognised():
    with pytest.raises(OutOfMemory), reraise_with_advice(TrainingProgress("run", Path("there"))):
        torch.empty(2**58)


def test_other_errors_of_the_program_keep_their_stack_trace():
    with pytest.raises(RuntimeError, match=r"^a bug$"), reraise_with_advice(TrainingProgress("run", Path("there"))):
        raise RuntimeError("a bug")


def test_a_log_that_does_not_fit_the_disk_is_reported_with_its_directory(train, file_size_limit):
    with file_size_limit(100), pytest.raises(NoSpace, match=r"no space left to write in .*run"):
        train("run")


def test_the_final_checkpoint_that_does_not_fit_is_written_by_the_next_try(train, whole, workplace, file_size_limit):
    set_scale(workplace, "{checkpoint_every: 500}")
    with file_size_limit(60_000), pytest.raises(NoSpace):
        train("run")
    assert not (workplace / "run/checkpoint.pt").exists()
    assert contents(train("run")) == whole


def test_a_directory_that_cannot_be_written_is_named(train, workplace):
    (workplace / "run").write_text("a file where the directory should be")
    with pytest.raises(InputError, match=r"run/checkpoint\.pt: cannot be written \(Not a directory\)"):
        train("run")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_frame_is_named_with_its_step(whole, workplace, data, pretrained, workers):
    broken = shutil.copytree(data, workplace / "broken")
    set_scale(workplace, f"{{checkpoint_every: 1, workers: {workers}}}")
    name = json.loads((data / "train.json").read_text())["videos"][5]["file_names"][1]
    frame = broken / "train/JPEGImages" / name
    content = frame.read_bytes()
    frame.write_bytes(content[: len(content) // 2])
    arguments = (training(), broken, workplace / "run", pretrained)
    with pytest.raises(InputError) as caught:
        stage.train(*arguments)
    assert name in str(caught.value) and "training step" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    frame.write_bytes(content)
    stage.train(*arguments)
    assert contents(workplace / "run") == whole


class SlowClips:
    """Takes its time, so that the worker can be killed in the middle."""

    def __len__(self) -> int:
        return 4

    def clip(self, index, rng):
        time.sleep(30)


def test_a_worker_that_dies_is_reported_as_such():
    import threading

    import psutil

    others = set(psutil.Process().children())

    def kill() -> None:
        while not (workers := set(psutil.Process().children()) - others):
            time.sleep(0.02)
        time.sleep(0.2)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    told = r"a data-loader worker process died.*execution\.workers"
    with pytest.raises(DeadWorker, match=told), reraise_with_advice(TrainingProgress("run", Path("there"))):
        next(iter(ClipLoader(SlowClips(), 1, 4, 0, 32, workers=1)))
