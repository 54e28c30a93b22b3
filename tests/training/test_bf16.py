"""Training in bfloat16 follows training in single precision, step by step."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from mssts.config import Config, resolve
from mssts.core.distributed import start_fabric
from mssts.data.clips import ClipLoader
from mssts.data.training import training_clips
from mssts.models import build_model
from mssts.training.failures import TrainingProgress
from mssts.training.record import TrainingRun
from mssts.training.trainer import Generators, Trainer
from tests.training.conftest import VARIANT

STEPS = 4


@pytest.fixture(scope="module")
def steps(data, tmp_path_factory):
    """For each step: (losses, gradients of the network) in single precision and in bfloat16, from equal weights."""
    clips = training_clips("synthvis", data, resolve("smoke", VARIANT))
    trainers = [trainer(precision, clips, tmp_path_factory.mktemp("bf16")) for precision in ("32-true", "bf16-mixed")]
    single, mixed = trainers
    batches = ClipLoader(clips, 2, STEPS, Generators.from_seed("train", 1).clips, 32)
    found = []
    for step, batch in enumerate(batches):
        mixed.load_state_dict(single.state_dict())
        found.append([(losses(trainer, step, batch), gradients(trainer)) for trainer in trainers])
    return found


def trainer(precision, clips, output):
    tree = resolve("smoke", VARIANT).model_dump(by_alias=True)
    tree["runtime"]["precision"] = precision
    config = Config.model_validate(tree)
    generators = Generators.from_seed("train", 1)
    run = TrainingRun("train", "smoke", "synthvis", "tiny", VARIANT, 1, 1, config)
    with start_fabric("cpu", precision) as fabric:
        model = build_model(config.model, "tiny", len(clips.categories), generators.model)
        return Trainer(fabric, model, run, generators, TrainingProgress("bf16", output))


def losses(trainer, step, batch):
    return {name: value.item() for name, value in trainer.step(step, [batch])[0].items()}


def gradients(trainer):
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def test_bf16_computes_the_losses_of_single_precision_within_three_percent(steps):
    for (single, _), (mixed, _) in steps:
        assert {"loss_adversary", "loss_discriminator"} < mixed.keys() == single.keys()
        assert mixed == pytest.approx(single, rel=0.03)
        assert mixed["loss"] != single["loss"]


def test_bf16_points_its_gradients_where_single_precision_does(steps):
    for (_, single), (_, mixed) in steps:
        assert torch.cosine_similarity(single, mixed, dim=0).item() > 0.97
        assert mixed.norm().item() == pytest.approx(single.norm().item(), rel=0.05)


def test_weights_and_gradients_stay_in_single_precision_under_bf16(steps):
    assert {gradient.dtype for step in steps for _, gradient in step} == {torch.float32}
    assert all(before["loss"] != after["loss"] for ((before, _), _), ((after, _), _) in pairwise(steps))
