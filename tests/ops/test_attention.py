import math

import torch

from mssts.ops.attention import DeformableSampling, ScaledDotProduct


def slow_bilinear(image, x, y):
    """Value of (D, H, W) at x, y relative to the image; cells outside are zero."""
    _, height, width = image.shape
    column, row = x * width - 0.5, y * height - 0.5
    value = torch.zeros(image.shape[0])
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < height and 0 <= j < width:
                value += image[:, i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return value


def test_deformable_sampling_equals_a_loop_over_every_point():
    generator = torch.Generator().manual_seed(0)
    B, T, Q, M, L, P, D = 2, 2, 3, 2, 2, 2, 4
    shapes = ((3, 5), (2, 2))
    values = torch.randn(B, T, 15 + 4, M * D, generator=generator)
    maps = [
        level.unflatten(2, shape).unflatten(-1, (M, D)).permute(0, 1, 4, 5, 2, 3)
        for level, shape in zip(values.split((15, 4), 2), shapes, strict=True)
    ]
    locations = torch.rand(B, T, Q, M, L, P, 2, generator=generator) * 1.4 - 0.2
    weights = torch.rand(B, T, Q, M, L, P, generator=generator)
    expected = torch.zeros(B, T, Q, M, D)
    for b, t, q, m, level, p in torch.cartesian_prod(*(torch.arange(n) for n in (B, T, Q, M, L, P))).tolist():
        x, y = locations[b, t, q, m, level, p].tolist()
        sampled = slow_bilinear(maps[level][b, t, m], x, y)
        expected[b, t, q, m] += weights[b, t, q, m, level, p] * sampled
    sampled = DeformableSampling()(values, locations, weights, shapes=shapes)
    torch.testing.assert_close(sampled, expected.flatten(3))


def test_scaled_dot_product_is_the_softmax_average_of_values():
    q, k, v = (torch.randn(2, 3, 4, 5) for _ in range(3))
    weights = (q @ k.transpose(-1, -2) / math.sqrt(5)).softmax(-1)
    torch.testing.assert_close(ScaledDotProduct()(q, k, v), weights @ v)


def test_scaled_dot_product_drops_in_training_only():
    q, k, v = (torch.randn(1, 1, 8, 4) for _ in range(3))
    attend = ScaledDotProduct(dropout=0.5)
    assert not torch.allclose(attend(q, k, v), attend(q, k, v))
    attend.eval()
    assert torch.equal(attend(q, k, v), attend(q, k, v))
