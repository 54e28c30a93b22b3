"""The Triton kernels in Triton's interpreter against grid sampling. `test_deformable_triton` runs this file."""

import pytest
import torch
from torch._subclasses import FakeTensorMode

from mssts.config import load_baseline
from mssts.models.deformable_attention import DeformableAttention
from mssts.models.position import TokenGeometry
from mssts.ops import attention
from mssts.ops.attention import TRITON, _sample_with_grid_sample, _sample_with_triton, triton_agrees
from mssts.ops.deformable_triton import deformable_sampling

SHAPES = ((1, 7), (3, 5))


def random_inputs(shapes=SHAPES, B=1, T=2, Q=5, M=2, P=1, D=3, dtype=torch.float32):
    """Values, locations inside and outside the maps, weights, and a gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    S, L = sum(height * width for height, width in shapes), len(shapes)
    values = torch.randn(B, T, S, M * D, generator=generator, dtype=dtype)
    locations = torch.rand(B, T, M, L, P, 2, Q, generator=generator, dtype=dtype) * 2 - 0.5
    weights = torch.rand(B, T, M, L, P, Q, generator=generator, dtype=dtype)
    return [values, locations, weights], torch.randn(B, T, Q, M * D, generator=generator, dtype=dtype)


def results(sample, inputs, upstream, shapes):
    inputs = [x.detach().requires_grad_() for x in inputs]
    output = sample(*inputs, shapes)
    return [output, *torch.autograd.grad(output, inputs, upstream)]


def assert_agree(inputs, upstream, shapes):
    ours = results(_sample_with_triton, inputs, upstream, shapes)
    theirs = results(_sample_with_grid_sample, inputs, upstream, shapes)
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[1:], theirs[1:], rtol=0, atol=1e-4)


CASES = {
    "one cell": (((1, 1),), {"B": 1, "T": 1, "Q": 1, "M": 1, "D": 1}),
    "column": (((5, 1),), {"B": 2, "T": 1}),
    "several blocks of queries": (SHAPES, {"T": 1, "Q": 37, "D": 8}),
    "clips, frames and points": (SHAPES, {"B": 2, "M": 1, "P": 3}),
    "four levels": (((8, 12), (4, 6), (2, 3), (1, 2)), {"M": 3, "D": 5}),
}


@pytest.mark.parametrize(("shapes", "sizes"), CASES.values(), ids=CASES)
def test_values_and_gradients_equal_those_of_grid_sampling(shapes, sizes):
    assert_agree(*random_inputs(shapes, **sizes), shapes)


@pytest.mark.parametrize("far", [1.6, -40.0, 1e30, -torch.inf, torch.nan])
def test_points_outside_sample_zero_and_get_no_gradient(far):
    (values, locations, weights), upstream = random_inputs(T=1, M=1)
    inputs = [values, torch.full_like(locations, far), weights]
    assert not any(result.any() for result in results(_sample_with_triton, inputs, upstream, SHAPES))


def test_inputs_may_lie_in_memory_in_any_order():
    (values, locations, weights), upstream = random_inputs()
    inputs = [
        values.transpose(1, 2).contiguous().transpose(1, 2),
        locations.movedim(-1, 2).contiguous().movedim(2, -1),
        torch.stack([weights, -weights], -1)[..., 0],
    ]
    assert not any(x.is_contiguous() for x in inputs)
    assert_agree(inputs, upstream[:, :, :1, :1].expand_as(upstream), SHAPES)


def test_a_head_reads_its_own_channels_only():
    (values, *others), upstream = random_inputs(D=3)
    values[..., 3:] = torch.nan
    output, _, of_locations, of_weights = results(_sample_with_triton, [values, *others], upstream, SHAPES)
    assert not any(x.isnan().any() for x in (output[..., :3], of_locations[:, :, 0], of_weights[:, :, 0]))
    assert all(x.isnan().any() for x in (output[..., 3:], of_locations[:, :, 1], of_weights[:, :, 1]))


def test_bfloat16_values_are_summed_in_float32():
    (values, *others), upstream = random_inputs()
    half = values.bfloat16()
    output, gradient, *_ = results(_sample_with_triton, [half, *others], upstream, SHAPES)
    expected, expected_gradient, *_ = results(_sample_with_grid_sample, [half.float(), *others], upstream, SHAPES)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient.bfloat16())


def test_float64_is_sampled_in_float64():
    case = random_inputs(dtype=torch.float64)
    ours, theirs = (results(sample, *case, SHAPES) for sample in (_sample_with_triton, _sample_with_grid_sample))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


def test_the_interpreter_repeats_bytes():
    case = random_inputs(Q=37, T=1)
    first, second = (results(_sample_with_triton, *case, SHAPES) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_the_operator_keeps_the_rules_of_pytorch_and_is_no_graph_break():
    inputs, _ = random_inputs(T=1, M=1)
    values, locations, weights = (x.flatten(0, 1).requires_grad_() for x in inputs)
    torch.library.opcheck(deformable_sampling, (values.unflatten(-1, (1, -1)), locations, weights, [1, 7, 3, 5]))
    compiled = torch.compile(_sample_with_triton, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*inputs, SHAPES), _sample_with_triton(*inputs, SHAPES))


def test_the_kernel_is_found_to_agree_inside_a_graph_inference_or_fake_mode():
    agrees = torch.compile(lambda x: x + triton_agrees(x.device), backend="eager", fullgraph=True)
    with torch.inference_mode():
        assert agrees(torch.zeros(())) == 1
    attention._disagreement.cache_clear()
    with FakeTensorMode():
        assert triton_agrees(torch.device("cpu"))


@pytest.mark.parametrize(("padded", "coordinates"), [(False, 4), (True, 2)], ids=["boxes", "padded points"])
def test_the_attention_module_equals_itself_with_grid_sampling(monkeypatch, padded, coordinates):
    generator = torch.Generator().manual_seed(1)
    config = load_baseline().model.model_copy(update={"hidden_dim": 16, "heads": 2, "levels": 3, "points": 1})
    module, shapes = DeformableAttention(config), ((4, 6), (2, 3), (1, 2))
    module.initialise(generator)
    padding = torch.zeros(2, 32, 48, dtype=torch.bool)
    padding[1, 20:] = padding[1, :, 30:] = True
    layout = TokenGeometry(3, 16)(shapes, padding if padded else None)
    tokens, queries = (torch.randn(2, 2, size, 16, generator=generator) for size in (32, 7))
    references = torch.rand(2, 1, 7, 3, coordinates, generator=generator)

    def run():
        inputs = [x.clone().requires_grad_() for x in (queries, references, tokens)]
        output = module(*inputs, layout)
        return output, torch.autograd.grad(output.square().sum(), [*inputs, *module.parameters()])

    expected, expected_gradients = run()
    monkeypatch.setattr(attention, "sampling_path", lambda setting, device, width: TRITON)
    output, gradients = run()
    assert (layout.padding_BS is not None) == padded and not torch.equal(output, expected)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-5, atol=1e-4)
