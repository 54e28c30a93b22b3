"""Public checkpoints become ours: whole, strictly, with the public figures, and without running code of the file."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import mssts
from mssts.cli import main
from mssts.config import Config
from mssts.core.errors import InputError
from mssts.data.datasets import entry
from mssts.inference.import_weights import import_weights
from mssts.inference.predict import load_run_model, predict_video
from mssts.models import build_model
from mssts.training.record import TrainingRun
from mssts.training.run import load_start
from tests.models.data import fill

DATA = Path(__file__).parents[1] / "models" / "data"


def public_state(case="r50_t2"):
    return fill.state_dict(json.loads((DATA / f"{case}.keys.json").read_text()))


def light_state():
    """Entries of a public checkpoint of one encoder and one decoder layer; every tensor is one stored zero."""
    shapes = json.loads((DATA / "r50_t2.keys.json").read_text())
    further = re.compile(r"detr\.(transformer\.(en|de)coder\.)?(layers|bbox_embed|class_embed)\.[1-5]\.")
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items() if not further.match(name)}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A public checkpoint file as the public training writes it, and its entries."""
    path, state = tmp_path_factory.mktemp("public") / "r50.pth", public_state()
    torch.save({"model": state, "optimizer": {}, "epoch": 11, "args": argparse.Namespace(lr=2e-4)}, path)
    return path, state


@pytest.fixture(scope="module")
def imported(public):
    output = public[0].with_name("ours.pt")
    dropped = import_weights(public[0], output)
    assert dropped == [name for name in public[1] if ".output_proj_box." in name and ".encoder." in name]
    return output


def saved(tmp_path, state):
    torch.save({"model": state}, tmp_path / "public.pth")
    return tmp_path / "public.pth"


def training(config):
    """A training of the baseline that may start from an imported checkpoint."""
    return TrainingRun("train", "paper-2021", "ytvis2021", "resnet50", "baseline", 1, 1, config)


def test_imported_weights_give_the_public_outputs(imported):
    model = mssts.load_model(imported).network
    assert not model.training
    expected = np.load(DATA / "r50_t2.npz")
    with torch.inference_mode():
        out = model(fill.frames(7, 2, 96, 160)[None], padding_mask=None)
        masks = out.mask_logits(-1, 0, torch.arange(30))
    assert out.logits.shape == (1, 300, 42) and out.boxes.shape == (1, 2, 300, 4)
    np.testing.assert_allclose(out.logits[0], expected["pred_logits"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(out.boxes[0], expected["pred_boxes"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(masks, expected["pred_masks"], rtol=0, atol=1e-2)


def test_prediction_never_emits_the_logits_that_are_no_category(imported):
    model, config, categories = load_run_model(imported)
    assert [i for i, (_, name) in enumerate(categories) if not name] == [0, 41]
    assert categories[24] == (24, "fox")
    with torch.no_grad():
        for head in model.class_heads:
            head.bias[[0, 41]] = 50.0
    results, _ = predict_video(model, fill.frames(7, 1, 64, 96), 1, (64, 96), categories, config.predict)
    assert len(results) == 10
    assert {entry["category_id"] for entry in results} <= set(range(1, 41))


def test_a_head_by_category_name_fits_training_on_another_year(tmp_path):
    state, rows = light_state(), torch.randn(42, 256)
    state["detr.class_embed.0.weight"] = rows
    import_weights(saved(tmp_path, state), tmp_path / "ours.pt", class_head="ytvis2021")
    model, config, categories = load_run_model(tmp_path / "ours.pt")
    assert tuple(categories) == entry("ytvis2021").categories
    ids_2019 = {name: number for number, name in entry("ytvis2019").categories}
    for logit, (_, name) in enumerate(categories):
        expected = rows[ids_2019[name]] if name in ids_2019 else torch.zeros(256)
        torch.testing.assert_close(model.class_heads[0].weight[logit].detach(), expected)
    load_start(model, tmp_path / "ours.pt", training(config), entry("ytvis2021").categories)


def test_a_coco_head_is_taken_by_the_corrected_map(tmp_path):
    state = light_state()
    for name in [name for name in state if "class_embed" in name]:
        state[name] = torch.arange(91.0).view(91, *[1] * (state[name].ndim - 1)).expand(91, *state[name].shape[1:])
    import_weights(saved(tmp_path, state), tmp_path / "ours.pt", class_head="ytvis2019")
    bias = load_run_model(tmp_path / "ours.pt")[0].class_heads[0].bias.tolist()
    ids = {name: number - 1 for number, name in entry("ytvis2019").categories}
    assert bias[ids["person"]] == 1
    assert bias[ids["motorbike"]] == 3  # mean of bicycle, 2, and motorcycle, 4
    assert bias[ids["fox"]] == bias[ids["mouse"]] == pytest.approx(-4.595, abs=1e-3)  # no source in COCO: untrained


def test_weights_without_a_class_head_are_a_start_for_training_only(tmp_path):
    dropped = import_weights(saved(tmp_path, light_state()), tmp_path / "ours.pt", class_head="drop")
    assert sum("class_embed" in name for name in dropped) == 2
    with pytest.raises(InputError, match="without a class head"):
        mssts.load_model(tmp_path / "ours.pt")
    config = Config.model_validate_json(torch.load(tmp_path / "ours.pt", weights_only=True)["config"])
    model = build_model(config.model, "resnet50", 40)
    load_start(model, tmp_path / "ours.pt", training(config), entry("ytvis2021").categories)
    assert not model.decoder.query_embedding.any()  # taken
    assert model.class_heads[0].weight.any()  # its own


POISON = {
    "missing": (
        lambda s: s.pop("detr.query_embed.weight"),
        "no entry of the file gives decoder.query_embedding",
    ),
    "unknown": (lambda s: s.update({"detr.extra": torch.zeros(1)}), "unknown entry 'detr.extra'"),
    "shape": (lambda s: s.update({"controller.layers.2.bias": torch.zeros(170)}), r"found shape \(170,\).*\(169,\)"),
    "scalar": (
        lambda s: s.update({"detr.query_embed.weight": torch.tensor(1.0)}),
        r"query_embed.weight: found shape \(\)",
    ),
    "scalar class head": (lambda s: s.update({"detr.class_embed.0.bias": torch.tensor(1.0)}), "found 1 class logits"),
    "view": (
        lambda s: s.update({"detr.query_embed.weight": torch.ones(1).expand(2**40)}),
        r"found shape \(1099511627776,\)",
    ),
    "twins differ": (
        lambda s: s.update({"detr.bbox_embed.0.layers.0.bias": torch.ones(256)}),
        "differs from detr.*bbox_embed.0.layers.0.bias",
    ),
    "classes": (
        lambda s: s.update({n: s[n][:20] for n in s if "class_embed" in n}),
        "found 20 class logits, expected 42 or 91",
    ),
    "no backbone": (lambda s: [s.pop(n) for n in list(s) if ".backbone." in n], "unknown backbone"),
    "no class head": (
        lambda s: [s.pop(n) for n in list(s) if "class_embed" in n],
        "no entry of the file gives class_heads",
    ),
}


@pytest.mark.parametrize("name", POISON)
def test_public_entries_that_do_not_fit_are_refused_with_the_reason(tmp_path, name):
    change, message = POISON[name]
    state = light_state()
    change(state)
    with pytest.raises(InputError, match=message):
        import_weights(saved(tmp_path, state), tmp_path / "ours.pt")
    assert not (tmp_path / "ours.pt").exists()


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"model": Harm()}, tmp_path / "public.pth")
    with pytest.raises(InputError, match=r"it contains a posix\.mkdir, which is neither a tensor nor a plain value"):
        import_weights(tmp_path / "public.pth", tmp_path / "ours.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\xef\xbb\xbfPK", {"state": {}}, [1]])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "public.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=r"public\.pth: (cannot be loaded \(damaged|found)") as error:
        import_weights(path, tmp_path / "ours.pt")
    assert "weights_only" not in str(error.value) and "EOFError" not in str(error.value)


def test_the_command_says_what_it_dropped(tmp_path, monkeypatch, capsys):
    public = str(saved(tmp_path, light_state()))
    monkeypatch.setattr("sys.argv", ["mssts", "import-weights", public, "--output", str(tmp_path / "ours.pt")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "dropped: detr.transformer.encoder.layers.0.self_attn.output_proj_box.weight" in said
    assert "ours.pt: written. 2 entries of the public checkpoint" in said


@pytest.mark.parametrize(("case", "backbone"), [("r101", "resnet101"), ("swinl", "swin_l")])
@pytest.mark.long
def test_larger_backbones_are_recognised_and_load_strictly(tmp_path, case, backbone):
    import_weights(saved(tmp_path, public_state(case)), tmp_path / "ours.pt")
    assert torch.load(tmp_path / "ours.pt", weights_only=True)["backbone"] == backbone
    with torch.inference_mode():
        output = mssts.load_model(tmp_path / "ours.pt").network(torch.randn(1, 1, 3, 70, 101))
    assert torch.isfinite(output.logits).all()
