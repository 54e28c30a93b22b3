"""Registered encoder branches and decoder blocks: from a variant's file to the model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from mssts.config import ABLATIONS, Positive, Section, canonical, digest, resolve
from mssts.core.errors import InputError
from mssts.models import build_model, count_parameters
from mssts.models.parts import Part
from mssts.models.registry import BLOCKS, BRANCHES
from mssts.study.complexity import parameters
from mssts.study.parts import check_parts
from mssts.study.resolve import load_study
from tests.models.small_model import clips, everything

SOURCE = Path("variants/own.yaml")


class OwnSection(Section):
    width: Positive


class OwnBranch(nn.Module):
    """A convolution, whose initial values torch draws from its global generator, and a linear layer of zeros."""

    def __init__(self, section, model):
        super().__init__()
        self.narrow = nn.Conv1d(model.hidden_dim, section.width, 1)
        self.widen = nn.Linear(section.width, model.hidden_dim)

    def initialise(self, generator):
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, tokens_BTSC, layout):
        narrow = self.narrow(tokens_BTSC.flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        return self.widen(narrow).view(tokens_BTSC.shape)


class OwnBlock(OwnBranch):
    def forward(self, instances_BNC, boxes_BTNC, memory_BTSC, layout):
        return instances_BNC, boxes_BTNC + super().forward(boxes_BTNC, layout)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(BRANCHES, "parts", {"own": Part(OwnSection, OwnBranch)})
    monkeypatch.setattr(BLOCKS, "parts", {"own_block": Part(OwnSection, OwnBlock)})


def changed(ablations, changes):
    """Study `smoke` with a variant `own` that has these changes, resolved."""
    content = {"title": "Own", "question": "What if?", "source": "[ours]", "changes": changes}
    (ablations / "variants/own.yaml").write_text(yaml.safe_dump(content))
    study = yaml.safe_load((ablations / "studies/smoke.yaml").read_text())
    (ablations / "studies/smoke.yaml").write_text(yaml.safe_dump(study | {"variants": ["baseline", "own"]}))
    return load_study("smoke", ablations)


@pytest.fixture
def ablations(tmp_path):
    return shutil.copytree(ABLATIONS, tmp_path / "ablations")


BOTH = {"model.encoder.branches": {"own": {"width": 8}}, "model.decoder.blocks": {"own_block": {"width": 4}}}


def test_a_variant_adds_branch_and_block(ablations):
    study = changed(ablations, BOTH)
    baseline, own = (build_model(study.configs[name].model, "tiny", 5).eval() for name in ("baseline", "own"))
    added = own.state_dict().keys() - baseline.state_dict().keys()
    assert {name.rsplit(".", 2)[0] for name in added} == {
        "encoder.layers.0.branches.own",
        "decoder.layers.0.blocks.own_block",
        "decoder.layers.1.blocks.own_block",
    }
    frames = clips(1, 2, 3, 64, 96)
    with torch.inference_mode():
        for ours, theirs in zip(everything(own(frames)), everything(baseline(frames)), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        for name, parameter in own.named_parameters():
            if "own" in name and "widen" in name:
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
        ours, theirs = (model(frames).layers[-1].mask_parameters_BNP for model in (own, baseline))
        assert (ours - theirs).abs().max() > 1e-3


def test_shared_parameters_start_with_the_same_values_and_own_ones_follow_the_seed(ablations):
    config = changed(ablations, BOTH).configs["own"].model
    baseline = build_model(resolve("smoke").model, "tiny", 5, torch.Generator().manual_seed(3)).state_dict()
    models = []
    for _ in range(2):
        torch.rand(7)  # whatever was drawn before must not matter
        models.append(build_model(config, "tiny", 5, torch.Generator().manual_seed(3)).state_dict())
    assert all(torch.equal(models[0][name], value) for name, value in baseline.items())
    assert all(torch.equal(models[0][name], value) for name, value in models[1].items())
    other = build_model(config, "tiny", 5, torch.Generator().manual_seed(4)).state_dict()
    name = "encoder.layers.0.branches.own.narrow.weight"
    assert not torch.equal(models[0][name], other[name])


def test_complexity_counts_own_parts(ablations):
    study = changed(ablations, BOTH)
    sizes = {name: parameters(config.model, "tiny", "synthvis") for name, config in study.configs.items()}
    assert sizes["own"] == count_parameters(build_model(study.configs["own"].model, "tiny", 5))
    channels = resolve("smoke").model.hidden_dim
    assert sizes["own"] - sizes["baseline"] == sum(2 * channels * width + width + channels for width in (8, 4, 4))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model.encoder.branches": {"own": {"width": 0}}}, "model.encoder.branches.own: width: found 0"),
        ({"model.encoder.branches": {"own": {"widht": 8}}}, "widht: unknown key; did you mean 'width'?"),
        ({"model.encoder.branches": {"own": {}}}, "model.encoder.branches.own: width: missing; add it"),
        (
            {"model.encoder.branches": {"own_block": {}}},
            "found 'own_block', which is not registered; expected one of own",
        ),
        ({"model.decoder.blocks": {"own": {}}}, "found 'own', which is not registered; expected one of own_block"),
        ({"loss.terms": {"own": {}}}, "loss.terms: found 'own', which is not registered"),
        ({"model.encoder.branches": {"own": 8}}, "model.encoder.branches.own: found 8"),
        ({"model.encoder.branches": 8}, "model.encoder.branches: found 8"),
        ({"model.encoder.branches": {}}, "found {}, which equals the baseline's value"),
        ({"model.encoder.branches.own.width": 8}, "model.encoder.branches.own.width: unknown key"),
        ({"model.encoder.branchs": {}}, "unknown key; did you mean 'branches'?"),
    ],
)
def test_a_mistake_is_named_with_file_and_key_when_the_study_is_resolved(ablations, changes, complaint):
    with pytest.raises(InputError) as caught:
        changed(ablations, changes)
    assert str(ablations / "variants/own.yaml") in str(caught.value)
    assert complaint in str(caught.value)


def test_no_part_changes_no_digest():
    """Digests of before there were registered parts."""
    assert digest(resolve("smoke")) == "733d4abf9f85"
    assert digest(resolve("embedded", "ms_sts_temporal_fgbg")) == "aaba79d8f173"
    for key in ("branches", "blocks", "terms"):
        assert f'"{key}"' not in canonical(resolve("paper-2019", "ms_sts"))


def test_parts_and_their_values_change_the_digest(ablations):
    texts = {
        canonical(changed(ablations, {"model.encoder.branches": {"own": {"width": n}}}).configs["own"]) for n in (8, 9)
    }
    assert len(texts | {canonical(resolve("smoke"))}) == 3


def test_a_configuration_without_parts_is_fine():
    check_parts(resolve("smoke", "ms_sts"), SOURCE)


def test_a_study_without_parts_is_resolved_without_torch():
    code = (
        "import sys; from mssts.study.resolve import load_study; load_study('ablation'); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr
