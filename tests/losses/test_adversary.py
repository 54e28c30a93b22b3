import io
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from mssts.config import resolve
from mssts.core.records import Instances
from mssts.losses import ForegroundBackgroundAdversary, Matcher
from mssts.losses.adversary import foreign_foreground, predicted_foreground, true_foreground
from tests.losses.stand_in import batch_of, no_instances, random_batch, random_output

CONFIG = resolve("embedded", "fgbg").loss
SETTINGS = CONFIG.foreground_background.model_copy(update={"min_score": 0.5})  # acts from the first step
CHANNELS = 8


def adversary_of(seed=0, settings=SETTINGS):
    return ForegroundBackgroundAdversary(settings, CHANNELS, torch.Generator().manual_seed(seed))


@pytest.fixture
def case():
    """Output, batch, and the matching of its last layer."""
    generator = torch.Generator().manual_seed(11)
    output, batch = random_output(generator, channels=CHANNELS), random_batch(generator)
    return batch, output, Matcher(CONFIG)(output, batch)


def parameters_of(adversary):
    return [parameter.detach().clone() for parameter in adversary.discriminator.parameters()]


def see_only_the_mask(adversary, scale: float) -> None:
    """Set the weights so that the logit of a patch is scale * (its largest mean over 8 x 8 pixels - 1/2)."""
    discriminator = adversary.discriminator
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.zero_()
        discriminator.mask[1].weight[0, 0, 1, 1] = 1
        for block in discriminator.blocks:
            block.weight[0, 0, 1, 1] = 1
        discriminator.head.weight[0, 0] = scale
        discriminator.head.bias[0] = -scale / 2


def full_frame_case(logit: float, foreign=False):
    """One clip whose instance covers the frame and is predicted with one logit everywhere; so does the foreign mask."""
    generator = torch.Generator().manual_seed(0)
    output = random_output(generator, clips=1, queries=1, channels=CHANNELS)
    with torch.no_grad():
        output.layers[-1].masks.fill_(logit)
    instances = Instances(torch.tensor([0]), torch.full((1, 3, 4), 0.5), torch.ones(1, 3, 64, 96).bool())
    batch = batch_of((instances,), ((64, 96),))
    batch = replace(batch, foreign_foregrounds_THW=(torch.full((3, 64, 96), foreign),))
    return batch, output, Matcher(CONFIG)(output, batch)


def discriminator_step(adversary, batch, output, matches):
    loss = adversary.discriminator_backward(batch, output, matches)
    adversary.update_score(adversary.step().item())
    return loss


def test_true_masks_are_called_real_and_predicted_and_foreign_ones_fake():
    batch, output, matches = full_frame_case(math.log(3))  # probability 3/4, seen as 1
    adversary = adversary_of()
    see_only_the_mask(adversary, 4.0)
    softplus = lambda x: math.log1p(math.exp(x))  # noqa: E731
    generator_loss = adversary.generator_loss(batch, output, matches)
    assert generator_loss.item() == pytest.approx(SETTINGS.weight * softplus(-2), rel=1e-5)  # logit 4 (1 - 1/2)
    loss = discriminator_step(adversary, batch, output, matches)
    assert loss.item() == pytest.approx(softplus(-2) + (softplus(2) + softplus(-2)) / 2, rel=1e-5)
    assert not loss.requires_grad


def test_the_generator_loss_falls_when_the_prediction_nears_the_truth():
    adversary = adversary_of()
    see_only_the_mask(adversary, 4.0)
    wrong, right = (adversary.generator_loss(*full_frame_case(logit)).item() for logit in (-0.1, 0.1))
    assert right < wrong


def test_the_model_is_left_alone_until_the_discriminator_beats_chance_on_foreign_masks():
    adversary = adversary_of(settings=SETTINGS.model_copy(update={"min_score": 0.51}))
    for foreign, score, acts in ((False, 0.51, True), (True, 0.4998, False), (False, 0.509804, False)):
        case = full_frame_case(3.0, foreign)
        see_only_the_mask(adversary, 4.0)  # prefers the mask with more pixels; none of two equal ones
        discriminator_step(adversary, *case)
        assert adversary.score == pytest.approx(score)
        loss = adversary.generator_loss(*case)
        assert ((loss.item() > 0), loss.requires_grad) == (acts, acts)
    assert adversary.steps_acted == 1


def test_the_score_of_a_step_counts_the_clips_of_all_its_micro_batches():
    adversary = adversary_of()
    see_only_the_mask(adversary, 4.0)
    for foreign in (False, False, True, False):
        adversary.discriminator_backward(*full_frame_case(3.0, foreign), share=1 / 4)
    adversary.update_score(adversary.step().item())
    assert adversary.score == pytest.approx(0.98 * 0.5 + 0.02 * 3 / 4)


def test_the_discriminator_is_frozen_in_the_generator_loss(case):
    adversary = adversary_of()
    before = parameters_of(adversary)
    adversary.generator_loss(*case).backward()
    for parameter, old in zip(adversary.discriminator.parameters(), before, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, old)
        assert parameter.requires_grad


def test_the_generator_loss_reaches_matched_masks_only(case):
    batch, output, matches = case
    adversary_of().generator_loss(batch, output, matches).backward()
    first, last = output.layers
    for clip in range(2):
        for query in range(6):
            reached = bool((last.masks.grad[clip, query] != 0).any())
            assert reached == (query in matches.queries(-1, clip).tolist())
    assert all(level.grad is None for level in output.memory)  # the features that a mask is compared with
    assert first.masks.grad is None
    assert last.logits_BNK.grad is None and last.boxes_BTN4.grad is None


def test_the_discriminator_step_trains_the_discriminator_only(case):
    batch, output, matches = case
    adversary = adversary_of()
    before = parameters_of(adversary)
    discriminator_step(adversary, batch, output, matches)
    for parameter, old in zip(adversary.discriminator.parameters(), before, strict=True):
        assert not torch.equal(parameter, old)
        assert parameter.grad is None
    assert all(leaf.grad is None for leaf in (*output.memory, output.layers[-1].masks))


def test_the_discriminator_learns_to_tell_true_from_predicted(case):
    adversary = adversary_of()
    losses = [discriminator_step(adversary, *case).item() for _ in range(60)]
    chance = 2 * math.log(2)
    assert losses[0] > 0.8 * chance
    assert losses[-1] < 0.5 * chance


def test_every_parameter_of_the_discriminator_has_a_gradient(case):
    batch, output, _ = case
    discriminator = adversary_of().discriminator
    frames = F.avg_pool2d(batch.frames_BT3HW.flatten(0, 1), 8)
    features = tuple(level.detach().flatten(0, 1) for level in output.memory)
    discriminator(frames, features, true_foreground(batch).to(frames)[None]).sum().backward()
    assert all((parameter.grad != 0).any() for parameter in discriminator.parameters())


def test_true_foreground_is_the_union_at_stride_4():
    masks = torch.zeros(2, 1, 16, 24).bool()
    masks[0, 0, :8, :8] = True
    masks[1, 0, :4, :16] = True  # overlaps the first
    batch = batch_of((Instances(torch.tensor([0, 0]), torch.rand(2, 1, 4), masks),), ((16, 24),), 1, (32, 32))
    expected = torch.zeros(1, 1, 8, 8).bool()
    expected[0, 0, :2, :2] = expected[0, 0, 0, :4] = True
    assert torch.equal(true_foreground(batch), expected)


def test_predicted_foreground_is_the_hard_union_of_the_matched_instances_with_the_gradient_of_the_soft_one(case):
    batch, output, matches = case
    masks = output.layers[-1].masks
    weights = torch.rand(6, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    foreground = predicted_foreground(batch, output, matches)
    (gradient,) = torch.autograd.grad((foreground * weights).sum(), masks)
    assert set(foreground.unique().tolist()) == {0.0, 1.0}
    soft = torch.zeros(2, 3, 16, 24)
    for clip, (height, width) in enumerate((length // 4 for length in size) for size in batch.sizes):
        chosen = masks[clip, matches.queries(-1, clip), :, :height, :width]
        soft[clip, :, :height, :width] = 1 - (1 - chosen.sigmoid()).prod(0)
        hard = torch.zeros(3, 16, 24)
        hard[:, :height, :width] = (chosen.sigmoid() > 0.5).any(0)
        assert torch.equal(foreground.unflatten(0, (2, 3))[clip, :, 0], hard)
    (expected,) = torch.autograd.grad((soft.flatten(0, 1)[:, None] * weights).sum(), masks)
    torch.testing.assert_close(gradient, expected)


def test_no_mask_shows_anything_in_the_padding():
    """The clip of 61 x 90 pixels has samples in 15 rows and 22 columns of 16 x 24."""
    generator = torch.Generator().manual_seed(0)
    output = random_output(generator, clips=1, queries=1, channels=CHANNELS)
    with torch.no_grad():
        output.layers[-1].masks.fill_(9.0)
    instances = Instances(torch.tensor([0]), torch.full((1, 3, 4), 0.5), torch.ones(1, 3, 61, 90).bool())
    batch = replace(batch_of((instances,), ((61, 90),)), foreign_foregrounds_THW=(torch.ones(3, 61, 90).bool(),))
    expected = torch.zeros(3, 1, 16, 24)
    expected[..., :15, :22] = 1
    predicted = predicted_foreground(batch, output, Matcher(CONFIG)(output, batch))
    for mask in (true_foreground(batch), foreign_foreground(batch), predicted):
        assert torch.equal(mask.float(), expected)


def test_a_clip_without_instances_has_no_foreground():
    generator = torch.Generator().manual_seed(2)
    output, batch = random_output(generator, channels=CHANNELS), random_batch(generator)
    batch = replace(batch, instances=(no_instances(), batch.instances[1]))
    matches = Matcher(CONFIG)(output, batch)
    assert predicted_foreground(batch, output, matches)[:3].abs().sum() == 0
    assert not true_foreground(batch)[:3].any()
    adversary = adversary_of()
    assert discriminator_step(adversary, batch, output, matches).isfinite()
    assert adversary.generator_loss(batch, output, matches).isfinite()


def test_certain_masks_have_finite_gradients():
    batch, output, matches = full_frame_case(500.0)
    adversary_of().generator_loss(batch, output, matches).backward()
    assert output.layers[-1].masks.grad.isfinite().all()


def test_one_seed_gives_the_same_bits_and_another_does_not(case):
    state = torch.random.get_rng_state()
    first, second, other = adversary_of(1), adversary_of(1), adversary_of(2)
    assert torch.equal(state, torch.random.get_rng_state())  # nothing draws from the global generator
    for adversary in (first, second):
        for _ in range(3):
            discriminator_step(adversary, *case)
    pairs = zip(parameters_of(first), parameters_of(second), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(parameters_of(first)[0], parameters_of(other)[0])


def test_training_goes_on_from_a_saved_state_as_if_never_stopped(case):
    straight, stopped = adversary_of(1), adversary_of(1)
    for adversary in (straight, stopped):
        discriminator_step(adversary, *case)
    buffer = io.BytesIO()
    torch.save(stopped.state_dict(), buffer)
    buffer.seek(0)
    resumed = adversary_of(7)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    for adversary in (straight, resumed):
        discriminator_step(adversary, *case)
    pairs = zip(parameters_of(straight), parameters_of(resumed), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert straight.score == resumed.score != adversary_of().score
    assert straight.steps_acted == resumed.steps_acted > 0


def test_masks_judged_together_get_the_verdicts_they_get_alone(case):
    batch, output, _ = case
    discriminator = adversary_of().discriminator
    frames = F.avg_pool2d(batch.frames_BT3HW.flatten(0, 1), 8)
    features = tuple(level.detach().flatten(0, 1) for level in output.memory)
    masks = torch.rand(2, 6, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    together = discriminator(frames, features, masks)
    for mask, verdict in zip(masks, together, strict=True):
        torch.testing.assert_close(discriminator(frames, features, mask[None])[0], verdict)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize(("height", "width"), [(64, 96), (72, 104), (360, 640)])
def test_frames_of_any_size_divisible_by_8_are_judged(height, width):
    generator = torch.Generator().manual_seed(0)
    discriminator = adversary_of().discriminator
    sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in (8, 16, 32)]
    features = tuple(torch.randn(2, CHANNELS, *size, generator=generator) for size in sizes)
    logits = discriminator(torch.zeros(2, 3, *sizes[0]), features, torch.zeros(1, 2, 1, height // 4, width // 4))
    assert logits.shape == (1, 2, 1, *sizes[2])
