import math

import pytest
import torch

from mssts.losses.terms import dice, focal
from mssts.ops.boxes import cxcywh_to_xyxy, generalized_iou


@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [
        (0.0, 1.0, 0.25 * 0.5**2 * math.log(2)),
        (0.0, 0.0, 0.75 * 0.5**2 * math.log(2)),
        (math.log(3), 1.0, 0.25 * 0.25**2 * -math.log(0.75)),
        (math.log(3), 0.0, 0.75 * 0.75**2 * math.log(4)),
    ],
)
def test_focal_equals_the_formula_by_hand(logit, target, expected):
    assert focal(torch.tensor([logit]), torch.tensor([target]), 0.25, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_focal_without_focus_is_half_the_cross_entropy():
    logits, targets = torch.linspace(-6, 6, 13), (torch.arange(13) % 2).float()
    expected = 0.5 * torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(focal(logits, targets, 0.5, 0.0), expected)


def test_focal_of_huge_logits_and_its_gradient_stay_finite():
    logits = torch.tensor([-1e4, -200.0, 200.0, 1e4]).requires_grad_()
    for target in (0.0, 1.0):
        loss = focal(logits, torch.full((4,), target), 0.25, 2.0)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all() and gradient.isfinite().all()
    assert loss[0].item() == pytest.approx(0.25 * 1e4)


def test_focal_gradient_agrees_with_finite_differences():
    logits = torch.linspace(-3, 3, 6, dtype=torch.float64).requires_grad_()
    targets = (torch.arange(6) % 2).double()
    assert torch.autograd.gradcheck(lambda x: focal(x, targets, 0.25, 2.0), logits)


def test_dice_equals_the_formula_by_hand():
    targets = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert dice(torch.zeros(1, 4), targets).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    assert dice(200 * targets - 100, targets).item() == pytest.approx(0)
    assert dice(100 - 200 * targets, targets).item() == pytest.approx(1 - 1 / 5)
    assert dice(torch.full((1, 4), -100.0), torch.zeros(1, 4)).item() == pytest.approx(0)


def test_corners_are_half_a_size_from_the_centre():
    torch.testing.assert_close(cxcywh_to_xyxy(torch.tensor([0.5, 0.4, 0.2, 0.6])), torch.tensor([0.4, 0.1, 0.6, 0.7]))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
        ([0, 0, 1, 1], [2, 0, 3, 1], -1 / 3),  # union 2 in a hull of 3
        ([0, 0, 2, 1], [1, 0, 3, 1], 1 / 3),  # no empty hull
        ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7 - 2 / 9),
        ([0, 0, 4, 4], [1, 1, 2, 2], 1 / 16),
        ([0.5, 0, 0.5, 1], [0, 0, 1, 1], 0.0),  # a box without width
    ],
)
def test_generalized_iou_equals_the_formula_by_hand(first, second, expected):
    first, second = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    assert generalized_iou(first, second).item() == pytest.approx(expected)
    assert generalized_iou(second, first).item() == pytest.approx(expected)


def test_generalized_iou_with_the_box_of_an_absent_instance_is_finite_in_single_precision():
    box = torch.tensor([0.5, 0.5, 0.4, 0.4]).requires_grad_()
    value = generalized_iou(cxcywh_to_xyxy(box), cxcywh_to_xyxy(torch.full((4,), 1e-6)))
    value.backward()
    assert -1 <= value.item() < 0
    assert box.grad.isfinite().all()
