"""A study on a dataset of one's own: every stage runs on its frames alone, and nothing asks for COCO."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mssts.config import load_baseline
from mssts.core.files import read_record
from mssts.data.coco import DIRECTORY as COCO
from mssts.data.prepare import prepare
from mssts.data.training import pretraining_clips
from mssts.evaluation.evaluate import evaluate
from mssts.inference.predict import predict
from mssts.study.lengths import planned_length
from mssts.study.matrix import planned_runs
from mssts.study.plan import plan
from mssts.study.resolve import load_study
from mssts.study.workflow import missing_data
from mssts.training import run as training
from tests.data.test_own_datasets import write_videos

DATA = Path("data/ponds")
STUDY = """\
question: Does a study on my own videos run?
scale: smoke
datasets: [ponds]
splits: [local_valid]
backbones: [tiny]
variants: [baseline, ms_sts]
seeds: [1]
cost: nothing
expect: nothing
"""


@pytest.fixture(scope="module")
def ponds(tmp_path_factory, root):
    """A directory with the dataset, prepared, and the study `mine`."""
    directory = tmp_path_factory.mktemp("ponds")
    shutil.copytree(root / "ablations", directory / "ablations")
    (directory / "ablations/studies/mine.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        write_videos(directory)
        prepare("ponds", DATA)
        yield directory


def test_nothing_of_the_study_needs_coco(ponds):
    study = load_study("mine")
    assert missing_data(study) == ""
    runs = planned_runs(study)
    assert [(run.dataset, run.variant) for run in runs] == [
        ("ponds", name) for name in ("pretrain", "baseline", "ms_sts")
    ]
    assert all(COCO not in str(run.directory) for run in runs)
    assert study.pretraining("ponds", "tiny", 1).dataset == "ponds"


def test_a_pretraining_draws_every_frame_of_the_training_videos_as_a_still(ponds):
    study = load_study("mine")
    clips = pretraining_clips("ponds", DATA, study.baseline)
    assert len(clips) == 16 == read_record(DATA / "fingerprint.json")["splits"]["local_train"]["frames"]
    assert planned_length(study, "ponds", "pretrain").clips == (16, False)
    held_out = {video["id"] for video in json.loads((DATA / "local_valid.json").read_text())["videos"]}
    drawn = [clips.clip(index, np.random.default_rng(index)) for index in range(16)]
    assert held_out.isdisjoint(clip.video_id for clip in drawn)
    assert all(len(set(clip.frame_indices)) == 1 for clip in drawn)
    assert {clip.frame_indices[0] for clip in drawn} == {0}  # the second frame of each video shows no object


@pytest.mark.long
def test_the_plan_of_the_study_counts_its_categories(ponds):
    text = plan(load_study("mine"), load_baseline())
    assert "ponds" in text and COCO not in text.split("Assumptions")[0].lower()


def test_trainings_predictions_and_metrics_of_the_study_hold_its_categories(ponds):
    study = load_study("mine")
    start, run = ponds / "pretrain", ponds / "run"
    training.train(study.pretraining("ponds", "tiny", 1), DATA, start)
    training.train(study.training("ponds", "tiny", "ms_sts", 1), DATA, run, start / "checkpoint.pt")
    record = read_record(run / "run.json")
    assert "coco_fingerprint" not in record and record["clips"] == 16
    predictions = run / "local_valid/predictions.json"
    predict(study.baseline, run / "checkpoint.pt", DATA, "ponds", "local_valid", predictions)
    metrics = evaluate(DATA / "local_valid.json", predictions, run / "metrics.json", record, "local_valid")
    assert list(metrics["per_category"]) == ["duck", "goose"] and "reeds" in metrics["attributes"]


@pytest.mark.long
def test_the_workflow_makes_the_report_of_a_study_on_ones_own_videos(root, tmp_path, copy_sources, snakemake):
    sources = copy_sources(tmp_path / "clone")
    write_videos(sources)
    (sources / "ablations/studies/mine.yaml").write_text(STUDY)
    done = snakemake(sources, "--cores", "2", "--config", "study=mine", "mlflow=off", "--", "reports/table.pdf")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (sources / "reports/table.pdf").stat().st_size > 10_000
    assert "ponds" in (sources / "reports/mine/table.md").read_text()
