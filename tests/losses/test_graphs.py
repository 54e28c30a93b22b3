"""The network, the matching costs and the losses are one graph each: nothing in them waits for the device.

The assignment, which runs on the host, stands between the costs and the losses.
"""

import pytest
import torch
from torch._dynamo import explain

from mssts.config import resolve
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model
from tests.losses.stand_in import random_batch

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def case():
    """Model with all contributions, criterion, adversary, and a padded batch with the model's output and matches."""
    config = resolve("smoke", "ms_sts_temporal_fgbg")
    model = build_model(config.model, "tiny", 4).train()
    criterion = Criterion(config.loss)
    adversary = ForegroundBackgroundAdversary(
        config.loss.foreground_background.model_copy(update={"min_score": 0.0}), config.model.hidden_dim, generator()
    )
    batch = random_batch(generator())
    output = model(batch.frames_BT3HW, batch.padding)
    return model, criterion, adversary, batch, output, criterion(output, batch, 5)[1]


def generator():
    return torch.Generator().manual_seed(0)


def assert_one_graph(function, *arguments):
    torch._dynamo.reset()
    found = explain(function)(*arguments)
    assert (found.graph_count, found.graph_break_count) == (1, 0), [str(reason) for reason in found.break_reasons]


@pytest.mark.parametrize("padded", [False, True])
def test_the_network_is_one_graph(case, padded):
    model, _, _, batch, _, _ = case
    assert batch.padding is not None
    assert_one_graph(model, batch.frames_BT3HW, batch.padding if padded else None)


@pytest.mark.parametrize("backbone", ["resnet50", "swin_l"])
def test_the_full_size_networks_are_one_graph(backbone):
    model = build_model(resolve("paper-2019", "ms_sts_temporal_fgbg").model, backbone, 40).train()
    padding = torch.zeros(1, 2, 64, 96, dtype=torch.bool)
    padding[..., 80:] = True
    assert_one_graph(model, torch.zeros(1, 2, 3, 64, 96), padding)


def test_matching_costs_are_one_graph(case):
    _, criterion, _, batch, output, _ = case
    assert_one_graph(criterion.costs, output, batch)


def test_the_losses_of_given_matches_are_one_graph(case):
    _, criterion, adversary, batch, output, matches = case

    def loss(output, batch, matches):
        total = criterion.total(criterion.terms(output, batch, matches, 5.0))
        return total + adversary.generator_loss(batch, output, matches)

    assert_one_graph(loss, output, batch, matches)
