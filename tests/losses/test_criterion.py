import math
from dataclasses import replace

import pytest
import torch

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.core.records import Instances
from mssts.losses import Criterion
from mssts.losses.matched import subsampled_masks
from tests.losses.stand_in import (
    Layer,
    StandIn,
    batch_of,
    clip_of,
    instances_in,
    no_instances,
    random_batch,
    random_output,
)

CONFIG = resolve("embedded").loss
NAMES = ("loss_class", "loss_l1", "loss_giou", "loss_mask", "loss_dice")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.fixture
def criterion():
    return Criterion(CONFIG)


def terms_of(criterion, output, batch, num_boxes=None):
    """The terms, divided by the number of instances unless told otherwise."""
    return criterion(output, batch, instances_in(batch) if num_boxes is None else num_boxes)[0]


def one_instance(frames=2):
    """One clip of 8 x 8 pixels, one query, one instance that is absent from frame 1; all logits zero."""
    box = torch.tensor([0.5, 0.5, 0.5, 0.5])
    masks = torch.zeros(1, frames, 8, 8).bool()
    masks[0, 0, :4, :4] = True  # one of the four samples at stride 4
    boxes = torch.stack([box, torch.full((4,), 1e-6)])[None]
    batch = batch_of((Instances(torch.tensor([1]), boxes, masks),), ((8, 8),), frames, (8, 8))
    layer = Layer(
        torch.zeros(1, 1, 2), box.expand(1, frames, 1, 4), torch.zeros(1, 1, 5), torch.zeros(1, 1, frames, 2, 2)
    )
    return StandIn((layer,), torch.zeros(1, frames, 8, 1, 1), ()), batch


def test_every_term_equals_the_one_by_hand_and_absent_frames_count(criterion):
    output, batch = one_instance()
    terms = terms_of(criterion, output, batch)
    assert tuple(terms) == NAMES
    cross_entropy = 0.25 * math.log(2)  # (1/2)^2 * -log(1/2)
    assert terms["loss_class"].item() == pytest.approx(0.25 * cross_entropy + 0.75 * cross_entropy)
    assert terms["loss_l1"].item() == pytest.approx((0 + 4 * (0.5 - 1e-6)) / 2)
    low, high = 0.5e-6, 0.75  # hull of the box and of the absent instance's
    giou = -(((high - low) ** 2 - 0.25) / (high - low) ** 2)
    assert terms["loss_giou"].item() == pytest.approx(((1 - 1) + (1 - giou)) / 2, rel=1e-5)
    assert terms["loss_mask"].item() == pytest.approx((0.25 * 1 + 0.75 * 7) / 8 * cross_entropy)
    assert terms["loss_dice"].item() == pytest.approx(1 - (2 * 0.5 + 1) / (4 + 1 + 1))


def test_ground_truth_masks_are_sampled_at_stride_4_from_offset_2():
    mask = torch.zeros(1, 1, 9, 11).bool()
    mask[0, 0, 2, 6] = mask[0, 0, 6, 10] = True
    mask[0, 0, 3, 3] = True  # between the samples
    batch = batch_of((Instances(torch.tensor([0]), torch.rand(1, 1, 4), mask),), ((9, 11),), 1, (16, 16))
    expected = torch.zeros(1, 1, 4, 4).bool()
    expected[0, 0, 0, 1] = expected[0, 0, 1, 2] = True
    assert torch.equal(subsampled_masks(batch), expected)


def test_each_term_has_a_value_for_every_layer(criterion, generator):
    output, batch = random_output(generator, layers=3), random_batch(generator)
    terms = terms_of(criterion, output, batch)
    assert set(terms) == set(NAMES)
    for layer in range(3):
        alone = terms_of(criterion, replace(output, layers=(output.layers[layer],)), batch)
        for name in NAMES:
            torch.testing.assert_close(terms[name][layer], alone[name][0])


def test_a_batch_of_two_is_the_sum_of_its_clips(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    together = terms_of(criterion, output, batch, num_boxes=1)
    alone = [terms_of(criterion, output.clip(clip), clip_of(batch, clip), num_boxes=1) for clip in range(2)]
    for name, value in together.items():
        torch.testing.assert_close(value, alone[0][name] + alone[1][name], rtol=1e-5, atol=1e-6)


def test_terms_are_divided_by_num_boxes(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    default, undivided = terms_of(criterion, output, batch), terms_of(criterion, output, batch, num_boxes=1)
    for name, value in default.items():
        torch.testing.assert_close(value, undivided[name] / 5)


def test_total_weighs_each_term_of_every_layer(criterion):
    terms = {name: torch.tensor([10.0**i]) for i, name in enumerate(NAMES)}
    assert criterion.total(terms).item() == 2 * 1 + 5 * 10 + 2 * 100 + 2 * 1000 + 5 * 10000
    twice = {name: values.repeat(2) for name, values in terms.items()}
    assert criterion.total(twice) == 2 * criterion.total(terms)
    with pytest.raises(KeyError):
        criterion.total({"loss_unheard_of": torch.tensor([1.0])})


def test_empty_targets_leave_the_class_loss_only_and_reach_the_mask_head(criterion, generator):
    output, sizes = random_output(generator), ((64, 96), (48, 64))
    terms = terms_of(criterion, output, batch_of((no_instances(), no_instances()), sizes))
    for name, value in terms.items():
        assert ((value > 0) == (name == "loss_class")).all()
    criterion.total(terms).backward()
    for layer in output.layers:
        assert layer.logits_BNK.grad.abs().sum() > 0
        assert layer.mask_parameters_BNP.grad.abs().sum() == 0
    assert output.mask_features_BTCHW.grad is not None


def test_one_empty_clip_adds_only_its_class_loss(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    half = replace(batch, instances=(no_instances(), batch.instances[1]))
    together, alone = (
        terms_of(criterion, output, half, num_boxes=1),
        terms_of(criterion, output.clip(1), clip_of(batch, 1), num_boxes=1),
    )
    for name in ("loss_l1", "loss_giou", "loss_mask", "loss_dice"):
        torch.testing.assert_close(together[name], alone[name])
    assert (together["loss_class"] > alone["loss_class"]).all()


def test_gradients_reach_matched_queries_only_but_all_class_logits(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    terms, matches = criterion(output, batch, num_boxes=5)
    criterion.total(terms).backward()
    for index, layer in enumerate(output.layers):
        assert (layer.logits_BNK.grad != 0).all()
        for clip in range(2):
            matched = set(matches.queries(index, clip).tolist())
            for query in range(6):
                assert (layer.boxes_BTN4.grad[clip, :, query].abs().sum() > 0) == (query in matched)
                assert (layer.masks.grad[clip, query].abs().sum() > 0) == (query in matched)


def test_a_step_against_the_gradient_lowers_the_loss(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    leaves = [getattr(layer, name) for layer in output.layers for name in ("logits_BNK", "boxes_BTN4", "masks")]
    before = criterion.total(terms_of(criterion, output, batch))
    gradients = torch.autograd.grad(before, leaves)
    with torch.no_grad():
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf -= 1e-3 * gradient
    assert criterion.total(terms_of(criterion, output, batch)) < before


def test_the_same_input_gives_the_same_bits(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    first, second = terms_of(criterion, output, batch), terms_of(criterion, output, batch)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_half_precision_predictions_give_single_precision_losses(criterion, generator):
    output, batch = random_output(generator), random_batch(generator)
    exact = terms_of(criterion, output, batch)
    for layer in output.layers:
        for name in ("logits_BNK", "masks"):
            setattr(layer, name, getattr(layer, name).bfloat16())
    rounded = terms_of(criterion, output, batch)
    for name, value in rounded.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact[name], rtol=0.02, atol=0.02)


def test_masks_of_another_size_are_refused_with_the_setting_to_change(criterion, generator):
    output = random_output(generator, clips=1)
    batch = random_batch(generator, (2,), ((64, 92),), padded=(64, 92))
    with pytest.raises(InputError, match=r"Set data\.pad_multiple"):
        terms_of(criterion, output, batch)
