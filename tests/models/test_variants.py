"""What holds for the baseline and every variant that changes the model."""

import pytest
import torch

from mssts.config import resolve
from tests.models.small_model import clips, everything, filled, small_model

# A parameter without gradient, and why.
WITHOUT_GRADIENT = {"frame_weights.bias": "a softmax over frames cancels what all frames share"}


def encoded(model, tokens, shapes=((4, 6), (2, 3), (1, 2))):
    return model.encoder(tokens, model.geometry(shapes, None))


def frame_gradient(variant, target, source):
    """Gradient at the tokens `source` of a random projection of the encoder's output tokens `target`, both (T, S).

    The plain sum over channels would not do: behind a layer norm it is constant.
    """
    model = filled(small_model(variant)).eval()
    tokens = clips(1, 3, 32, 32).requires_grad_()
    (encoded(model, tokens)[0][target] * clips(32)).sum().backward()
    return tokens.grad[0][source]


def test_step_zero_equals_the_baseline(variant):
    baseline, changed = small_model("baseline", seed=3).eval(), small_model(variant, seed=4).eval()
    missing, unexpected = changed.load_state_dict(baseline.state_dict(), strict=False)
    assert not unexpected
    assert all("ms_sts" in name or "temporal" in name for name in missing)
    frames = clips(2, 3, 3, 64, 96)
    with torch.inference_mode():
        for ours, theirs in zip(everything(changed(frames)), everything(baseline(frames)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_shared_parameters_start_with_the_same_values(variant):
    baseline, changed = small_model("baseline").state_dict(), small_model(variant).state_dict()
    assert all(torch.equal(changed[name], value) for name, value in baseline.items())


def test_every_parameter_has_a_gradient(variant):
    model = filled(small_model(variant)).train()
    tensors = everything(model(clips(2, 3, 3, 64, 96)))
    sum((tensor * clips(*tensor.shape)).sum() for tensor in tensors).backward()
    without = {
        name
        for name, parameter in model.named_parameters()
        if not name.endswith(tuple(WITHOUT_GRADIENT)) and (parameter.grad is None or not parameter.grad.any())
    }
    assert without == set()


def test_the_contribution_acts_once_its_weights_are_not_zero(variant):
    if variant == "baseline":
        pytest.skip("nothing is added")
    model = small_model(variant).eval()
    frames = clips(1, 3, 3, 64, 96)
    with torch.inference_mode():
        before = model(frames).layers[-1].mask_parameters_BNP
        for name, parameter in model.named_parameters():
            if "widen" in name or "temporal.output_projection" in name:
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
        assert (model(frames).layers[-1].mask_parameters_BNP - before).abs().max() > 1e-3


def test_frames_reach_each_other_in_the_encoder_only_where_the_variant_allows_it(variant):
    section = resolve("smoke", variant).model.encoder.ms_sts
    gradient = frame_gradient(variant, target=1, source=[0, 2])
    assert bool(gradient.any()) == (section.enabled and not section.own_frame_only)
    assert frame_gradient(variant, target=1, source=1).any()


def test_a_coarse_level_of_one_frame_reaches_a_fine_level_of_another_only_between_scales(variant):
    section = resolve("smoke", variant).model.encoder.ms_sts
    fine_of_first, middle_of_last = (0, slice(0, 24)), (2, slice(24, 30))
    gradient = frame_gradient(variant, target=fine_of_first, source=middle_of_last)
    assert bool(gradient.any()) == (section.enabled and section.inter_scale and not section.own_frame_only)


def test_a_fine_level_of_one_frame_reaches_a_coarse_level_of_another_only_where_both_are_queries(variant):
    section = resolve("smoke", variant).model.encoder.ms_sts
    coarsest_of_first, finer_of_last = (0, slice(30, 32)), (2, slice(0, 30))
    gradient = frame_gradient(variant, target=coarsest_of_first, source=finer_of_last)
    assert bool(gradient.any()) == (section.enabled and section.inter_scale_form == "two_way")


def test_the_coarsest_level_of_one_frame_reaches_the_finest_of_another_only_in_a_cascade(variant):
    section = resolve("smoke", variant).model.encoder.ms_sts
    finest_of_first, coarsest_of_last = (0, slice(0, 24)), (2, slice(30, 32))
    gradient = frame_gradient(variant, target=finest_of_first, source=coarsest_of_last)
    assert bool(gradient.any()) == (section.enabled and section.inter_scale_form == "cascade")


def test_references_of_the_last_layer_depend_on_another_frame_only_where_the_decoder_attends_over_time(variant):
    """At three layers, and through the decoder alone: the encoder's tokens of the frame itself stay the same."""
    decoder = resolve("embedded", variant).model.decoder
    assert decoder.layers >= 3
    blocks = resolve("smoke", variant).model.decoder.model_copy(update={"layers": decoder.layers})
    model = filled(small_model(variant, decoder=blocks)).eval()
    shapes = ((4, 6), (2, 3), (1, 2))
    memory = clips(1, 3, 32, 32)
    replaced = torch.cat([memory[:, :2], clips(1, 1, 32, 32, seed=5)], 1)
    with torch.inference_mode():
        layout = model.geometry(shapes, None)
        before, after = (model.decoder(tokens, layout)[-1][2][:, :2] for tokens in (memory, replaced))
    change = float((before - after).abs().max())
    assert change > 1e-4 if decoder.temporal.enabled else change == 0


def test_memory_depends_on_another_frame_only_where_the_encoder_attends_over_time(variant):
    section = resolve("smoke", variant).model.encoder.ms_sts
    model = filled(small_model(variant)).eval()
    frames = clips(1, 3, 3, 64, 96)
    replaced = torch.cat([frames[:, :2], clips(1, 1, 3, 64, 96, seed=5)], 1)
    with torch.inference_mode():
        before, after = (torch.cat([level[:, :2].flatten() for level in model(x).memory]) for x in (frames, replaced))
    change = float((before - after).abs().max())
    assert change > 1e-2 if section.enabled and not section.own_frame_only else change < 1e-5


def test_clips_of_a_batch_do_not_influence_each_other(variant):
    model = filled(small_model(variant)).eval()
    frames = clips(2, 3, 3, 64, 96)
    with torch.inference_mode():
        both, alone = model(frames), model(frames[1:])
        torch.testing.assert_close(both.logits[1:], alone.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(both.boxes[1:], alone.boxes, rtol=1e-4, atol=1e-5)
        queries = torch.tensor([1, 5])
        torch.testing.assert_close(
            both.mask_logits(-1, 1, queries), alone.mask_logits(-1, 0, queries), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 96), (9, 64, 96), (2, 50, 75), (2, 33, 40)])
def test_clips_of_any_length_and_size_give_finite_outputs_of_the_right_shape(variant, frames, height, width):
    model = filled(small_model(variant)).eval()
    with torch.inference_mode():
        output = model(clips(1, frames, 3, height, width))
        masks = output.mask_logits(-1, 0, torch.tensor([2, 0, 3]))
    rows, columns = -(-height // 8), -(-width // 8)
    assert masks.shape == (3, frames, 2 * rows, 2 * columns)
    assert output.mask_features_BTCHW.shape == (1, frames, 8, rows, columns)
    assert output.logits.shape == (1, 8, 5)
    assert output.boxes.shape == (1, frames, 8, 4)
    assert all(torch.isfinite(tensor).all() for tensor in everything(output))


def test_padded_tokens_change_nothing(variant):
    """From the projected features on; before, convolutions and group norm see the padding, as in the public code."""
    model = filled(small_model(variant)).eval()
    small, large = ((8, 12), (4, 6), (2, 3)), ((12, 16), (6, 8), (3, 4))
    padding = torch.ones(1, 96, 128, dtype=torch.bool)
    padding[:, :64, :96] = False
    levels = [clips(1, 3, *shape, 32, seed=level) for level, shape in enumerate(small)]
    padded = [clips(1, 3, *shape, 32, seed=9 + level) * 5 for level, shape in enumerate(large)]
    for level, ours in zip(levels, padded, strict=True):
        ours[:, :, : level.shape[2], : level.shape[3]] = level
    with torch.inference_mode():
        layout, padded_layout = model.geometry(small, None), model.geometry(large, padding)
        memory = model.encoder(torch.cat([level.flatten(2, 3) for level in levels], 2), layout)
        padded_memory = model.encoder(torch.cat([level.flatten(2, 3) for level in padded], 2), padded_layout)
        valid = ~padded_layout.padding_BS[0]
        torch.testing.assert_close(padded_memory[:, :, valid], memory, rtol=1e-4, atol=1e-4)
        decoded, padded_decoded = model.decoder(memory, layout), model.decoder(padded_memory, padded_layout)
        for ours, theirs in zip(padded_decoded, decoded, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
