"""A training starts from what its configuration says, and from weights of its own architecture only."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from mssts.config import Config, canonical, resolve
from mssts.core.checkpoint import save_checkpoint
from mssts.core.checkpoint_values import read_values
from mssts.core.errors import InputError
from mssts.core.files import read_json
from mssts.models import build_model
from mssts.training import run as stage
from mssts.training.run import load_start
from mssts.training.start import initial_checkpoint
from tests.training.conftest import training

CATEGORIES = [(1, "circle"), (2, "square")]
VARIANT = "ms_sts_temporal"


def changed(config, **values):
    """The configuration with other values of dotted keys; dots are written as two underscores."""
    tree = config.model_dump(by_alias=True)
    for dotted, value in values.items():
        *parents, last = dotted.split("__")
        node = tree
        for parent in parents:
            node = node[parent]
        node[last] = value
    return Config.model_validate(tree)


def model_of(config, classes=2, seed=1):
    return build_model(config.model, "tiny", classes, torch.Generator().manual_seed(seed))


def content_of(config, categories=CATEGORIES):
    """Content of the checkpoint of a run with that configuration."""
    weights = model_of(config, len(categories), seed=7).state_dict()
    return {"model": weights, "backbone": "tiny", "categories": categories, "config": canonical(config)}


def run_of(variant=VARIANT, init="pretrain"):
    run = training(variant)
    return replace(run, config=changed(run.config, train__init=init))


def load(tmp_path, content, run=None, categories=CATEGORIES):
    """The model of a run after its start, and before it."""
    save_checkpoint(tmp_path / "start.pt", content)
    run = run or run_of()
    model = model_of(run.config, len(categories))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    load_start(model, tmp_path / "start.pt", run, categories)
    return model.state_dict(), before


def test_modules_that_a_variant_adds_keep_their_initial_values_and_no_other(tmp_path, variant):
    content = content_of(resolve("smoke"))
    after, before = load(tmp_path, content, run_of(variant))
    assert content["model"].keys() <= after.keys()
    for name, weight in after.items():
        assert torch.equal(weight, content["model"].get(name, before[name])), name


def test_class_heads_of_other_categories_keep_their_initial_values(tmp_path):
    content = content_of(resolve("smoke"), [(1, "circle"), (2, "square"), (3, "star")])
    after, before = load(tmp_path, content)
    assert torch.equal(after["class_heads.0.weight"], before["class_heads.0.weight"])
    assert torch.equal(after["decoder.query_embedding"], content["model"]["decoder.query_embedding"])


def test_a_start_of_the_same_variant_is_taken_whole(tmp_path):
    content = content_of(resolve("smoke", VARIANT))
    after, _ = load(tmp_path, content)
    assert all(torch.equal(weight, content["model"][name]) for name, weight in after.items())


@pytest.mark.parametrize(
    "lost",
    ["backbone.blocks.1.conv1.weight", "backbone.stem.1.running_mean", "decoder.query_embedding", "class_heads.1.bias",
     "encoder.layers.0.branches.deformable.output_projection.bias", "mask_features.merge.0.weight"],
)  # fmt: skip
def test_a_start_without_a_weight_that_all_variants_share_is_refused(tmp_path, lost):
    content = content_of(resolve("smoke"))
    del content["model"][lost]
    with pytest.raises(InputError, match=rf"start\.pt: weights do not fit: 1 missing, such as {lost}"):
        load(tmp_path, content)


OTHERS = {
    "heads": ({"model__heads": 2, "model__points": 4}, "model.heads 2, not 4; model.points 4, not 2"),
    "queries": ({"model__queries": 9}, "model.queries 9, not 8"),
    "encoder layers": ({"model__encoder__layers": 2}, "model.encoder.layers 2, not 1"),
    "decoder layers": ({"model__decoder__layers": 3}, "model.decoder.layers 3, not 2"),
    "heads of the module": (
        {"model__encoder__ms_sts__enabled": True, "model__encoder__ms_sts__heads": 2},
        "model.encoder.ms_sts.heads 2, not 4",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("init", ["pretrain", "weights/mine.pt"])
def test_a_start_of_another_architecture_is_refused_with_what_to_do(tmp_path, other, init):
    changes, found = OTHERS[other]
    with pytest.raises(InputError) as caught:
        load(tmp_path, content_of(changed(resolve("smoke"), **changes)), run_of(init=init))
    assert f"start.pt: is of another architecture than this model: {found}" in str(caught.value)
    assert ("Run the pre-training" in str(caught.value)) == (init == "pretrain")


def test_a_start_may_have_sampled_in_another_way(tmp_path):
    after, _ = load(
        tmp_path, content := content_of(changed(resolve("smoke"), model__deformable_sampling="grid_sample"))
    )
    assert torch.equal(after["decoder.query_embedding"], content["model"]["decoder.query_embedding"])


def test_a_start_of_another_backbone_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is of backbone resnet50, but the model has tiny\. Set train\.init to"):
        load(tmp_path, content_of(resolve("smoke")) | {"backbone": "resnet50"}, run_of(init="weights/mine.pt"))


def test_a_start_with_modules_that_the_variant_lacks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"weights do not fit: \d+ not in this model, such as .*ms_sts"):
        load(tmp_path, content_of(resolve("smoke", "ms_sts")), run_of("baseline"))


@pytest.mark.parametrize("lost", ["backbone", "config"])
def test_a_start_that_does_not_say_what_it_is_is_refused(tmp_path, lost):
    content = content_of(resolve("smoke"))
    del content[lost]
    with pytest.raises(InputError, match=rf"start\.pt: {lost}: found nothing, expected str"):
        load(tmp_path, content)


def test_values_of_a_checkpoint_are_read_without_its_tensors(tmp_path):
    content = content_of(resolve("smoke"))
    save_checkpoint(tmp_path / "start.pt", content)
    values = read_values(tmp_path / "start.pt")
    assert values.pop("model").keys() == content.pop("model").keys()
    assert values == content


class Harm:
    """An object whose unpickling would write a file."""

    def __reduce__(self):
        return open, ("harm", "w")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18), Harm()])
def test_a_file_that_is_no_checkpoint_is_refused_and_not_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "start.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"start\.pt: damaged or not a checkpoint"):
        read_values(path)
    assert not (tmp_path / "harm").exists()


def test_the_command_line_and_the_configuration_must_agree_on_a_start(tmp_path):
    for start in ("imagenet", "none"):
        assert initial_checkpoint(run_of(init=start), None) is None
        with pytest.raises(InputError, match=f"but .* starts from no checkpoint .train.init: {start}"):
            initial_checkpoint(run_of(init=start), tmp_path / "start.pt")
    with pytest.raises(InputError, match="--init: missing"):
        initial_checkpoint(run_of(), None)
    mine = tmp_path / "mine.pt"
    with pytest.raises(InputError, match=r"mine\.pt: no such checkpoint\. Set train\.init to"):
        initial_checkpoint(run_of(init=str(mine)), None)
    mine.touch()
    assert initial_checkpoint(run_of(init=str(mine)), None) == mine


def test_a_training_without_a_start_says_so_in_its_record(data, tmp_path):
    stage.train(run_of("baseline", "none"), data, tmp_path)
    record = read_json(tmp_path / "run.json")
    assert (record["start"], record["initial_checkpoint_sha256"]) == ("none", None)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["loss"] > 0


def test_imagenet_is_refused_for_a_backbone_without_such_weights(data, tmp_path):
    with pytest.raises(InputError, match=r"train\.init: found imagenet, but there are no ImageNet weights of backbone"):
        stage.train(run_of("baseline", "imagenet"), data, tmp_path)


def pytest_generate_tests(metafunc):
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", ["baseline", "ms_sts", "temporal", "ms_sts_intra", "ms_sts_temporal_fgbg"])
