"""In training, the host waits for the device once in a micro-batch, and for each line of the log and checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from mssts.config import Config, resolve
from mssts.core.distributed import start_fabric
from mssts.models import build_model
from mssts.training.deferred import DeferredReads
from mssts.training.failures import TrainingProgress
from mssts.training.log import TrainingLog
from mssts.training.record import TrainingRun
from mssts.training.resume import StopRequest
from mssts.training.trainer import Generators, Trainer
from tests.losses.stand_in import random_batch
from tests.training.emulated_device import DEVICE, EmulatedDevice, emulated_fabric

torch.set_num_threads(1)
CLASSES, STEPS, LOG_EVERY, SAVE_EVERY, MICRO_BATCHES = 4, 4, 2, 3, 2
VARIANT = "ms_sts_temporal_fgbg"


@pytest.fixture(scope="module")
def device():
    """The emulated device, not active; the fused optimizer believes that it has a kernel there."""
    with pytest.MonkeyPatch.context() as patch:
        module = sys.modules[torch.optim.Optimizer.__module__]
        patch.setattr(module, "_get_fused_kernels_supported_devices", lambda: ["cpu", DEVICE.type])
        torch.__future__.set_swap_module_params_on_conversion(True)  # an optimizer keeps the parameters that it knows
        yield EmulatedDevice()
        torch.__future__.set_swap_module_params_on_conversion(False)


def trainer_on(fabric: Fabric) -> Trainer:
    """Trainer of a small model with every loss, which has two micro-batches in a step."""
    tree = resolve("smoke", VARIANT).model_dump(by_alias=True)
    tree["train"] |= {"steps": STEPS, "log_every": LOG_EVERY, "batch_clips": 2 * MICRO_BATCHES}
    tree["execution"] |= {"clips_per_device": 2, "checkpoint_every": SAVE_EVERY}
    tree["loss"]["foreground_background"]["min_score"] = 0.0
    tree["model"]["deformable_sampling"] = "grid_sample"  # of the emulated device; first locations lie where it jumps
    config = Config.model_validate(tree)
    generators = Generators.from_seed("train", 1)
    model = build_model(config.model, "tiny", CLASSES, generators.model)
    run = TrainingRun("train", "smoke", "synthvis", "tiny", VARIANT, 1, 1, config)
    return Trainer(fabric, model, run, generators, TrainingProgress("run", Path()))


def fit(trainer: Trainer, log: Path) -> tuple[str, list[int]]:
    """The log of a whole training, and the steps at which it was saved."""
    batches = [random_batch(torch.Generator().manual_seed(seed)) for seed in range(STEPS * MICRO_BATCHES)]
    saved: list[int] = []
    trainer.fit(iter(batches), 0, TrainingLog(log, LOG_EVERY, None), (), saved.append, StopRequest())
    return log.read_text(), saved


@pytest.fixture(scope="module")
def emulated(device, tmp_path_factory):
    """Log of a training on the emulated device, steps at which it was saved, copies to the host, waits in between."""
    with device:
        trainer = trainer_on(emulated_fabric())
        device.to_host.clear()
        device.waits.clear()
        result = fit(trainer, tmp_path_factory.mktemp("emulated") / "log.jsonl")
    return *result, device.to_host.copy(), device.waits.copy()


def test_the_host_waits_once_in_a_micro_batch_and_for_each_line_and_checkpoint(emulated):
    log, saved, to_host, waits = emulated
    assert (log.count("\n"), saved) == (2, [3])
    assert to_host.total() == STEPS * MICRO_BATCHES + 2 + 1, to_host
    assert waits.total() == STEPS * MICRO_BATCHES, waits  # for the matches, right after the host waited for their costs


def test_the_emulated_device_trains_like_a_cpu(emulated, tmp_path):
    with start_fabric("cpu", "32-true") as fabric:
        log, _ = fit(trainer_on(fabric), tmp_path / "log.jsonl")
    assert list(map(json.loads, emulated[0].splitlines())) == [
        pytest.approx(json.loads(line), rel=1e-4) for line in log.splitlines()
    ]


@pytest.mark.parametrize("read", [torch.Tensor.item, bool, float, torch.Tensor.cpu, torch.Tensor.nonzero])
def test_every_way_to_read_a_number_is_counted(device, read):
    with device:
        number = torch.ones((), device=DEVICE)
        before = device.to_host.total()
        read(number)
    assert device.to_host.total() == before + 1


def test_deferred_numbers_arrive_with_the_next_copy_in_order():
    reads, seen = DeferredReads(), []
    reads.later(torch.tensor([[1.0, 2.0]]), lambda *values: seen.append(values))
    reads.later(torch.tensor(0.1, dtype=torch.float64, requires_grad=True), lambda value: seen.append(value))
    assert not seen
    first, second = reads.now(torch.eye(2), torch.zeros(1, 0))
    assert seen == [(1.0, 2.0), 0.1]
    assert first.tolist() == [[1, 0], [0, 1]] and second.shape == (1, 0)
    assert reads.now() == [] and len(seen) == 2


def test_an_error_in_deferred_numbers_hides_those_after_it():
    def refuse(value):
        raise ValueError(value)

    reads, seen = DeferredReads(), []
    for receive in (seen.append, refuse, seen.append):
        reads.later(torch.tensor(float(len(seen))), receive)
    with pytest.raises(ValueError, match="0"):
        reads.now(torch.zeros(2))
    assert len(seen) == 1
