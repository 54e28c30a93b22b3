"""The losses on the real network's output, at the smallest scale."""

import numpy as np
import pytest
import torch

from mssts.config import resolve
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model
from tests.losses.stand_in import batch_of, instances_in, no_instances, random_batch

CLASSES = 4


def model_of(variant):
    config = resolve("smoke", variant)
    return build_model(config.model, "tiny", CLASSES, torch.Generator().manual_seed(0)).train(), config


@pytest.fixture(scope="module")
def case():
    """Model, config, a padded batch, the model's output, its matches, and the loss terms."""
    model, config = model_of("fgbg")
    with torch.no_grad():  # zero at the start, which would stop the gradient of the first layer's boxes
        for head in model.decoder.box_heads:
            head.layers[-1].weight.normal_(std=0.1, generator=torch.Generator().manual_seed(3))
    batch = random_batch(torch.Generator().manual_seed(1))
    output = model(batch.frames_BT3HW, batch.padding_mask_BTHW)
    terms, matches = Criterion(config.loss)(output, batch, instances_in(batch))
    return model, config, batch, output, matches, terms


def gradients_of(model, loss):
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True), strict=True))


def test_all_terms_are_finite_and_each_reaches_the_backbone(case):
    model, *_, terms = case
    values = {(name, layer): value for name, values_L in terms.items() for layer, value in enumerate(values_L)}
    assert len(values) == 5 * 2
    for name, value in values.items():
        assert value.isfinite() and value > 0, name
        gradients = gradients_of(model, value)
        assert any(g is not None and (g != 0).any() for key, g in gradients.items() if key.startswith("backbone")), name


@pytest.mark.parametrize("variant", ["baseline", "ms_sts_temporal_fgbg"])
def test_every_trained_parameter_has_a_gradient_also_without_instances(variant):
    """Otherwise a device whose clips are empty makes the others wait for ever."""
    model, config = model_of(variant)
    batch = batch_of((no_instances(), no_instances()), ((64, 96), (48, 64)))
    terms, _ = Criterion(config.loss)(model(batch.frames_BT3HW, batch.padding), batch, 1)
    Criterion(config.loss).total(terms).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_the_adversary_teaches_encoder_and_mask_head_but_not_class_and_box_heads_of_the_last_layer(case):
    model, config, batch, output, matches, _ = case
    adversary = ForegroundBackgroundAdversary(
        config.loss.foreground_background, config.model.hidden_dim, torch.Generator().manual_seed(2)
    )
    gradients = gradients_of(model, adversary.generator_loss(batch, output, matches))
    reached = {name for name, gradient in gradients.items() if gradient is not None and (gradient != 0).any()}
    for part in ("backbone.", "encoder.", "mask_parameter_head.", "mask_features."):
        assert any(name.startswith(part) for name in reached), part
    assert not any(name.startswith("class_heads.") for name in reached)
    last = config.model.decoder.layers - 1
    assert not any(name.startswith(f"decoder.box_heads.{last}.") for name in reached)


def test_the_model_has_the_same_weights_with_and_without_the_adversary():
    (baseline, _), (adversarial, _) = model_of("baseline"), model_of("fgbg")
    weights = adversarial.state_dict()
    assert list(baseline.state_dict()) == list(weights)
    assert all(torch.equal(value, weights[name]) for name, value in baseline.state_dict().items())


def test_costs_assignment_and_terms_one_by_one_are_the_loss(case):
    _, config, batch, output, matches, terms = case
    criterion = Criterion(config.loss)
    assigned = criterion.assign(criterion.costs(output, batch).numpy(), output, batch)
    assert torch.equal(assigned.queries_LP, matches.queries_LP)
    again = criterion.terms(output, batch, assigned, instances_in(batch))
    assert all(torch.equal(again[name], value) for name, value in terms.items())


def test_losses_and_gradients_have_shapes_on_the_meta_device():
    config, batch = resolve("smoke", "fgbg"), random_batch(torch.Generator().manual_seed(1)).to(torch.device("meta"))
    with torch.device("meta"):
        model = build_model(config.model, "tiny", CLASSES)
    output, criterion = model(batch.frames_BT3HW), Criterion(config.loss)
    costs_LBNM = criterion.costs(output, batch)
    assert costs_LBNM.is_meta and costs_LBNM.shape == (2, 2, config.model.queries, 3)
    matches = criterion.assign(np.zeros(costs_LBNM.shape), output, batch)  # any assignment has these shapes
    loss = criterion.total(criterion.terms(output, batch, matches, 5))
    loss.backward()
    assert loss.is_meta and all(p.grad.is_meta for p in model.parameters() if p.requires_grad)
