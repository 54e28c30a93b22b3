"""A step is the same however its clips are spread over processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from mssts.config import ExecutionSection, resolve
from mssts.core.errors import InputError
from mssts.data.clips import ClipDataset, ClipLoader
from mssts.data.datasets import split_annotations
from mssts.training.micro_batches import MicroBatches, micro_batch_seed
from tests.training.conftest import ROOT


@pytest.fixture
def spread(data, environment, tmp_path):
    """A function that runs steps on some processes: their losses and sums of weights."""

    def run(devices: int, precision: str, steps: int, recompute: bool = False) -> dict:
        output = tmp_path / f"{devices}-{precision}-{recompute}.json"
        arguments = [str(devices), precision, str(steps), str(int(recompute)), str(data), str(output)]
        program = [sys.executable, str(ROOT / "tests/training/spread_steps.py"), *arguments]
        done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(output.read_text())

    return run


@pytest.mark.long
def test_two_processes_give_the_losses_and_weights_of_one_with_twice_the_accumulation(spread):
    one, two = spread(1, "64-true", 20), spread(2, "64-true", 20)
    assert len(one["losses"]) == 20 and {"loss_adversary", "loss_discriminator"} < one["losses"][0].keys()
    for step, (alone, together) in enumerate(zip(one["losses"], two["losses"], strict=True)):
        assert together == pytest.approx(alone, rel=1e-9, abs=1e-9), step
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-9, abs=1e-9)
    assert one["losses"][0]["loss"] != pytest.approx(one["losses"][19]["loss"], rel=1e-3)
    assert (one["reductions"], two["reductions"]) == (0, 20)  # once in a step of two micro-batches


@pytest.mark.long
def test_two_processes_agree_with_one_in_single_precision_at_the_first_step(spread):
    (alone,), (together,) = spread(1, "32-true", 1)["losses"], spread(2, "32-true", 1)["losses"]
    assert together == pytest.approx(alone, rel=1e-5)


@pytest.mark.long
def test_activation_checkpointing_of_the_encoder_changes_no_number(spread):
    again, kept = spread(1, "64-true", 3, recompute=True), spread(1, "64-true", 3)
    assert again["weights"] == pytest.approx(kept["weights"], rel=1e-12, abs=1e-12)
    for once_more, once in zip(again["losses"], kept["losses"], strict=True):
        assert once_more == pytest.approx(once, rel=1e-12)


def test_all_devices_together_see_each_clip_once(data):
    annotations = split_annotations("synthvis", data, "train")
    clips = ClipDataset(annotations, 3, resolve("smoke").data, with_foreign_foreground=True)
    whole = list(ClipLoader(clips, 4, 3, 7, 32))
    execution = ExecutionSection(devices=2, clips_per_device=1)
    seen = {}
    for rank in range(2):
        micro_batches = MicroBatches.split(4, execution, rank)
        loader = iter(ClipLoader(clips, 4, 3, 7, 32, micro_batch_clips=1, firsts=micro_batches.own))
        seen |= {(step, first): next(loader) for step in range(3) for first in micro_batches.own}
        assert next(loader, None) is None
    assert sorted(seen) == [(step, first) for step in range(3) for first in range(4)]
    for (step, first), part in seen.items():
        height, width = part.sizes[0]  # a part is padded less than the whole batch may be
        frames = part.frames_BT3HW[0, ..., :height, :width]
        assert torch.equal(frames, whole[step].frames_BT3HW[first, ..., :height, :width])
        assert torch.equal(part.instances[0].masks_NTHW, whole[step].instances[first].masks_NTHW)
        assert torch.equal(part.foreign_foregrounds_THW[0], whole[step].foreign_foregrounds_THW[first])


def test_every_seed_step_and_clip_has_its_own_dropout_seed():
    seeds = {micro_batch_seed(seed, step, first) for seed in (1, 2) for step in range(50) for first in range(4)}
    assert len(seeds) == 400
    assert micro_batch_seed(1, 3, 2) == micro_batch_seed(1, 3, 2)


@pytest.mark.parametrize("execution", [{"devices": 3}, {"clips_per_device": 3}, {"devices": 8}])
def test_a_batch_that_does_not_divide_is_refused(execution):
    with pytest.raises(InputError, match=r"found batch_clips 4 on .* devices"):
        MicroBatches.split(4, ExecutionSection(**execution))
