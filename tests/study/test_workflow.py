"""What the workflow asks of a study: its files, what a job depends on, and what the user has to bring."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mssts.config import PRETRAIN, TRAIN, canonical, digest, resolve
from mssts.core.checkpoint import save_checkpoint
from mssts.core.errors import InputError
from mssts.study import workflow
from mssts.study.matrix import planned_runs
from mssts.study.plan import jobs
from mssts.study.resolve import ResolvedStudy, load_study

RUNS = Path("results/smoke/synthvis/tiny")


@pytest.fixture
def changed(root, tmp_path):
    """A function that resolves study `smoke` with other content, and its scale with other keys of `train`."""

    def resolve(train: str = "", replace: tuple[str, str] = ("", ""), **content) -> ResolvedStudy:
        ablations = shutil.copytree(root / "ablations", tmp_path / "ablations")
        study = ablations / "studies/smoke.yaml"
        study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | content))
        path = ablations / "scales/smoke.yaml"
        path.write_text(path.read_text().replace("\ntrain: {", f"\ntrain: {{{train}").replace(*replace))
        return load_study("smoke", ablations)

    return resolve


def test_every_run_and_split_has_its_files(changed):
    study = changed()
    variants = ("pretrain", "baseline", "ms_sts_temporal_fgbg")
    assert workflow.files_of_runs(study, "run.json") == [RUNS / v / "seed1/run.json" for v in variants]
    assert workflow.files_of_splits(study, study.spec.splits, "metrics.json") == [
        RUNS / variant / "seed1" / split / "metrics.json" for variant in variants for split in ("valid", "control")
    ]


def test_a_training_starts_from_the_pretraining_of_its_seed(changed):
    study = changed()
    start = workflow.initial_checkpoint(study, "synthvis", "tiny", "baseline", 5)
    number = (5 - 1) // study.baseline.train.seeds_per_pretraining + 1
    assert start == [RUNS / f"pretrain/seed{number}/checkpoint.pt"]


def test_a_named_checkpoint_takes_the_place_of_the_pretraining(changed):
    study = changed(train="init: weights/own.pt, ")
    assert workflow.initial_checkpoint(study, "synthvis", "tiny", "baseline", 5) == [Path("weights/own.pt")]
    assert not any("pretrain" in path.parts for path in workflow.files_of_runs(study, "run.json"))
    with pytest.raises(InputError, match=r"weights/own\.pt: no such checkpoint"):
        workflow.check_inputs(study)


MIXED = "init: {resnet50: weights/own.pt, resnet101: none, swin_l: imagenet, tiny: pretrain}, "
MIXED_BACKBONES = ["resnet50", "resnet101", "swin_l", "tiny"]


def test_each_backbone_may_have_a_start_of_its_own(changed):
    study = changed(train=MIXED, backbones=MIXED_BACKBONES, seeds=[1, 4])
    starts = {name: workflow.initial_checkpoint(study, "synthvis", name, "baseline", 4) for name in MIXED_BACKBONES}
    pretrained = Path("results/smoke/synthvis/tiny/pretrain/seed2/checkpoint.pt")
    assert starts == {"resnet50": [Path("weights/own.pt")], "resnet101": [], "swin_l": [], "tiny": [pretrained]}
    runs = planned_runs(study)
    assert [(run.backbone, run.seed) for run in runs if run.variant == PRETRAIN] == [("tiny", 1), ("tiny", 2)]
    assert jobs(study)["pretrain"] == 2 and jobs(study)["train"] == 4 * 2 * 2
    assert [study.training("synthvis", name, "baseline", 1).start for name in MIXED_BACKBONES] == [
        "weights/own.pt", "none", "imagenet", "pretrain"
    ]  # fmt: skip


def test_a_run_does_not_depend_on_the_starts_of_other_backbones(changed):
    study = changed(train=MIXED, backbones=["tiny", "resnet101"])
    assert digest(study.run_config("synthvis", "tiny", "baseline")) == digest(resolve("smoke"))
    assert digest(study.run_config("synthvis", "resnet101", "baseline")) != digest(resolve("smoke"))


@pytest.mark.parametrize("init", ["none", "imagenet"])
def test_a_study_that_needs_no_checkpoint_has_no_pretraining(changed, init):
    study = changed(train=f"init: {init}, ", backbones=["resnet50"])
    workflow.check_inputs(study)
    assert not any("pretrain" in path.parts for path in workflow.files_of_runs(study, "run.json"))
    assert workflow.initial_checkpoint(study, "synthvis", "resnet50", "baseline", 5) == []


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        ("init: {resnet50: none}, ", r"train\.init: found no start for tiny in"),
        ("init: {tiny: 3}, ", r"train\.init.*found 3"),
        ("init: {tiny: }, ", r"train\.init.*found None"),
        ("init: '', ", r"train\.init.*found ''"),
        ("init: [none], ", r"train\.init.*found \['none'\]"),
    ],
)
def test_a_start_that_is_none_is_refused_when_the_study_is_loaded(changed, train, complaint):
    with pytest.raises(InputError, match=complaint):
        changed(train=train)


@pytest.mark.parametrize("backbone", ["resnet50", "swin_l"])
def test_a_training_on_a_backbone_that_the_study_does_not_list_needs_a_start_too(changed, backbone):
    study = changed(train="init: {tiny: none}, ")
    with pytest.raises(InputError, match=rf"variant baseline: train\.init: found no start for {backbone}"):
        study.training("synthvis", backbone, "baseline", 1)


def test_imagenet_needs_weights_of_the_backbone(changed, root, tmp_path):
    random = "pretrain: {backbone_weights: random, "
    with pytest.raises(InputError, match=r"found imagenet, but pretrain\.backbone_weights is random"):
        changed(train="init: imagenet, ", replace=("pretrain: {", random), backbones=["resnet50"])


@pytest.mark.parametrize(("saved", "model_changes", "complaint"), [
    ("resnet50", {}, "is of backbone resnet50, but the model has tiny"),
    ("tiny", {"heads": 2}, "is of another architecture than this model: model.heads 2, not 4"),
    ("tiny", {}, None),
])  # fmt: skip
def test_a_start_that_does_not_fit_is_found_before_any_job(changed, tmp_path, saved, model_changes, complaint):
    path = tmp_path / "own.pt"
    config = resolve("smoke")
    config = config.model_copy(update={"model": config.model.model_copy(update=model_changes)})
    save_checkpoint(path, {"backbone": saved, "config": canonical(config), "model": {}, "categories": []})
    study = changed(train=f"init: {path}, ")
    if complaint is None:
        workflow.check_inputs(study)
    else:
        with pytest.raises(InputError, match=f"train.init: {path}: {complaint}"):
            workflow.check_inputs(study)


def test_other_methods_need_their_results(changed, tmp_path):
    study = changed(external={"A Method": str(tmp_path / "results.json")})
    assert workflow.files_of_external(study, "metrics.json") == [
        Path("results/smoke/synthvis/external/a-method/valid/metrics.json")
    ]
    with pytest.raises(InputError, match=r"external: A Method: .*results\.json: no such file"):
        workflow.check_inputs(study)
    (tmp_path / "results.json").touch()
    workflow.check_inputs(study)


def test_generated_data_is_never_missing_and_needs_no_coco(changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = changed()
    assert workflow.missing_data(study) == ""


def test_a_users_data_is_named_with_coco_for_the_pretraining(changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = changed(datasets=["ytvis2019"], splits=["local_valid"])
    assert "data/ytvis2019/train.json" in workflow.missing_data(study)
    assert "data/coco/train2017" in workflow.missing_data(study)
    assert workflow.coco_fingerprint(study, "baseline") == []
    assert workflow.coco_fingerprint(load_study("paper-2019", tmp_path / "ablations"), "baseline") == [
        workflow.COCO_FINGERPRINT
    ]


def test_all_paper_studies_share_one_coco_stage(root):
    folders = {load_study(f"paper-{name}", root / "ablations").pretrain_folder("coco") for name in ("2019", "2021")}
    folders |= {load_study("paper-2019-official", root / "ablations").pretrain_folder("coco")}
    [folder] = folders
    study = load_study("paper-2021", root / "ablations")
    start = workflow.initial_checkpoint(study, "ytvis2021", "swin_l", "ms_sts", 3)
    assert start == [Path("results") / folder / "coco/swin_l/pretrain/seed1/checkpoint.pt"]
    run = study.pretraining("coco", "swin_l", 1)
    assert (run.scale, run.dataset) == (folder, "coco") and f"coco-{digest(run.config, PRETRAIN)}" == folder


@pytest.mark.parametrize(
    ("key", "value", "shared"),
    [
        ("data.protocol", "official", True),
        ("data.coco_map", "seqformer", True),
        ("data.synthetic.still_images", 17, True),
        ("train.learning_rate", 3.0e-3, True),
        ("data.flip", 0.25, False),
        ("pretrain.short_sides", [96], False),
        ("pretrain.learning_rate", 3.0e-3, False),
        ("model.queries", 9, False),
    ],
)
def test_the_coco_stage_is_named_after_what_it_reads(root, tmp_path, key, value, shared):
    ablations = shutil.copytree(root / "ablations", tmp_path / "ablations")
    before = load_study("smoke", ablations).pretrain_folder("coco")
    path = ablations / "scales/smoke.yaml"
    tree = yaml.safe_load(path.read_text())
    node = tree
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value
    path.write_text(yaml.safe_dump(tree))
    assert (load_study("smoke", ablations).pretrain_folder("coco") == before) == shared


def test_a_users_datasets_share_the_coco_stage_and_generated_ones_have_their_own(changed):
    study = changed(datasets=["ytvis2019", "synthvis", "ytvis2021"], splits=["valid"])
    own = [run for run in planned_runs(study) if run.variant == PRETRAIN]
    assert [(run.dataset, run.is_measured) for run in own] == [("coco", False), ("synthvis", True)]
    assert own[1].directory == RUNS / "pretrain/seed1"
    with pytest.raises(InputError, match="found 'ytvis2019'; expected coco"):
        study.pretraining("ytvis2019", "tiny", 1)


def test_coco_is_no_dataset_of_a_study(changed):
    with pytest.raises(InputError, match="datasets: found 'coco'; expected videos"):
        changed(datasets=["coco"])


@pytest.mark.parametrize(
    ("splits", "annotations", "missing"),
    [
        (["valid"], None, True),
        (["valid"], [], True),
        (["local_valid", "valid"], "absent", True),
        (["valid"], [{"id": 1}], False),
        (["local_valid"], None, False),
    ],
)
def test_an_evaluated_valid_needs_ground_truth_before_anything_is_trained(
    changed, tmp_path, monkeypatch, splits, annotations, missing
):
    study = changed(datasets=["ytvis2019"], splits=splits)
    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid"):
        (tmp_path / "data/ytvis2019" / split / "JPEGImages").mkdir(parents=True)
    content = {"videos": [], "categories": []} | ({} if annotations == "absent" else {"annotations": annotations})
    (tmp_path / "data/ytvis2019/train.json").write_text("{}")
    (tmp_path / "data/ytvis2019/valid.json").write_text(json.dumps(content))
    message = "data/ytvis2019/valid.json: found no annotations, but study smoke evaluates on valid"
    assert (message in workflow.missing_data(study)) == missing


def test_a_variant_outside_the_study_is_refused(changed):
    with pytest.raises(InputError, match="study smoke: variants: found no 'temporal'; expected one of baseline, "):
        changed().training("synthvis", "tiny", "temporal", 1)


def test_training_runs_carry_the_configuration_of_their_variant(changed):
    study = changed()
    run = study.training("synthvis", "tiny", "ms_sts_temporal_fgbg", 5)
    assert run.config == study.configs["ms_sts_temporal_fgbg"].on("tiny") and run.stage == TRAIN
    start = study.pretraining("synthvis", "tiny", run.pretrain_seed)
    assert (start.config, start.variant, start.seed) == (study.baseline.on("tiny"), PRETRAIN, start.pretrain_seed)


def test_resolving_a_study_imports_nothing_heavy(root):
    modules = ("mssts.study.resolve", "mssts.study.workflow", "mssts.report.registry", "mssts.cli")
    heavy = ("torch", "mlflow", "pandas", "matplotlib", "scipy", "typst")
    code = f"import sys, {', '.join(modules)}; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
