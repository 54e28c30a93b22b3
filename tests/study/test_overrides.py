"""Overrides of a scale: what they change, where such runs lie, and what they share with runs that have none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import yaml

from mssts import cli
from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.study.matrix import planned_runs
from mssts.study.overrides import as_words, read_overrides, values_of_section
from mssts.study.plan import plan
from mssts.study.resolve import load_study, single_run
from mssts.study.workflow import initial_checkpoint, read_options, read_study

STEPS = {"train.steps": 4}


@pytest.fixture
def ablations(root, tmp_path, monkeypatch):
    """A copy of the ablations in the working directory."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(root / "ablations", tmp_path / "ablations")


def write_set(ablations, content):
    path = ablations / "studies/smoke.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"set": content}))


def test_values_have_the_types_of_yaml():
    words = ["a=10", "b=1e-3", "c=true", "d=null", "e=text with spaces", "f=[1, x]", "g={h: 1}", "i=k=v"]
    expected = {"a": 10, "b": 0.001, "c": True, "d": None, "e": "text with spaces", "f": [1, "x"], "g": {"h": 1}}
    assert read_overrides(words) == expected | {"i": "k=v"}


@pytest.mark.parametrize(
    "value", [10, 0.1, None, True, "a b\u00a0c", "x: {y}", 'quote " \\ é', [1, "a b"], {"k k": [1]}]
)
def test_words_without_spaces_say_the_same(value):
    (word,) = as_words({"train.steps": value})
    assert len(word.split()) == 1
    assert read_overrides([word]) == {"train.steps": value}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.steps"], "--set: found 'train.steps'; expected KEY=VALUE"),
        (["=3"], "expected KEY=VALUE"),
        (["train.steps="], "expected KEY=VALUE"),
        (["a=1", "a=2"], "--set: 'a': found twice; keep one"),
        (["a=[1"], "--set a: not valid YAML"),
        (["a=&x 1"], "--set a: not valid YAML: anchor 'x'"),
    ],
)
def test_a_word_that_is_no_override_is_named(words, message):
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        read_overrides(words)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.step": 4}, r"--set: train\.step: unknown key; did you mean 'steps'"),
        ({"train.steps": "four"}, r"--set: train\.steps: found 'four'"),
        ({"train": 4}, r"--set: train: found 4; expected a value for one of its keys"),
        ({"train.batch_clips": 3, "execution.devices": 2}, r"--set: train\.batch_clips: found 3; expected a multiple"),
        ({"decoder.temporal.width": 4}, r"--set: decoder\.temporal\.width: unknown key"),
        (
            {"loss.foreground_background.enabled": True},
            r"--set: loss\.foreground_background\.enabled: found a key that the variant ms_sts_temporal_fgbg changes",
        ),
    ],
)
def test_an_override_that_does_not_fit_is_named(ablations, overrides, message):
    with pytest.raises(InputError, match=message):
        load_study("smoke", overrides=overrides)


def test_the_file_of_a_study_is_named_in_messages_on_its_overrides(ablations):
    write_set(ablations, {"train": {"stepz": 4}})
    with pytest.raises(InputError, match=r"studies/smoke\.yaml: set: train\.stepz: unknown key"):
        load_study("smoke")


def test_every_variant_has_the_overrides(ablations):
    study = load_study("smoke", overrides=STEPS)
    assert [config.train.steps for config in study.configs.values()] == [4, 4]
    assert study.overrides == STEPS


def test_runs_with_overrides_lie_in_a_folder_of_their_own_and_share_the_pretraining(ablations):
    plain, study = load_study("smoke"), load_study("smoke", overrides=STEPS)
    assert study.folder.startswith("smoke-") and study.name == study.folder
    folders = {run.variant: run.directory.parts[1] for run in planned_runs(study)}
    assert folders == {"pretrain": "smoke", "baseline": study.folder, "ms_sts_temporal_fgbg": study.folder}
    run, same = (each.training("synthvis", "tiny", "baseline", 1) for each in (study, plain))
    assert run.scale == study.folder and same.scale == "smoke"
    arguments = ("synthvis", "tiny", "baseline", 1)
    assert initial_checkpoint(study, *arguments) == initial_checkpoint(plain, *arguments)
    assert study.data_dir("synthvis") == plain.data_dir("synthvis")


@pytest.mark.parametrize("key", ["pretrain.steps", "predict.top_k", "evaluation.bootstrap_seed", "model.queries"])
def test_a_pretraining_is_not_shared_where_its_files_would_differ(ablations, key):
    study = load_study("smoke", overrides={key: 7})
    assert study.pretrain_folder("synthvis") == study.folder != "smoke"


def test_other_generated_videos_have_a_folder_of_their_own(ablations):
    study = load_study("smoke", overrides={"data.synthetic.train_videos": 5, "train.steps": 4})
    assert study.data_folder not in ("smoke", study.folder)
    alone = load_study("smoke", overrides={"data.synthetic.train_videos": 5})
    assert study.data_dir("synthvis") == alone.data_dir("synthvis")


@pytest.mark.parametrize("overrides", [{}, {"train.steps": 8}, {"execution.workers": 1}])
def test_overrides_that_change_no_result_change_no_folder(ablations, overrides):
    study = load_study("smoke", overrides=overrides)
    assert (study.folder, study.name, study.data_folder) == ("smoke", "smoke", "smoke")


def test_a_study_and_the_command_line_say_the_same_with_the_same_folder(ablations):
    asked = load_study("smoke", overrides={"train.steps": 4, "predict.top_k": 5})
    write_set(ablations, {"train.steps": 4, "predict": {"top_k": 5}})
    written = load_study("smoke")
    assert written.folder == asked.folder
    assert written.name == "smoke"  # its report is that of the file
    assert load_study("smoke", overrides={"train.steps": 8}).overrides == {"predict.top_k": 5}


def test_snakemake_takes_words_or_a_mapping(ablations):
    words = read_study(read_options({"study": "smoke", "set": "train.steps=4 predict.top_k=5"}))
    mapping = read_study(read_options({"study": "smoke", "set": {"train": {"steps": 4}, "predict.top_k": 5}}))
    assert words.given == mapping.given == {"train.steps": 4, "predict.top_k": 5}
    assert words.options == "--study smoke --set train.steps=4 --set predict.top_k=5"


def test_values_of_a_section_lose_its_name_and_others_are_refused():
    assert values_of_section("predict", {"predict.window": 5}) == {"window": 5}
    with pytest.raises(InputError, match=r"--set: 'train.steps': found without --study; expected a key of predict"):
        values_of_section("predict", {"train.steps": 5})


@pytest.mark.long
def test_a_plan_names_the_overrides(ablations):
    text = plan(load_study("smoke", overrides=STEPS), resolve("smoke"))
    assert "In place of the scale's values: train.steps=4" in text
    assert "4 steps of 2 clips" in text


def test_one_run_needs_no_study(ablations):
    study = single_run("synthvis", "resnet50", "ms_sts", "paper", 3, overrides={"train.init": "none"})
    run = study.training("synthvis", "resnet50", "ms_sts", 3)
    assert run.config.model.encoder.ms_sts.enabled and run.config.model.queries == 300
    assert run.scale == study.folder != "paper"
    with pytest.raises(InputError, match=r"variants/other\.yaml: no such file"):
        single_run("synthvis", "resnet50", "other", "paper", 1)
    with pytest.raises(InputError, match="backbone: found 'vgg'"):
        single_run("synthvis", "vgg", "ms_sts", "paper", 1)


TRAIN = ("train", "--dataset=synthvis", "--backbone=tiny", "--variant=ms_sts")


@pytest.mark.long
def test_a_training_without_a_study_finds_its_places(ablations, smoke_data):
    directory = ablations.parent
    (directory / "data/smoke").mkdir(parents=True)
    (directory / "data/smoke/synthvis").symlink_to(smoke_data)
    options = ["--scale=smoke", "--set=train.steps=2", "--set=train.init=none"]
    command = [sys.executable, "-m", "mssts", *TRAIN, *options]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (record,) = directory.glob("results/*/synthvis/tiny/ms_sts/seed1/run.json")
    content = json.loads(record.read_text())
    assert (content["steps"], content["start"], content["scale"]) == (2, "none", record.parts[-6])
    assert not (directory / "mlruns").exists()  # an experiment of MLflow is a study


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--scale=smoke"],
            "tiny/pretrain/seed1/checkpoint.pt: no such checkpoint. Run the pre-training",
        ),
        (["--scale=smoke", "--study=smoke"], "--scale: found 'smoke', and --study smoke, which has a scale"),
        (["--scale=smoke", "--set=train.stepz=1"], "--set: train.stepz: unknown key"),
    ],
)
def test_what_a_training_without_a_study_lacks_is_said(ablations, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["mssts", *TRAIN, *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err
