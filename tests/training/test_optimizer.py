"""Learning rates by hand."""

import pytest
import torch
from torch import nn

from mssts.config import resolve
from mssts.training.optimizer import build_optimizer, rate_factor


def settings(**changes):
    return resolve("embedded").train.model_copy(update=changes)


def test_warm_up_is_linear_and_the_cosine_ends_near_zero():
    cosine = settings(steps=100, warmup_fraction=0.1, schedule="cosine")
    assert rate_factor(0, cosine) == pytest.approx(0.1)
    assert rate_factor(9, cosine) == pytest.approx(1.0)
    assert rate_factor(10, cosine) == pytest.approx(1.0)
    assert rate_factor(55, cosine) == pytest.approx(0.5)
    assert rate_factor(99, cosine) < 0.001


def test_the_step_schedule_drops_tenfold_at_the_epochs_of_the_recipe():
    steps = settings(steps=12, warmup_fraction=0.0, schedule="step", drop_fractions=[4 / 12, 10 / 12])
    factors = [rate_factor(epoch, steps) for epoch in range(12)]
    assert factors == pytest.approx([1.0] * 4 + [0.1] * 6 + [0.01] * 2)


def test_backbone_and_reference_projections_have_rates_of_their_own():
    class Model(nn.ModuleDict):
        def reference_projections(self):
            return [self["sampling_offsets"]]

    model = Model({name: nn.Linear(2, 2) for name in ("backbone", "sampling_offsets", "head", "ice")})
    model["ice"].requires_grad_(False)
    rates = settings(learning_rate=1.0, backbone_learning_rate=0.1, reference_rate_factor=0.01)
    optimizer = build_optimizer(model, rates)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = {"backbone": 0.1, "sampling_offsets": 0.01, "head": 1.0}
    for name, rate in expected.items():
        assert [rate_of[id(p)] for p in model[name].parameters()] == [rate, rate]
    assert not any(id(p) in rate_of for p in model["ice"].parameters())
    assert isinstance(optimizer, torch.optim.AdamW)
