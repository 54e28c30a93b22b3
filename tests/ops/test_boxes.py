import pytest
import torch

from mssts.ops.boxes import cxcywh_to_xyxy, generalized_iou, inverse_sigmoid


def test_corner_form_is_centre_minus_and_plus_half_the_size():
    assert torch.equal(cxcywh_to_xyxy(torch.tensor([[4.0, 6.0, 2.0, 8.0]])), torch.tensor([[3.0, 2.0, 5.0, 10.0]]))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),  # union is the hull
        ((0, 0, 1, 1), (2, 0, 3, 1), -1 / 3),  # apart: hull 3, union 2
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7 - 2 / 9),
    ],
)
def test_generalized_iou_equals_the_one_computed_by_hand(a, b, expected):
    iou = generalized_iou(torch.tensor(a).float(), torch.tensor(b).float())
    assert iou.item() == pytest.approx(expected, abs=1e-6)


def test_generalized_iou_broadcasts_over_pairs_and_frames():
    a, b = (cxcywh_to_xyxy(torch.rand(n, 5, 4)) for n in (2, 3))
    pairs = generalized_iou(a[:, None], b[None])
    assert pairs.shape == (2, 3, 5)
    torch.testing.assert_close(pairs[1, 2, 4], generalized_iou(a[1, 4], b[2, 4]))


def test_logit_is_finite_at_the_ends_and_inverts_the_sigmoid_between():
    logits = inverse_sigmoid(torch.tensor([0.0, 1.0, -0.5, 1.5]))
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(
        inverse_sigmoid(torch.tensor([-2.0, 0.0, 3.0]).sigmoid()), torch.tensor([-2.0, 0.0, 3.0])
    )
