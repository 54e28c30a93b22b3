"""Names become parts of paths and of commands: one pattern holds for all of them, wherever they come from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mssts.cli import app, main
from mssts.config import ABLATIONS, Study, Variant, resolve, validated
from mssts.core.errors import InputError
from mssts.study.resolve import RESERVED, load_study

BAD_NAMES = ["a; touch made", "../x", "/etc/passwd", "a b", "$(x)", "`x`", "", "a" * 65, "é", "-n", "_a", "A", "a.yaml"]
BAD_NAMES += ["a/b", "a\n", "a\x00", "*", "{a}", "a'b", 'a"b', "\x1b[31m", "..", ".", "\ud800"]


@pytest.fixture
def ablations(tmp_path, monkeypatch, root) -> Path:
    """A copy of `ablations/` in the working directory that a test may spoil."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(root / "ablations", tmp_path / "ablations")


def write(path: Path, **changes) -> None:
    content = yaml.safe_load((ABLATIONS / "studies/smoke.yaml").read_text()) | changes
    path.write_text(yaml.safe_dump(content))


def message(name: str) -> str:
    with pytest.raises(InputError) as caught:
        load_study(name, ABLATIONS)
    return str(caught.value)


def commands(group: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every subcommand that takes a study, with arguments that it needs beside it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        elif any(parameter.name == "study" for parameter in command.params):
            needed = [one for one in command.params if one.required and one.name != "study"]
            values = {one.opts[0]: "1" if one.name == "seed" else "tiny" for one in needed}
            positional = any(one.name == "study" and one.param_type_name == "argument" for one in command.params)
            study = ("{}",) if positional else ("--study={}",)
            yield (*names, name, *(f"{option}={value}" for option, value in values.items()), *study)


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("call", COMMANDS, ids=lambda call: call[0])
def test_no_command_takes_what_is_no_name_for_a_study(ablations, call):
    before = sorted(ablations.parent.rglob("*"))
    for name in BAD_NAMES:
        if call[-1] == "{}" and name.startswith("-"):
            continue  # an option
        with pytest.raises(InputError, match=r"^ablations/studies: found .*; expected a name of lower-case letters"):
            app([*call[:-1], call[-1].format(name)], standalone_mode=False)
    with pytest.raises(InputError, match="Did you mean 'smoke'"):
        app([*call[:-1], call[-1].format("smok")], standalone_mode=False)
    assert sorted(ablations.parent.rglob("*")) == before


def test_every_command_that_takes_a_study_is_tested():
    assert len(COMMANDS) == 15


@pytest.mark.parametrize("key", ["scale", "datasets", "splits", "submissions", "variants"])
def test_a_study_names_nothing_but_names(ablations, key):
    for name in (name for name in BAD_NAMES if name.isprintable()):
        write(ablations / "studies/own.yaml", **{key: name if key == "scale" else [name]})
        assert f"studies/own.yaml: {key}" in message("own")
        assert "expected a name of lower-case letters" in message("own")


def test_scales_and_variants_are_looked_up_by_names_only(ablations):
    for name in BAD_NAMES:
        with pytest.raises(InputError, match=r"^ablations/scales: found "):
            resolve(name)
        with pytest.raises(InputError, match=r"^ablations/variants: found "):
            resolve("smoke", name)


def test_a_study_has_not_the_name_of_another_folder_of_reports(ablations, root):
    studies = {path.stem for path in (ablations / "studies").glob("*.yaml")}
    folders = {path.name for path in (root / "reports").iterdir() if path.is_dir()} - studies
    assert set(RESERVED) <= folders
    for name in RESERVED:
        write(ablations / f"studies/{name}.yaml")
        assert "found the name of a folder in reports that is no report; rename the file" in message(name)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"backbones": ["resnet5"]}, "backbones.0: found 'resnet5'; did you mean 'resnet50'?"),
        ({"datasets": ["synthviz"]}, "dataset 'synthviz': unknown; did you mean 'synthvis'?"),
        ({"splits": ["vali"]}, "splits: synthvis: found 'vali'; did you mean 'valid'?"),
        ({"submissions": ["test"]}, "submissions: synthvis: found 'test'; expected one of train, valid, control"),
        ({"splits": ["stills"]}, "splits: synthvis: found 'stills'; expected one of train, valid, control"),
        ({"variants": ["pretrain"]}, "variants: found 'pretrain'; expected another name: it is that of the stage"),
        ({"variants": ["ms_st"]}, "Did you mean 'ms_sts'?"),
        ({"submissions": ["valid", "valid"]}, "submissions: found ['valid', 'valid']; expected each value once"),
        ({"splits": []}, "splits: found []; expected a split here or in submissions"),
        ({"seeds": list(range(1, 22))}, "seeds: found"),
        ({"seeds": [2**32]}, "seeds.0: found 4294967296"),
        ({"external": {"a": "b{c}.json"}}, "external.a: found 'b{c}.json'; expected a path without braces"),
        ({"external": {"a": "b\nc"}}, "external.a: found 'b\\nc'; expected a path without"),
        ({"external": {"a": " "}}, "external.a: found ' '; expected a path"),
        ({"external": {"A?": "x", "a!": "y"}}, "external: the titles ['A?', 'a!'] must differ in letters or digits"),
        ({"external": {"-": "x"}}, "external: the titles ['-'] must differ"),
        ({"external": {"a" * 201: "x"}}, "external.a"),
        ({"question": ""}, "question: found ''"),
        ({"cost": None}, "cost: found None"),
        ({"expect": {}}, "expect: found {}"),
        ({"question": "x" * 10_001}, "question: found 'x"),
    ],
    ids=str,
)
def test_what_a_study_cannot_run_is_refused_when_it_is_loaded(ablations, content, complaint):
    write(ablations / "studies/own.yaml", **content)
    assert complaint in message("own")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model.queries": 9}, "variant own: model.queries: found a change; the weights of the pre-training"),
        ({"model.decoder.layers": 3}, "model.decoder.layers: found a change; the weights of the pre-training"),
        ({"predict.top_k": 11}, "predict.top_k: found a change; all variants share this value"),
        ({"evaluation.bootstrap_seed": 1}, "evaluation.bootstrap_seed: found a change; all variants share"),
        ({"pretrain.steps": 9}, "pretrain.steps: found a change; all variants share"),
        ({"data.synthetic.height": 48}, "data.synthetic.height: found a change; all variants share"),
        ({"data.joint": True}, "variant own: data.joint: synthvis: no mapping from COCO categories"),
    ],
    ids=str,
)
def test_what_a_variant_would_change_in_vain_is_refused_when_a_study_is_loaded(ablations, changes, complaint):
    content = {"title": "own", "question": "?", "source": "[ours]", "changes": changes}
    (ablations / "variants/own.yaml").write_text(yaml.safe_dump(content))
    write(ablations / "studies/own.yaml", variants=["baseline", "own"])
    assert complaint in message("own")


def test_a_variant_may_change_what_its_own_training_reads(ablations):
    changes = {"model.dropout": 0.2, "model.encoder.ms_sts.enabled": True, "train.steps": 9, "data.flip": 0.1}
    content = {"title": "own", "question": "?", "source": "[ours]", "changes": changes}
    (ablations / "variants/own.yaml").write_text(yaml.safe_dump(content))
    write(ablations / "studies/own.yaml", variants=["own"])
    assert load_study("own", ABLATIONS).configs["own"].model.dropout == 0.2


def test_two_variants_with_one_title_are_refused(ablations):
    for name, title in (("temporal", "MS-STS"), ("fgbg", "pre-trained")):
        path = ablations / f"variants/{name}.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"title": title}))
        write(ablations / "studies/own.yaml", variants=["ms_sts", name])
        assert f"variants: found the title {title!r} twice; give each variant its own" in message("own")


def test_more_pairs_than_there_are_cannot_be_kept(ablations):
    scale = ablations / "scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("predict: {", "predict: {top_k: 41, "))
    write(ablations / "studies/own.yaml")
    assert "predict.top_k: found 41; expected at most 40: queries x categories of synthvis" in message("own")


def test_a_title_is_one_line():
    content = {"title": "a\n  b\tc ", "question": "a\nb\n", "source": "[ours]", "changes": {}}
    variant = validated(Variant, content, "file.yaml")
    assert (variant.title, variant.question) == ("a b c", "a\nb\n")
    for title in ("", "\n", 7, None, "a" * 201):
        with pytest.raises(InputError, match=r"^file\.yaml: title: found "):
            validated(Variant, content | {"title": title}, "file.yaml")


def test_paths_of_other_methods_may_hold_anything_else(ablations):
    paths = [
        "a b",
        "it's",
        'a"b',
        "a;b",
        "*?[a]",
        "$(x)",
        "`x`",
        "~/a",
        "../a",
        "a\\b",
        "é 😀",
        "-n",
        "#a",
        "a|b",
        "<a>",
    ]
    write(ablations / "studies/own.yaml", external={f"m{n}": path for n, path in enumerate(paths)})
    assert sorted(load_study("own", ABLATIONS).spec.external.values()) == sorted(paths)


def test_a_wrong_switch_of_mlflow_is_refused_before_any_command(monkeypatch, capsys):
    monkeypatch.setenv("MSSTS_MLFLOW", "OFF")
    monkeypatch.setattr("sys.argv", ["mssts", "--help"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == "error: MSSTS_MLFLOW: found 'OFF'; expected on or off\n"


def test_a_study_file_has_all_its_keys():
    with pytest.raises(InputError) as caught:
        validated(Study, {}, "file.yaml")
    missing = {line.split(": ")[1] for line in str(caught.value).splitlines() if line.endswith("missing; add it")}
    assert missing == {name for name, field in Study.model_fields.items() if field.is_required()}
