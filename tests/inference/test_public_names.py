import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mssts.config import ABLATIONS, Config, read_yaml
from mssts.core.errors import InputError
from mssts.inference.public_names import import_public, internal_names
from mssts.models import build_model, count_parameters
from mssts.models.backbones import build_backbone

DATA = Path(__file__).parents[1] / "models" / "data"


def public_shapes(case):
    return {key: tuple(shape) for key, shape in json.loads((DATA / f"{case}.keys.json").read_text()).items()}


def value_of(name, shape):
    """Value of a public entry in the parity case: normal numbers seeded by the name, scaled by its kind."""
    seed = zlib.crc32(name.replace("transformer.decoder.bbox_embed", "bbox_embed").encode())
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal(math.prod(shape)).reshape(shape)
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(normal)
    elif name.endswith("weight") and len(shape) == 1:
        values = 1 + 0.1 * normal
    elif len(shape) < 2:
        values = 0.1 * normal
    else:
        values = normal / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def full_model(backbone):
    return build_model(Config.model_validate(read_yaml(ABLATIONS / "baseline.yaml")).model, backbone, 42)


@pytest.fixture(scope="module")
def public_resnet50():
    model = full_model("resnet50").eval()
    model.load_state_dict(import_public({k: value_of(k, s) for k, s in public_shapes("r50_t2").items()}), strict=True)
    return model


def frames_of(seed, count, height, width):
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal((count, 3, height, width))
    return torch.from_numpy(normal.astype(np.float32))


def test_public_weights_give_the_public_outputs_at_inference(public_resnet50):
    expected = np.load(DATA / "r50_t2.npz")
    with torch.inference_mode():
        output = public_resnet50(frames_of(7, 2, 96, 160)[None])
        masks = output.mask_logits(-1, 0, torch.arange(30))
    np.testing.assert_allclose(output.logits[0], expected["pred_logits"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(output.boxes[0], expected["pred_boxes"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(masks, expected["pred_masks"], rtol=0, atol=1e-2)


def test_the_number_of_parameters_is_the_public_one_without_unused_layers(public_resnet50):
    never_acting = 6 * (256 * 256 + 256)  # a second output projection in each encoder layer
    assert count_parameters(public_resnet50) == 48_404_173 - never_acting
    learned = sum(p.numel() for p in public_resnet50.parameters() if p.requires_grad)
    assert learned == 48_181_773 - never_acting


def test_resnet101_takes_the_public_entries_strictly():
    state = {key: torch.zeros(shape) for key, shape in public_shapes("r101").items()}
    full_model("resnet101").load_state_dict(import_public(state), strict=True)


def test_swin_takes_the_public_entries_strictly():
    entries = {key: torch.empty(shape, device="meta") for key, shape in public_shapes("swinl").items()}
    ours = {k: v for k, v in import_public(entries).items() if k.startswith("backbone.")}
    with torch.device("meta"):
        swin = build_backbone("swin_l", None, 0)
    assert {f"backbone.{k}": v.shape for k, v in swin.state_dict().items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.long
def test_whole_swin_model_takes_the_public_entries_and_runs_on_odd_sizes():
    model = full_model("swin_l").eval()
    state = {k: value_of(k, s) for k, s in public_shapes("swinl").items() if "relative_position_index" not in k}
    model.load_state_dict(import_public(state), strict=True)
    with torch.inference_mode():
        assert torch.isfinite(model(torch.randn(1, 1, 3, 70, 101)).logits).all()


def test_joint_projection_of_swin_is_cut_into_query_key_value():
    entry = "detr.backbone.0.body.layers.2.blocks.5.attn.qkv.bias"
    names = internal_names(entry)
    assert [name.rsplit(".", 2)[-2] for name in names] == ["q_proj", "k_proj", "v_proj"]
    ours = import_public({entry: torch.arange(6)})
    assert [ours[name].tolist() for name in names] == [[0, 1], [2, 3], [4, 5]]


def test_public_entries_of_unused_layers_are_dropped_by_name():
    assert internal_names("detr.transformer.encoder.layers.3.self_attn.output_proj_box.weight") == ()
    assert internal_names("detr.backbone.0.body.norm0.bias") == ()


def test_both_public_names_of_a_box_head_mean_the_same():
    assert internal_names("detr.bbox_embed.4.layers.2.bias") == internal_names(
        "detr.transformer.decoder.bbox_embed.4.layers.2.bias"
    )


def test_an_unknown_entry_is_named():
    with pytest.raises(InputError, match=r"detr\.something\.weight"):
        import_public({"detr.something.weight": torch.zeros(1)})
