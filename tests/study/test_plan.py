"""A plan counts what would run, and its numbers are those of the models."""

from __future__ import annotations

import math
import re
import shutil

import pytest

from mssts.config import load_baseline, resolve
from mssts.models import build_model, count_parameters
from mssts.study import plan as planning
from mssts.study.complexity import forward_flops, frame_size, parameters
from mssts.study.lengths import Length, planned_length
from mssts.study.resolve import load_study


def test_jobs_are_those_that_the_workflow_lists():
    assert planning.jobs(load_study("paper-2019")) == {"pretrain": 3, "train": 36, "predict": 72, "evaluate": 36}
    assert planning.jobs(load_study("paper-2019-official")) == {"pretrain": 3, "train": 6, "predict": 6, "evaluate": 0}
    assert planning.jobs(load_study("demo")) == {"pretrain": 1, "train": 4, "predict": 5, "evaluate": 5}


@pytest.fixture(scope="module")
def text():
    return planning.plan(load_study("smoke"), load_baseline())


@pytest.mark.long
def test_parameters_are_those_of_the_model(text):
    parameters = count_parameters(build_model(resolve("smoke", "ms_sts_temporal_fgbg").model, "tiny", 5))
    assert re.search(rf"tiny +ms_sts_temporal_fgbg +1 +3 +{parameters / 1e6:.3f} ", text)


def test_assumptions_stand_beside_the_hours(text):
    assert "GPU hours of training" in text and "Assumptions:" in text and "issues 13 and 16" in text


def test_hours_follow_the_stated_epochs_and_say_what_is_assumed():
    study = load_study("paper-2019")
    coco, videos = planned_length(study, "coco", "pretrain"), planned_length(study, "ytvis2019", "baseline")
    assert coco.drawn == 50 * 117_266 and "117,266 clips (assumed" in str(coco)
    assert str(coco).endswith(f"{study.baseline.pretrain.steps_of(117_266):,} steps")
    assert videos.drawn == 12 * (round(61_800 * 1936 / 2238) + 117_266)
    assert planned_length(load_study("smoke"), "synthvis", "baseline").drawn == 8 * 2


def test_hours_without_a_number_of_clips_are_unknown():
    unknown = Length(None, 12, 16, None)
    assert math.isnan(unknown.drawn) and "prepare" in str(unknown)


def test_longer_clips_and_more_modules_cost_more():
    size = (64, 96)

    def measured(variant, frames):
        run = (resolve("smoke", variant).model, "tiny", "synthvis")
        return parameters(*run), forward_flops(*run, frames, size)

    short, long, modules = measured("baseline", 1), measured("baseline", 3), measured("ms_sts_temporal_fgbg", 3)
    assert short[0] == long[0] < modules[0]
    assert 2.5 * short[1] < long[1] < 3.5 * short[1] and long[1] < modules[1]


def test_the_settings_of_every_size_of_card_are_printed(text):
    assert "\n  tiny      24, 32, 40, 80 GB: as configured\n" in text and "assumed, not" in text


@pytest.mark.long
def test_the_settings_of_a_card_keep_the_other_values_of_the_backbone(tmp_path, monkeypatch, root):
    scale = shutil.copytree(root / "ablations", tmp_path / "ablations") / "scales/smoke.yaml"
    own = "{tiny: {workers: 1, checkpoint_encoder: true}}"
    scale.write_text(f"{scale.read_text()}\nexecution: {{backbones: {own}}}\n")
    monkeypatch.chdir(tmp_path)
    text = planning.plan(load_study("smoke"), load_baseline())
    assert "\n  tiny      24, 32, 40, 80 GB: {checkpoint_encoder: false, workers: 1}\n" in text


def test_the_coco_stage_has_cocos_categories_and_image_sizes():
    config = resolve("paper-2019")
    assert frame_size(config, "coco") == (624, 832)  # 480 x 640 px at the mean of the short sides 480..768
    assert frame_size(resolve("smoke"), "coco") == (64, 85)
    per_class = parameters(config.model, "resnet50", "coco") - parameters(config.model, "resnet50", "ytvis2019")
    assert per_class == (80 - 40) * 257 * 6  # a class head with 256 weights and a bias in each of six layers


@pytest.mark.long
def test_a_users_dataset_of_unknown_size_has_unknown_hours(tmp_path, monkeypatch, root):
    study = shutil.copytree(root / "ablations", tmp_path / "ablations") / "studies/smoke.yaml"
    monkeypatch.chdir(tmp_path)
    scale = tmp_path / "ablations/scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("\ntrain: {steps: 8, epochs: null", "\ntrain: {steps: null, epochs: 2"))
    study.write_text(study.read_text().replace("[synthvis]", "[ovis]").replace("[valid, control]", "[local_valid]"))
    text = planning.plan(load_study("smoke"), load_baseline())
    assert "Length of ovis, train: 2 epochs; the hours are unknown until the data is there: prepare it first" in text
    assert re.search(r"ovis +tiny +baseline .* unknown +unknown\n", text) and "Total: more than" in text
    assert re.search(r"coco +tiny +pretrain .*[\d.]+\n", text)


def test_the_hours_of_a_short_coco_stage_are_not_compared_with_reported_ones(tmp_path, monkeypatch, root):
    study = shutil.copytree(root / "ablations", tmp_path / "ablations") / "studies/paper-2019.yaml"
    study.write_text(study.read_text().replace("[resnet50, resnet101, swin_l]", "[resnet50]"))
    monkeypatch.chdir(tmp_path)
    short = load_study("paper-2019", overrides={"pretrain.steps": 100, "pretrain.epochs": None})
    monkeypatch.setattr(planning.memory, "training_bytes", lambda run: 10**9)
    text = planning.plan(short, load_baseline())
    assert "Length of coco, pretrain: 100 steps of 16 clips" in text and "reported by the" not in text


def test_frame_sizes_are_those_of_the_dataset():
    assert frame_size(resolve("paper-2019"), "ytvis2019") == (360, 640)
    assert frame_size(resolve("embedded"), "synthvis") == (64, 96)


@pytest.mark.long
def test_the_contributions_add_what_was_published_and_the_coco_stage_costs_what_is_printed():
    text = planning.plan(load_study("paper-2019"), load_baseline())
    for backbone, here, reported, ratio in (("resnet50", 503, 384, "1.31"), ("swin_l", 2203, "1,152", "1.91")):
        assert f"COCO stage of {backbone}: {here:,} GPU hours here, {reported} reported by" in text
        assert f"ratio {ratio}." in text
    sizes = dict(re.findall(r"resnet50 +(\w+) +\d+ +\d+ +([\d.]+)", text))
    assert float(sizes["ms_sts_temporal_fgbg"]) - float(sizes["baseline"]) == pytest.approx(1.3, abs=0.15)
