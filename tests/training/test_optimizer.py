"""Learning rates by hand."""

import pytest
import torch
from torch import nn

from mssts.config import resolve
from mssts.training.optimizer import build_optimizer, flattened, rate_factor


def settings(**changes):
    return resolve("embedded").train.model_copy(update=changes)


def test_warm_up_is_linear_and_the_cosine_ends_near_zero():
    cosine = settings(warmup_fraction=0.1, schedule="cosine")
    factors = [rate_factor(step, 100, cosine) for step in (0, 9, 10, 55, 99)]
    assert factors == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0], abs=0.001)


def test_the_step_schedule_drops_tenfold_at_the_epochs_of_the_recipe():
    steps = settings(warmup_fraction=0.0, schedule="step", drop_fractions=[4 / 12, 10 / 12])
    factors = [rate_factor(epoch, 12, steps) for epoch in range(12)]
    assert factors == pytest.approx([1.0] * 4 + [0.1] * 6 + [0.01] * 2)


@pytest.mark.parametrize(("scale", "epochs"), [("paper-2019", (4, 10)), ("videos-only", (2, 10))])
def test_joint_training_has_drops_of_its_own(scale, epochs):
    config = resolve("paper-2019")
    if scale == "videos-only":
        config = config.model_copy(update={"data": config.data.model_copy(update={"joint": False})})
    stage = config.optimisation("train")
    drops = [step for step in range(1, 1200) if rate_factor(step, 1200, stage) < rate_factor(step - 1, 1200, stage)]
    assert drops == [100 * epoch for epoch in epochs]
    assert config.optimisation("pretrain") == config.pretrain


def test_backbone_and_reference_projections_have_rates_of_their_own():
    class Model(nn.ModuleDict):
        def reference_projections(self):
            return [self["sampling_offsets"]]

    model = Model({name: nn.Linear(2, 2) for name in ("backbone", "sampling_offsets", "head", "ice")})
    model["ice"].requires_grad_(False)
    rates = settings(learning_rate=1.0, backbone_learning_rate=0.1, reference_rate_factor=0.01)
    optimizer = build_optimizer(model, rates)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["lr"]: [p.numel() for p in group["params"]] for group in optimizer.param_groups} == {
        0.1: [6], 0.01: [6], 1.0: [6]
    }  # fmt: skip
    before = {name: layer.weight.detach().clone() for name, layer in model.items()}
    for layer in list(model.values())[:-1]:
        layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    moved = {name: (layer.weight - before[name]).abs().amax().item() for name, layer in model.items()}
    assert moved == pytest.approx({"backbone": 0.1, "sampling_offsets": 0.01, "head": 1.0, "ice": 0.0}, rel=1e-2)


def test_a_step_on_one_tensor_is_the_step_on_each_parameter():
    def network():
        torch.manual_seed(0)
        convolution = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return nn.Sequential(convolution, nn.Flatten(), nn.Linear(16, 2))

    one, each = network(), network()
    vector = flattened(list(one.parameters()))
    assert one[0].weight.is_contiguous(memory_format=torch.channels_last)
    optimizers = [torch.optim.AdamW(parameters, lr=0.1) for parameters in ([vector], each.parameters())]
    for seed in (1, 2):
        images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        for model, optimizer in zip((one, each), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            model(images).pow(2).sum().backward()
            optimizer.step()
        for own, expected in zip(one.parameters(), each.parameters(), strict=True):
            torch.testing.assert_close(own.grad, expected.grad, rtol=0, atol=0)
            torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-7)
    assert vector.grad.norm() == pytest.approx(torch.nn.utils.get_total_norm([p.grad for p in each.parameters()]))
