"""Attention in C gives what PyTorch's does, and its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mssts.ops import compiled_attention as operator
from mssts.ops import threads
from mssts.ops.attention import ScaledDotProduct
from mssts.ops.compiled_attention import FEW, compiled_attention, is_compiled, is_fast_for

needs_compiled = pytest.mark.skipif(not is_compiled(), reason="mssts is not installed, or without a C compiler")


def inputs(queries=3, keys=6, width=12):
    """Queries, keys and values (5, 2, N, d), and a gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(5, 2, tokens, width) for tokens in (queries, keys, keys, queries)]
    return [3 * torch.randn(size, generator=generator) for size in sizes]


def with_gradients(queries, keys, values, upstream, attend=None):
    case = [x.detach().requires_grad_() for x in (queries, keys, values)]
    output = (attend or ScaledDotProduct())(*case)
    return output, *torch.autograd.grad(output, case, upstream)


def test_it_is_compiled_where_it_can_be():
    assert is_compiled(), "install again: make setup"


@needs_compiled
@pytest.mark.parametrize("width", [1, 4, 7, 12, 32])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 5), (3, 6), (8, 8), (7, 2)])
def test_output_and_gradients_agree_with_those_in_double_precision(queries, keys, width):
    case = inputs(queries, keys, width)
    assert is_fast_for(*case[:3])
    expected = with_gradients(*(x.double() for x in case), attend=F.scaled_dot_product_attention)
    for found, exact in zip(with_gradients(*case), expected, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-6 * max(1, float(exact.detach().abs().max())))


@needs_compiled
def test_views_in_any_order_of_memory_give_the_same_bytes():
    case = inputs()
    joint = torch.stack([case[1], case[2]], -1)  # channels are not adjacent
    views = [
        case[0].permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1),
        joint[..., 0],
        joint[..., 1],
        case[3].transpose(1, 2).contiguous().transpose(1, 2),
    ]
    assert all(torch.equal(*pair) for pair in zip(with_gradients(*case), with_gradients(*views), strict=True))


@needs_compiled
def test_an_expanded_gradient_is_read():
    queries, keys, values, _ = inputs()
    ones = with_gradients(queries, keys, values, torch.ones_like(queries))
    expanded = with_gradients(queries, keys, values, torch.ones(()).expand_as(queries))
    assert all(torch.equal(*pair) for pair in zip(ones, expanded, strict=True))


@needs_compiled
def test_large_scores_do_not_overflow():
    queries, keys, values, _ = inputs()
    expected = F.scaled_dot_product_attention(1e4 * queries, keys, values)
    torch.testing.assert_close(ScaledDotProduct()(1e4 * queries, keys, values), expected)


@needs_compiled
def test_the_bytes_are_those_of_one_thread_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(operator, "MANY", 1)
    number = torch.get_num_threads()
    try:
        results = []
        for threads_now in (1, 2, 5):
            torch.set_num_threads(threads_now)
            results.append(with_gradients(*inputs()))
    finally:
        torch.set_num_threads(number)
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))


@needs_compiled
def test_the_operator_is_registered_as_pytorch_expects():
    torch.library.opcheck(compiled_attention, tuple(x.requires_grad_() for x in inputs()[:3]))


@needs_compiled
def test_arrays_that_do_not_fit_are_refused():
    queries, keys, values, _ = inputs()
    with pytest.raises(ValueError, match="do not fit"):
        compiled_attention(queries, keys, values[:, :, :-1])
    with pytest.raises(ValueError, match="do not fit"):
        compiled_attention(*inputs(queries=FEW, keys=2)[:3])


@needs_compiled
def test_it_is_for_few_tokens_in_single_precision():
    few, many = inputs()[:3], inputs(queries=9, keys=8)[:3]
    assert is_fast_for(*few)
    assert not is_fast_for(*many)
    assert not is_fast_for(*(x.double() for x in few)) and not is_fast_for(*(x.bfloat16() for x in few))
    assert not is_fast_for(*(x.to("meta") for x in few))


def test_without_a_compiler_pytorch_attends(monkeypatch):
    monkeypatch.setattr(operator, "_compiled", None)
    case = inputs()
    expected = with_gradients(*case, attend=F.scaled_dot_product_attention)
    assert all(torch.equal(*pair) for pair in zip(with_gradients(*case), expected, strict=True))


def test_every_index_is_in_one_part(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    parts = []
    threads.in_threads(lambda first, last: parts.append((first, last)), 8, most=9)
    assert sorted(parts) == [(0, 2), (2, 5), (5, 8)]
