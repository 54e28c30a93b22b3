"""The configuration: everything found is valid, and every mistake is named with its file and key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from mssts import config as configuration
from mssts.config import STAGE_SECTIONS, ExecutionSection, canonical, digest, pretrain_seed, resolve
from mssts.core.errors import InputError
from mssts.study.resolve import load_study

ABLATIONS = Path(__file__).resolve().parent.parent / "ablations"
SCALES, STUDIES, VARIANTS = (
    sorted(path.stem for path in (ABLATIONS / kind).glob("*.yaml")) for kind in ("scales", "studies", "variants")
)


@pytest.fixture
def ablations(tmp_path) -> Path:
    """A copy of `ablations/` that a test may spoil."""
    return shutil.copytree(ABLATIONS, tmp_path / "ablations")


def write_variant(ablations: Path, **content) -> None:
    whole = {"title": "New", "question": "What if?", "source": "[ours]", "changes": {"model.queries": 7}} | content
    text = yaml.safe_dump({key: value for key, value in whole.items() if value is not None})
    (ablations / "variants/new.yaml").write_text(text)


def variant_message(ablations: Path, **content) -> str:
    write_variant(ablations, **content)
    with pytest.raises(InputError) as caught:
        resolve("smoke", "new", ablations)
    assert "variants/new.yaml" in str(caught.value)
    return str(caught.value)


def study_message(ablations: Path, **content) -> str:
    path = ablations / "studies/smoke.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | content))
    with pytest.raises(InputError) as caught:
        load_study("smoke", ablations)
    return str(caught.value)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_valid(name):
    assert load_study(name, ABLATIONS).spec.question


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_resolves_at_every_scale(scale, variant):
    resolved = resolve(scale, variant, ABLATIONS)
    baseline = resolve(scale, "baseline", ABLATIONS)
    differs = canonical(resolved) != canonical(baseline)
    assert differs == (variant != "baseline"), "a variant that a scale makes equal to the baseline"


def test_no_two_variants_are_the_same():
    texts = {canonical(resolve("embedded", variant, ABLATIONS)) for variant in VARIANTS}
    assert len(texts) == len(VARIANTS)


def test_the_ablation_study_has_all_combinations_and_the_controls():
    study = load_study("ablation", ABLATIONS)
    switches = set()
    for config in (study.configs[variant] for variant in study.variants):
        model, loss = config.model, config.loss
        ms_sts = model.encoder.ms_sts
        if ms_sts.intra_scale and ms_sts.inter_scale and not ms_sts.own_frame_only:
            enabled = (ms_sts.enabled, model.decoder.temporal.enabled, loss.foreground_background.enabled)
            switches.add(enabled)
    assert len(switches) == 8
    assert {"ms_sts_intra", "ms_sts_inter", "ms_sts_own_frame"} < set(study.variants)
    assert len(study.spec.seeds) == 6
    starts = [pretrain_seed(study.baseline, seed) for seed in study.spec.seeds]
    assert starts == [1, 1, 1, 2, 2, 2]


def test_a_change_reaches_the_resolved_config_and_nothing_else_changes():
    before = resolve("smoke", "baseline", ABLATIONS).model_dump()
    after = resolve("smoke", "temporal", ABLATIONS).model_dump()
    before["model"]["decoder"]["temporal"]["enabled"] = True
    assert after == before


def test_an_unknown_key_of_a_variant_is_named_with_a_suggestion(ablations):
    assert "model.querys: unknown key; did you mean 'queries'?" in variant_message(
        ablations, changes={"model.querys": 7}
    )


def test_an_unknown_key_that_resembles_none_is_refused_with_the_known_ones(ablations):
    message = variant_message(ablations, changes={"evaluation.zzz": 7})
    assert "evaluation.zzz: unknown key; expected one of bootstrap_replicates, bootstrap_seed" in message


@pytest.mark.parametrize("key", ["model.queries.more", "nothing.at.all"])
def test_a_path_through_a_value_is_refused_as_an_unknown_key(ablations, key):
    assert f"{key}: unknown key" in variant_message(ablations, changes={key: 7})


@pytest.mark.parametrize("key", ["model", "model.encoder"])
@pytest.mark.parametrize("value", [7, None, {}])
def test_a_value_in_place_of_a_section_is_refused_with_the_keys_of_the_section(ablations, key, value):
    assert f"{key}: found {value}; expected a value for one of its keys: " in variant_message(
        ablations, changes={key: value}
    )


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("model.queries", "many", "valid integer"),
        ("model.queries", "7", "valid integer"),
        ("model.queries", 7.5, "valid integer"),
        ("model.queries", 0, "greater than 0"),
        ("model.queries", None, "valid integer"),
        ("model.dropout", 1.5, "less than or equal to 1"),
        ("data.crop", 1, "valid boolean"),
        ("train.learning_rate", float("nan"), "finite"),
        ("train.learning_rate", float("inf"), "finite"),
        ("train.schedule", "linear", "expected one of step, cosine"),
        ("train.schedule", "cosin", "did you mean 'cosine'?"),
        ("data.mean", [0.5], "at least 3 items"),
        ("data.short_sides", [64, "x"], "valid integer"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found_and_expected(ablations, key, value, complaint):
    message = variant_message(ablations, changes={key: value})
    assert f"{key}" in message
    assert complaint in message


def test_a_change_to_the_baselines_own_value_is_refused(ablations):
    message = variant_message(ablations, changes={"model.queries": 300})
    assert "model.queries: found 300, which equals the baseline's value; remove the line" in message


@pytest.mark.parametrize("key", ["question", "source", "title", "changes"])
def test_a_missing_key_of_a_variant_is_asked_for(ablations, key):
    assert f"{key}: missing; add it" in variant_message(ablations, **{key: None})


def test_an_empty_question_is_refused(ablations):
    assert "question: found ''" in variant_message(ablations, question="")


def test_a_variant_without_changes_is_refused(ablations):
    assert "changes: empty" in variant_message(ablations, changes={})


def test_a_misspelt_key_beside_the_changes_is_found(ablations):
    message = variant_message(ablations, qestion="What if?")
    assert "qestion: unknown key; did you mean 'question'?" in message


def test_all_problems_of_a_file_are_listed_at_once(ablations):
    message = variant_message(ablations, question=None, source=None)
    assert len(message.splitlines()) == 2


def test_an_unknown_variant_is_refused_with_the_known_ones(ablations):
    with pytest.raises(InputError, match=r"variants/nope\.yaml: no such file\. Available: baseline, "):
        resolve("smoke", "nope", ablations)


def test_an_unknown_scale_is_refused_with_the_known_ones(ablations):
    with pytest.raises(InputError, match=r"scales/nope\.yaml: no such file\. Available: "):
        resolve("nope", root=ablations)


def test_a_file_that_is_no_yaml_is_refused_with_the_line(ablations):
    (ablations / "variants/new.yaml").write_text("title: [")
    with pytest.raises(InputError, match=r"variants/new\.yaml: not valid YAML: .*line 1"):
        resolve("smoke", "new", ablations)


def test_bytes_that_are_no_text_are_refused_as_invalid_yaml(ablations):
    (ablations / "variants/new.yaml").write_bytes(b"title: \xff\xfe\x00")
    with pytest.raises(InputError, match=r"variants/new\.yaml: not valid YAML"):
        resolve("smoke", "new", ablations)


@pytest.mark.parametrize(("text", "found"), [("", "NoneType"), ("- a\n- b\n", "list"), ("word", "str")])
def test_a_file_that_holds_no_mapping_is_refused_with_what_it_holds(ablations, text, found):
    (ablations / "variants/new.yaml").write_text(text)
    with pytest.raises(InputError, match=f"expected a mapping of keys to values, found {found}"):
        resolve("smoke", "new", ablations)


def test_a_mistake_in_a_scale_names_the_scales_file(ablations):
    path = ablations / "scales/smoke.yaml"
    path.write_text(path.read_text() + "typo: 3\n")
    with pytest.raises(InputError, match=r"scales/smoke\.yaml: typo: unknown key"):
        load_study("smoke", ablations)


def test_a_mistake_in_the_baseline_names_its_file(ablations):
    path = ablations / "baseline.yaml"
    path.write_text(path.read_text().replace("queries: 300", "queries: -3"))
    with pytest.raises(InputError, match=r"baseline\.yaml: model\.queries: found -3"):
        resolve("smoke", root=ablations)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", [1, 2, 1]),
        ("variants", ["baseline", "baseline"]),
        ("splits", ["valid", "valid"]),
        ("backbones", ["tiny", "tiny"]),
        ("datasets", ["synthvis", "synthvis"]),
    ],
)
def test_a_value_named_twice_in_a_study_is_refused(ablations, key, value):
    assert f"studies/smoke.yaml: {key}: found {value}; expected each value once" in study_message(
        ablations, **{key: value}
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [0]}, "greater than 0"),
        ({"seeds": ["1"]}, "valid integer"),
        ({"variants": "baseline"}, "valid list"),
        ({"backbones": ["Tiny!"]}, "backbones.0: found 'Tiny!'; did you mean 'tiny'?"),
        ({"datasets": ["Synthvis!"]}, "datasets.0: found 'Synthvis!'; expected a name of lower-case letters"),
        ({"seed": [1]}, "seed: unknown key; did you mean 'seeds'?"),
        ({"variants": ["baseline", "nope"]}, "variants/nope.yaml: no such file"),
        ({"scale": "nope"}, "scales/nope.yaml: no such file"),
    ],
)
def test_a_mistake_in_a_study_is_named(ablations, content, complaint):
    assert complaint in study_message(ablations, **content)


def test_digests_follow_values_not_spelling(ablations):
    before = digest(resolve("smoke", root=ablations))
    path = ablations / "scales/smoke.yaml"
    path.write_text("# a remark\n" + path.read_text().replace("learning_rate: 2.0e-3", "learning_rate: 0.002"))
    assert digest(resolve("smoke", root=ablations)) == before
    path.write_text(path.read_text().replace("queries: 8", "queries: 9"))
    assert digest(resolve("smoke", root=ablations)) != before


def test_evaluation_settings_do_not_change_the_digest_of_a_run(ablations):
    before = digest(resolve("smoke", root=ablations))
    path = ablations / "scales/smoke.yaml"
    path.write_text(path.read_text().replace("bootstrap_replicates: 50", "bootstrap_replicates: 51"))
    assert digest(resolve("smoke", root=ablations)) == before


@pytest.mark.parametrize(
    ("backbones", "complaint"),
    [
        ({"swin": {}}, "execution.backbones.swin: found 'swin'; did you mean 'swin_l'?"),
        ({"swin_l": {"worker": 4}}, "execution.backbones.swin_l.worker: unknown key; did you mean 'workers'?"),
        ({"swin_l": {"backbones": {}}}, "execution.backbones.swin_l.backbones: unknown key"),
        ({"swin_l": {"workers": -1}}, "execution.backbones.swin_l.workers: found -1; Input should be greater"),
        ({"swin_l": None}, "execution.backbones.swin_l: found None"),
        ("swin_l", "execution.backbones: found 'swin_l'"),
    ],
    ids=str,
)
def test_a_mistake_in_the_execution_of_a_backbone_is_named(ablations, backbones, complaint):
    path = ablations / "scales/smoke.yaml"
    path.write_text(path.read_text() + f"\n{yaml.safe_dump({'execution': {'backbones': backbones}})}")
    with pytest.raises(InputError) as caught:
        resolve("smoke", root=ablations)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_a_backbone_is_carried_out_as_all_but_for_its_own_keys():
    study = load_study("paper-2019", ABLATIONS)
    runs = [study.training("ytvis2019", name, "baseline", 1) for name in ("resnet50", "swin_l")]
    small, large = (run.config.execution for run in runs)
    assert not small.checkpoint_encoder and large.checkpoint_encoder
    for execution in (small, large):
        assert (execution.devices, execution.clips_per_device, execution.workers) == (8, 1, 4)
    assert study.pretraining("coco", "swin_l", 1).config.execution == large


def test_null_is_a_value_of_its_own_in_the_execution_of_a_backbone():
    content = {"clips_per_device": 2, "backbones": {"tiny": {"clips_per_device": None}}}
    execution = ExecutionSection.model_validate(content)
    assert [execution.on(name).clips_per_device for name in ("tiny", "resnet50")] == [None, 2]


def test_the_execution_of_a_backbone_changes_no_digest():
    study = load_study("paper-2019", ABLATIONS)
    assert digest(study.run_config("ytvis2019", "swin_l", "baseline")) == digest(study.config("baseline"))


def test_stages_read_sections_that_exist():
    sections = set(configuration.Config.model_fields)
    assert all(set(names) <= sections for names in STAGE_SECTIONS.values())
    assert "train" not in STAGE_SECTIONS["pretrain"], "a training setting must not cost a new pre-training"


@pytest.mark.parametrize(
    ("init", "complaint"),
    [
        (7, "train.init: found 7; Input should be a valid string"),
        ({"tiny": 7}, "train.init.tiny: found 7; Input should be a valid string"),
        ({"tinny": "none"}, "found 'tinny'; did you mean 'tiny'?"),
        ({"resnet50": "none"}, "train.init: found no start for tiny"),
        ({"tiny": "a{b}.pt"}, "train.init.tiny: found 'a{b}.pt'; expected a path without braces"),
        ("imagenet", "train.init: found imagenet for tiny, of which there are no such weights"),
        ({"tiny": "imagenet", "resnet50": "none"}, "train.init: found imagenet for tiny"),
    ],
    ids=str,
)
def test_a_start_that_no_backbone_has_is_refused_when_a_study_is_loaded(ablations, init, complaint):
    scale = yaml.safe_load((ablations / "scales/smoke.yaml").read_text())
    (ablations / "scales/smoke.yaml").write_text(yaml.safe_dump(scale | {"train": scale["train"] | {"init": init}}))
    with pytest.raises(InputError) as caught:
        load_study("smoke", ablations)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text", ["x" * 50_000, ["x" * 50_000], {"x" * 50_000: 1}, 10**90], ids=lambda text: str(text)[:9]
)
def test_a_message_shows_only_the_beginning_of_what_is_too_long(ablations, text):
    for key in ("model.queries", "train.schedule", "data.short_sides", "predict.mask_threshold", "x" * 50_000):
        assert len(variant_message(ablations, changes={key: text}).replace(str(ablations), "")) < 1500
    assert len(study_message(ablations, backbones=text, splits=[text])) < 3000
