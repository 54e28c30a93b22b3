"""Sampling in C gives what sampling a grid gives, and its gradients."""

from __future__ import annotations

import pytest
import torch

from mssts.ops import compiled_sampling as module
from mssts.ops.attention import AUTO, COMPILED, GRID_SAMPLE, DeformableSampling, sampling_path
from mssts.ops.compiled_sampling import compiled_sampling, is_compiled

SHAPES = ((5, 7), (3, 4), (1, 1))
LEVELS, HEADS, POINTS, QUERIES = len(SHAPES), 2, 3, 40
TOKENS = sum(height * width for height, width in SHAPES)
needs_compiled = pytest.mark.skipif(not is_compiled(), reason="mssts is not installed, or without a C compiler")


def inputs(low=-0.7, high=1.7, width=8):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, TOKENS, HEADS * width, generator=generator)
    locations = torch.rand(2, 3, QUERIES, HEADS, LEVELS, POINTS, 2, generator=generator)
    weights = torch.rand(2, 3, QUERIES, HEADS, LEVELS, POINTS, generator=generator)
    return values, low + (high - low) * locations, weights


def sampled(case, setting=AUTO):
    return DeformableSampling(setting)(*case, shapes=SHAPES)


def with_gradients(case, setting=AUTO):
    case = [tensor.clone().requires_grad_() for tensor in case]
    output = sampled(case, setting)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return output, *torch.autograd.grad(output, case, upstream)


def assert_agrees_with_grid_sampling(case):
    expected = with_gradients([tensor.double() for tensor in case], GRID_SAMPLE)
    for found, exact in zip(with_gradients(case), expected, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6 * float(exact.detach().abs().max()))


def test_it_is_compiled_where_it_can_be():
    assert is_compiled(), "install again: make setup"


@needs_compiled
@pytest.mark.parametrize("width", [8, 16, 24, 32, 256])
def test_output_and_gradients_agree_with_grid_sampling_for_every_width_of_a_head(width):
    assert_agrees_with_grid_sampling(inputs(width=width))


@needs_compiled
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.7, 1.7), (-50, 50), (-1e9, 1e9)])
def test_output_and_gradients_agree_with_grid_sampling_inside_and_outside(low, high):
    assert_agrees_with_grid_sampling(inputs(low, high))


@needs_compiled
def test_output_agrees_at_centres_and_borders_of_cells():
    values, locations, weights = inputs()
    steps = torch.linspace(-0.25, 1.25, 2 * QUERIES * 3 + 1)[: 2 * QUERIES * 3]
    locations = steps.view(2, 3, QUERIES, 1, 1, 1, 1).expand_as(locations).round(decimals=2)
    case = values, locations, weights
    torch.testing.assert_close(sampled(case), sampled(case, GRID_SAMPLE), rtol=0, atol=1e-5)


@needs_compiled
def test_a_sample_halfway_between_two_cells_is_their_mean():
    values = torch.zeros(1, 1, 2, 8)
    values[0, 0, 0], values[0, 0, 1] = 1, 3  # a map of one row and two columns
    locations, weights = torch.full((1, 1, 1, 1, 1, 1, 2), 0.5), torch.full((1, 1, 1, 1, 1, 1), 0.25)
    output = DeformableSampling()(values, locations, weights, shapes=((1, 2),))
    assert torch.equal(output, torch.full((1, 1, 1, 8), 0.5))


@needs_compiled
def test_arrays_in_another_order_of_memory_are_sampled_alike():
    values, locations, weights = inputs()
    turned = locations.permute(0, 1, 3, 4, 5, 6, 2).contiguous().permute(0, 1, 6, 2, 3, 4, 5)
    assert turned.stride() != locations.stride()
    pairs = zip(with_gradients((values, turned, weights)), with_gradients((values, locations, weights)), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@needs_compiled
def test_a_location_that_is_not_a_number_samples_nothing():
    values, locations, weights = inputs()
    locations[0, 0, 0, 0, 0] = torch.nan
    assert torch.equal(sampled((values, locations, weights)), sampled((values, locations.nan_to_num(-9), weights)))


@needs_compiled
def test_the_bytes_are_those_of_one_thread_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(module, "MANY", 1)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            results.append(with_gradients(inputs()))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))


@needs_compiled
def test_half_precision_is_sampled_in_single_precision():
    values, locations, weights = inputs()
    output = sampled((values.bfloat16(), locations, weights.bfloat16()))
    expected = sampled((values.bfloat16().float(), locations, weights.bfloat16().float()))
    assert torch.equal(output, expected)


@needs_compiled
def test_the_operator_is_registered_as_pytorch_expects():
    case = [tensor.flatten(0, 1).requires_grad_() for tensor in inputs()]
    torch.library.opcheck(compiled_sampling, (*case, [size for shape in SHAPES for size in shape]))


@needs_compiled
def test_arrays_that_do_not_fit_are_refused():
    values, locations, weights = (tensor.flatten(0, 1) for tensor in inputs())
    with pytest.raises(ValueError, match="do not fit"):
        compiled_sampling(values[:, :-1], locations, weights, [size for shape in SHAPES for size in shape])


def test_double_precision_and_odd_widths_sample_a_grid():
    cpu = torch.device("cpu")
    assert (
        {sampling_path(AUTO, cpu, width) for width in (12, 264)}
        == {sampling_path(GRID_SAMPLE, cpu, 8)}
        == {GRID_SAMPLE}
    )
    assert DeformableSampling().path(torch.zeros(1, 1, 1, 16, dtype=torch.float64), 2) == GRID_SAMPLE
    assert DeformableSampling().path(torch.zeros(1, 1, 1, 16), 2) == (COMPILED if is_compiled() else GRID_SAMPLE)
