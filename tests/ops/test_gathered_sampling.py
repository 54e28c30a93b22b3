"""Gathering rows of values gives what sampling a grid gives."""

from __future__ import annotations

import pytest
import torch

from mssts.ops import attention
from mssts.ops.attention import AUTO, GATHER, GRID_SAMPLE, MANY, DeformableSampling, sampling_path
from mssts.ops.gathered_sampling import sample_gathered

SHAPES = ((5, 7), (3, 4), (1, 1))
LEVELS, HEADS, POINTS, CHANNELS, QUERIES = len(SHAPES), 2, 3, 8, 40
TOKENS = sum(height * width for height, width in SHAPES)


def inputs(dtype=torch.float32, low=-0.7, high=1.7):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, TOKENS, CHANNELS, generator=generator, dtype=dtype)
    locations = torch.rand(2, 3, QUERIES, HEADS, LEVELS, POINTS, 2, generator=generator, dtype=dtype)
    weights = torch.rand(2, 3, QUERIES, HEADS, LEVELS, POINTS, generator=generator, dtype=dtype)
    return values, low + (high - low) * locations, weights


def grid_sampled(values, locations, weights):
    return DeformableSampling(GRID_SAMPLE)(values, locations, weights, shapes=SHAPES)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.7, 1.7), (-50, 50), (-1e9, 1e9)])
def test_gathering_gives_what_grid_sampling_gives_inside_and_outside(low, high):
    case = inputs(torch.float64, low, high)
    torch.testing.assert_close(sample_gathered(*case, SHAPES), grid_sampled(*case), rtol=0, atol=1e-12)


def test_gathering_agrees_at_centres_and_borders_of_cells():
    values, locations, weights = inputs(torch.float64)
    steps = torch.linspace(-0.25, 1.25, 2 * QUERIES * 3 + 1, dtype=torch.float64)[: 2 * QUERIES * 3]
    locations = steps.view(2, 3, QUERIES, 1, 1, 1, 1).expand_as(locations).round(decimals=2)
    case = values, locations, weights
    torch.testing.assert_close(sample_gathered(*case, SHAPES), grid_sampled(*case), rtol=0, atol=1e-12)


def test_gathering_in_single_precision_differs_by_rounding():
    case = inputs()
    torch.testing.assert_close(sample_gathered(*case, SHAPES), grid_sampled(*case), rtol=0, atol=1e-5)


def test_a_location_in_another_order_of_memory_is_sampled_alike():
    values, locations, weights = inputs()
    turned = locations.permute(0, 1, 3, 4, 5, 6, 2).contiguous().permute(0, 1, 6, 2, 3, 4, 5)
    assert turned.stride() != locations.stride()
    expected = sample_gathered(values, locations, weights, SHAPES)
    assert torch.equal(sample_gathered(values, turned, weights, SHAPES), expected)


def test_a_location_that_is_not_a_number_samples_nothing():
    values, locations, weights = inputs()
    locations[0, 0, 0, 0, 0] = torch.nan
    inside = locations.nan_to_num(-9)
    expected = sample_gathered(values, inside, weights, SHAPES)
    assert torch.equal(sample_gathered(values, locations, weights, SHAPES), expected)


def test_a_cpu_gathers_many_samples_without_gradients_only(monkeypatch):
    cpu = torch.device("cpu")
    assert sampling_path(AUTO, cpu, MANY) == GATHER
    assert sampling_path(AUTO, cpu, MANY - 1) == sampling_path(GRID_SAMPLE, cpu, MANY) == GRID_SAMPLE
    assert DeformableSampling().path(cpu, MANY) == GRID_SAMPLE
    called = []
    monkeypatch.setattr(attention, "MANY", 1)
    monkeypatch.setattr(attention, "sample_gathered", lambda *case: called.append(1) or sample_gathered(*case))
    case = inputs()
    with_gradients = DeformableSampling()(*case, shapes=SHAPES)
    assert not called
    with torch.inference_mode():
        torch.testing.assert_close(DeformableSampling()(*case, shapes=SHAPES), with_gradients, rtol=0, atol=1e-5)
    assert called
