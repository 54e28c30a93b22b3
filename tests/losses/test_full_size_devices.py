"""The full-size models and their losses, on devices that are not there.

Fake tensors have shapes, types and devices but no values. An operation on tensors of two devices raises, and so does
one that needs a value. Backward passes run on the meta device; on a fake "cuda" device autograd wants a real one.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from mssts.config import resolve
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model
from mssts.models.position import frame_encoding, unpadded_grid
from mssts.ops.masks import pixel_centres
from tests.losses.stand_in import random_batch

CLASSES, COUNTS, FRAMES, SIZES, PADDED = 40, (2, 3), 5, ((480, 768), (360, 640)), (480, 768)
pytestmark = pytest.mark.long

LONGER = pytest.param("resnet101", marks=pytest.mark.long)  # as ResNet-50, with more blocks
MODELS = pytest.mark.parametrize("backbone", ["resnet50", LONGER, "swin_l"])
VARIANTS = pytest.mark.parametrize("variant", ["baseline", "ms_sts_temporal_fgbg"])


@pytest.fixture
def fake():
    """A mode in which new tensors are fake, and real ones become so; no fake tensor stays in a cache."""
    caches = (unpadded_grid, frame_encoding, pixel_centres)
    for cache in caches:
        cache.cache_clear()
    yield FakeTensorMode(allow_non_fake_inputs=True)
    for cache in caches:
        cache.cache_clear()


@pytest.fixture(scope="module")
def batch():
    """Two clips of the paper's frames, the second one smaller."""
    return random_batch(torch.Generator().manual_seed(0), COUNTS, SIZES, FRAMES, CLASSES, PADDED)


def parts(backbone, variant):
    """Model on the meta device, criterion, and discriminator on the CPU if the variant has one."""
    config = resolve("paper-2019", variant)
    with torch.device("meta"):
        model = build_model(config.model, backbone, CLASSES).train()
    section, adversary = config.loss.foreground_background.model_copy(update={"min_score": 0.0}), None
    if section.enabled:
        adversary = ForegroundBackgroundAdversary(section, config.model.hidden_dim, torch.Generator().manual_seed(0))
    return model, Criterion(config.loss), adversary


def loss_of(model, criterion, adversary, batch, padding):
    """The loss, with any assignment: it has no influence on shapes and devices."""
    output = model(batch.frames_BT3HW, padding)
    costs_LBNM = criterion.costs(output, batch)
    assert costs_LBNM.device == batch.frames_BT3HW.device
    assert costs_LBNM.shape == (len(output.layers), len(COUNTS), output.logits.shape[1], max(COUNTS))
    matches = criterion.assign(np.zeros(costs_LBNM.shape), output, batch)
    loss = criterion.total(criterion.terms(output, batch, matches, sum(COUNTS)))
    return loss + adversary.generator_loss(batch, output, matches) if adversary else loss


@VARIANTS
@MODELS
def test_losses_are_computed_on_the_device_of_the_model(fake, batch, backbone, variant):
    cuda = torch.device("cuda:0")
    model, criterion, adversary = parts(backbone, variant)
    with fake:
        model.to_empty(device=cuda)
        adversary = adversary and adversary.to(cuda)
        on_device = batch.to(cuda)
        for padding in (None, on_device.padding):
            loss = loss_of(model, criterion, adversary, on_device, padding)
            assert loss.device == cuda and loss.shape == () and loss.requires_grad


@VARIANTS
@MODELS
def test_every_trained_parameter_has_a_gradient_of_its_shape(batch, backbone, variant):
    meta = torch.device("meta")
    model, criterion, adversary = parts(backbone, variant)
    on_device = batch.to(meta)
    loss_of(model, criterion, adversary and adversary.to(meta), on_device, on_device.padding).backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not [name for name, parameter in trained.items() if parameter.grad is None]
