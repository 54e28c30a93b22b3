import pytest
import torch

from mssts.backbones import BACKBONES, Backbone
from mssts.config import ABLATIONS, Config, resolve
from mssts.core.errors import InputError
from mssts.core.yaml_files import read_yaml
from mssts.models import build_model, count_parameters
from mssts.models.ms_sts import resample
from mssts.models.position import frame_encoding, padded_grid, unpadded_grid
from mssts.ops.attention import DeformableSampling, ScaledDotProduct
from mssts.study.resolve import single_run
from tests.models.small_model import clips, filled, small_model


def test_a_padding_mask_without_padding_changes_nothing():
    model = filled(small_model("ms_sts_temporal")).eval()
    frames = clips(1, 2, 3, 64, 96)
    with torch.inference_mode():
        unmasked, masked = model(frames), model(frames, torch.zeros(1, 2, 64, 96, dtype=torch.bool))
    assert torch.equal(unmasked.logits, masked.logits)
    assert torch.equal(unmasked.sizes_B2, masked.sizes_B2)


def test_a_padded_clip_does_not_change_the_full_clip_beside_it():
    model = filled(small_model("ms_sts_temporal")).eval()
    padding = torch.zeros(2, 2, 64, 96, dtype=torch.bool)
    padding[1, :, 40:], padding[1, :, :, 70:] = True, True
    with torch.inference_mode():
        output = model(clips(2, 2, 3, 64, 96), padding)
        masks = output.mask_logits(0, 1, torch.tensor([4]))
        alone = model(clips(2, 2, 3, 64, 96)[:1])
    assert output.sizes_B2.tolist() == [[96.0, 64.0], [70.0, 40.0]]
    assert torch.isfinite(masks).all()
    torch.testing.assert_close(output.logits[:1], alone.logits, rtol=1e-4, atol=1e-4)


def test_last_refinement_starts_from_detached_boxes_and_the_first_does_not():
    model = filled(small_model("baseline")).eval()
    output = model(clips(1, 2, 3, 64, 96))
    assert output.layers[0].references_BTN2.requires_grad
    assert not output.layers[1].references_BTN2.requires_grad
    assert torch.equal(output.layers[1].references_BTN2, output.layers[0].boxes_BTN4[..., :2])


def test_a_fourth_level_is_half_the_third():
    model = small_model("baseline", levels=4).eval()
    with torch.inference_mode():
        memory = model(clips(1, 2, 3, 64, 96)).memory
    assert [tuple(level.shape) for level in memory] == [
        (1, 2, 32, 8, 12),
        (1, 2, 32, 4, 6),
        (1, 2, 32, 2, 3),
        (1, 2, 32, 1, 2),
    ]


def test_a_model_can_be_trained_after_it_ran_in_inference_mode():
    model = small_model("ms_sts_temporal")
    frames = clips(1, 2, 3, 56, 88)
    with torch.inference_mode():
        model(frames)
    model(frames).boxes.sum().backward()


def test_start_values_depend_on_the_generator_alone():
    state = torch.get_rng_state()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = small_model("ms_sts", seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = small_model("ms_sts", seed=1).state_dict()
    other = small_model("ms_sts", seed=2).state_dict()
    torch.set_rng_state(state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.stem.0.weight"], other["backbone.stem.0.weight"])
    assert not torch.equal(first["decoder.query_embedding"], other["decoder.query_embedding"])


def test_contributions_add_the_published_size_at_the_paper_scale():
    config = Config.model_validate(read_yaml(ABLATIONS / "baseline.yaml")).model
    ms_sts = config.encoder.ms_sts.model_copy(update={"enabled": True})
    temporal = config.decoder.temporal.model_copy(update={"enabled": True})
    full = config.model_copy(
        update={
            "encoder": config.encoder.model_copy(update={"ms_sts": ms_sts}),
            "decoder": config.decoder.model_copy(update={"temporal": temporal}),
        }
    )
    added = count_parameters(build_model(full, "tiny", 40)) - count_parameters(build_model(config, "tiny", 40))
    assert added == pytest.approx(1.3e6, abs=0.15e6)


def test_an_unknown_backbone_is_refused_with_what_resembles_it():
    with pytest.raises(InputError, match=r"backbone: found 'resnet51'; did you mean 'resnet50'\?"):
        build_model(resolve("smoke", "baseline").model, "resnet51", 5)


def test_a_new_backbone_is_one_entry(root, monkeypatch):
    mini = Backbone("tiny", (8, 12, 16), {"widths": (4, 6, 8, 12, 16)}, has_weights=False)
    monkeypatch.setitem(BACKBONES, "mini", mini)
    study = single_run("synthvis", "mini", "ms_sts", "smoke", 1, root / "ablations")
    run = study.training("synthvis", "mini", "ms_sts", 1)
    model = build_model(run.config.model, run.backbone, 5)
    assert model(torch.zeros(1, 2, 3, 64, 96)).logits.shape == (1, 8, 5)


def test_frames_of_a_wrong_shape_are_named():
    model = small_model("baseline")
    with pytest.raises(InputError, match=r"\(2, 3, 64, 96\)"):
        model(torch.zeros(2, 3, 64, 96))
    with pytest.raises(InputError, match=r"padding mask: found shape \(1, 64, 96\)"):
        model(torch.zeros(1, 2, 3, 64, 96), torch.zeros(1, 64, 96, dtype=torch.bool))


def test_location_code_counts_valid_cells_only():
    padding = torch.zeros(1, 2, 4, dtype=torch.bool)
    padding[:, :, 3] = True
    whole = unpadded_grid(((2, 3),), 8, torch.device("cpu")).sines_BSC.view(2, 3, 8)
    padded = padded_grid([padding], 8).sines_BSC.view(2, 4, 8)
    torch.testing.assert_close(padded[:, :3], whole)
    # First cell of three: y = 0.5 / 2, x = 0.5 / 3 of a turn; first the sine and cosine of y.
    angles = torch.tensor([0.25, 1 / 6]) * 2 * torch.pi
    torch.testing.assert_close(whole[0, 0, [0, 4]], angles.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(whole[0, 0, [1, 5]], angles.cos(), atol=1e-5, rtol=0)


def test_frame_encoding_spans_the_clip_whatever_its_length():
    short, long = (frame_encoding(frames, 16, torch.device("cpu")) for frames in (3, 5))
    torch.testing.assert_close(short, long[[0, 2, 4]])


def test_resampling_gives_no_weight_to_padding():
    coarse = torch.tensor([1.0, 1.0, 99.0, 99.0]).view(1, 4, 1, 1)  # rows of 2 x 2: the second row is padded
    padding = torch.tensor([[False, False, True, True]])
    fine = resample(coarse, (2, 2), (4, 4), padding).view(4, 4)
    torch.testing.assert_close(fine[:3], torch.ones(3, 4))


def test_attention_maps_find_the_modules_that_they_hook():
    model = small_model("ms_sts_temporal").eval()
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, (DeformableSampling, ScaledDotProduct)):
            module.register_forward_hook(lambda _, inputs, __, name=name: seen.update({name: inputs}))
    with torch.inference_mode():
        model(clips(1, 3, 3, 64, 96))
    locations, weights = seen["decoder.layers.1.cross_attention.sample"][1:]
    assert locations.shape == (1, 3, 8, 4, 3, 2, 2)
    torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(1, 3, 8, 4))
    stages = "encoder.layers.0.branches.ms_sts.stages"
    assert seen[f"{stages}.intra_scale.attend"][0].shape == (126, 4, 3, 4)
    assert seen[f"{stages}.inter_scale.attend_pair"][1].shape == (120, 4, 6, 4)
    assert seen[f"{stages}.inter_scale.attend_coarsest"][1].shape == (6, 4, 3, 4)
    assert seen["decoder.layers.0.temporal.attend"][0].shape == (8, 4, 3, 4)
