"""Memory of a training step: the trace on the meta device against what a CPU allocates, and the choice of settings."""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from mssts.config import PRETRAIN, TRAIN, resolve
from mssts.study import memory
from mssts.study.memory import PeakMemory, TrainingStep, largest_sizes, settings_of_cards, training_bytes
from mssts.study.resolve import load_study
from mssts.training.record import TrainingRun

ALL = "ms_sts_temporal_fgbg"


def run_of(scale, backbone, variant, **execution) -> TrainingRun:
    config = resolve(scale, variant)
    model = config.model.model_copy(update={"deformable_sampling": "grid_sample"})  # as on the meta device
    config = config.model_copy(update={"execution": config.execution.model_copy(update=execution), "model": model})
    return TrainingRun(TRAIN, scale, "synthvis", backbone, variant, 1, 1, config)


def allocated_on_cpu(run, sizes) -> int:
    """Peak of the bytes that the CPU's allocator holds in two steps of a training, weights and optimizer included."""
    gc.collect()  # what tests before have left would be freed meanwhile, and lower the peak
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step = TrainingStep(run, sizes, memory.OBJECTS[run.stage], "cpu")
        for _ in range(2):
            step()
            step.optimizer.step()
            step.optimizer.zero_grad(set_to_none=False)
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("variant", ["baseline", ALL])
def test_the_trace_is_within_a_tenth_of_what_a_cpu_allocates(variant, recompute):
    run = run_of("embedded", "tiny", variant, checkpoint_encoder=recompute)
    allocated = allocated_on_cpu(run, largest_sizes(run.config, TRAIN, 2))
    assert training_bytes(run) == pytest.approx(allocated, rel=0.1)


def test_storages_that_die_are_no_longer_counted():
    with PeakMemory([held := torch.ones(10, device="meta")]) as traced:
        first = held + 1
        view = first[:5]
        del first
        assert traced.now == 40
        del view
        held.add_(1)
        assert (traced.now, traced.peak) == (0, 40)


def test_the_largest_batch_of_one_clip_lies_and_that_of_two_is_square():
    config = resolve("paper-2019")
    padded = {}
    for stage, clips in ((TRAIN, 1), (TRAIN, 2), (PRETRAIN, 1)):
        run = replace(run_of("paper-2019", "tiny", "baseline"), stage=stage)
        padded[stage, clips] = tuple(TrainingStep(run, largest_sizes(config, stage, clips), 2).batch.frames_BT3HW.shape)
    assert padded[TRAIN, 1] == (1, 5, 3, 512, 768)
    assert padded[TRAIN, 2] == (2, 5, 3, 768, 768)
    assert padded[PRETRAIN, 1] == (1, 1, 3, 768, 1344)


def test_several_devices_hold_the_gradients_twice():
    one, two = (run_of("smoke", "tiny", "baseline", devices=devices, clips_per_device=1) for devices in (1, 2))
    trained = sum(gradient.nbytes for gradient in TrainingStep(one, [(64, 96)], 2).gradients())
    # The first trace also makes what later ones find in caches.
    assert training_bytes(two) - training_bytes(one) == pytest.approx(trained, rel=0.05)


def test_a_card_gets_the_fastest_settings_that_fit(monkeypatch):
    runs = [run_of("smoke", "tiny", variant) for variant in ("baseline", ALL)]

    def needed(clips, recompute):
        setting = {"clips_per_device": clips, "checkpoint_encoder": recompute, "checkpoint_backbone": False}
        return setting, max(training_bytes(run_of("smoke", "tiny", run.variant, **setting)) for run in runs) / 1e9

    order = [needed(None, False), needed(1, False), needed(1, True)]
    sizes = [size for _, size in order]
    assert sizes == sorted(sizes, reverse=True)
    monkeypatch.setattr(memory, "CONTEXT_GB", 0.0)
    monkeypatch.setattr(
        memory, "CARDS", [memory.FRAGMENTATION * size * factor for size in sizes for factor in (1.001, 0.999)]
    )
    chosen = [setting for setting, _ in order]
    assert [*settings_of_cards(runs).values()] == [chosen[0], chosen[1], chosen[1], chosen[2], chosen[2], None]


@pytest.mark.long
@pytest.mark.parametrize(
    ("backbone", "variant", "gigabytes"),
    [("resnet50", "baseline", 11.7), ("resnet50", ALL, 14.6), ("swin_l", "baseline", 27.0), ("swin_l", ALL, 29.9)],
)
def test_the_paper_models_need_what_was_traced_before(backbone, variant, gigabytes):
    run = load_study("paper-2019").training("ytvis2019", backbone, variant, 1)
    execution = run.config.execution.model_copy(update={"checkpoint_encoder": False})
    run = replace(run, config=run.config.model_copy(update={"execution": execution}))
    step = TrainingStep(run, [(480, 768)], 10)
    with PeakMemory(step.held()) as traced:
        step()
    assert traced.peak / 1e9 == pytest.approx(gigabytes, rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("variant", ["baseline", ALL])
def test_the_trace_of_a_full_size_model_is_within_a_tenth_of_what_a_cpu_allocates(variant):
    run = run_of("paper-2019", "resnet50", variant, devices=1)
    step = TrainingStep(run, [(96, 128)], memory.OBJECTS[TRAIN])
    with PeakMemory(step.held()) as traced:
        step()
    held = sum(tensor.nbytes for tensor in [*step.held(), *step.gradients() * 2])
    assert traced.peak + held == pytest.approx(allocated_on_cpu(run, [(96, 128)]), rel=0.1)


@pytest.mark.parametrize("backbone", ["resnet50", pytest.param("swin_l", marks=pytest.mark.long)])
def test_recomputing_the_backbone_changes_no_gradient_and_needs_less(backbone):
    gradients, traced = [], []
    for recompute in (False, True):
        run = run_of("smoke", backbone, "baseline", checkpoint_backbone=recompute)
        step = TrainingStep(run, [(64, 96)], 3, "cpu")
        torch.manual_seed(0)  # the stochastic depth of Swin draws globally
        step.batch.frames_BT3HW.normal_()
        step()
        gradients.append(torch.cat(step.gradients()))
        traced.append(training_bytes(run))
    assert torch.equal(*gradients) and gradients[0].any()
    assert traced[1] < traced[0]
