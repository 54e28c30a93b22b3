"""The paper's studies: what is missing is said before anything runs; with the data there, the right jobs are listed."""

from __future__ import annotations

import csv
import json
import re
import zipfile

import pytest
import yaml

from mssts.config import canonical, resolve
from mssts.core.checkpoint import save_checkpoint
from mssts.study.resolve import load_study
from tests.data import fake_youtube_vis as fake
from tests.data.test_training import write_coco
from tests.pipeline.local_slurm import local_slurm, missing
from tests.snakemake_process import run_snakemake

pytestmark = pytest.mark.long

SMALL = """
data: {protocol: local, joint: true, short_sides: [64], max_long_side: 96, crop: false, pad_multiple: 32}
model:
  hidden_dim: 32
  heads: 4
  points: 2
  feedforward_dim: 64
  queries: 8
  encoder: {layers: 1, ms_sts: {width: 16, heads: 4, feedforward_dim: 32}}
  decoder: {layers: 2, temporal: {width: 16, heads: 4}}
loss: {foreground_background: {min_score: 0.5, channels: 8}}
pretrain: {short_sides: null, max_long_side: null, steps: 4, epochs: null, batch_clips: 2, frames: 2, log_every: 2}
train: {init: pretrain, steps: 4, epochs: null, batch_clips: 2, frames: 3, log_every: 2}
predict: {short_side: 64}
evaluation: {bootstrap_replicates: 40}
runtime: {device: cpu, threads: 1}
execution: {devices: 2, clips_per_device: 1}
"""
# As a study on CUDA asks for them, of a Slurm whose GPUs are none.
GPUS = ("pretrain:gpu=2", "train:gpu=2", "predict:gpu=1", "attention:gpu=1")


@pytest.fixture
def sources(copy_sources, tmp_path):
    return copy_sources(tmp_path / "clone")


def bring(directory, dataset):
    fake.write(directory / "data" / dataset, dataset)
    write_coco(directory / "data")


YEARS = pytest.mark.parametrize(("study", "dataset"), [("paper-2019", "ytvis2019"), ("paper-2021", "ytvis2021")])
JOBS = {
    "prepare": 1,
    "prepare_coco": 1,
    "pretrain": 3,  # backbones, one COCO stage each for three seeds
    "train": 3 * 4 * 3,  # backbones, variants, seeds
    "predict": 2 * 36,  # held-out videos, and the official ones to submit
    "evaluate": 36,
    "document": 1,
    "html": 1,
}


def listed(stdout):
    """Jobs by rule, from the table of a dry run."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stdout, re.M)}


@YEARS
def test_without_data_the_jobs_are_listed_and_every_missing_file_with_its_site(snakemake, sources, study, dataset):
    run = snakemake(sources, "-n", "--cores", "1", "--config", f"study={study}")
    assert run.returncode == 0, run.stdout
    assert listed(run.stdout).items() >= JOBS.items()
    message = run.stdout.partition("Missing, and needed before the study can run:")[2]
    for said in ("train.json", "train/JPEGImages/", "valid.json", "valid/JPEGImages/"):
        assert f"data/{dataset}/{said}" in message
    assert "data/coco/annotations/instances_train2017.json" in message and "data/coco/train2017/" in message
    assert "youtube-vos.org" in message and "cocodataset.org" in message


def test_without_data_no_job_runs(snakemake, sources):
    run = snakemake(sources, "--cores", "1", "--config", "study=paper-2019", "mlflow=off")
    assert run.returncode != 0 and "Traceback (most recent call last)" not in run.stdout
    assert run.stdout.count("data/ytvis2019/train.json (annotation file)") == 1
    assert not (sources / "logs").exists() and not (sources / "reports/paper-2019").exists()


@YEARS
def test_the_right_jobs_are_listed_once_the_data_is_there(snakemake, sources, study, dataset):
    bring(sources, dataset)
    run = snakemake(sources, "-n", "--cores", "1", "--config", f"study={study}")
    assert run.returncode == 0, run.stdout
    jobs = listed(run.stdout)
    assert jobs.items() >= JOBS.items()
    assert "generate" not in jobs and "Missing, and" not in run.stdout
    assert f"data/{dataset}/local_valid.json" in run.stdout
    shared = load_study("paper-2019", sources / "ablations").pretrain_folder("coco")
    assert f"results/{shared}/coco/swin_l/pretrain/seed1/checkpoint.pt" in run.stdout
    assert not re.search(r"/seed\d/valid/metrics\.json", run.stdout)  # official videos have no annotations


def test_the_official_protocol_makes_zips_and_no_number(snakemake, sources):
    bring(sources, "ytvis2019")
    run = snakemake(sources, "-n", "--cores", "1", "--config", "study=paper-2019-official")
    assert run.returncode == 0, run.stdout
    jobs = listed(run.stdout)
    assert (jobs["train"], jobs["predict"]) == (6, 6)
    assert not {"evaluate", "tables", "document", "html"} & set(jobs)


def test_a_checkpoint_of_ones_own_takes_the_place_of_the_coco_stage(snakemake, sources):
    bring(sources, "ytvis2021")
    scale = sources / "ablations/scales/paper-2021.yaml"
    starts = "{resnet50: weights/seqformer.pt, resnet101: none, swin_l: imagenet}"
    scale.write_text(scale.read_text().replace("init: pretrain", f"init: {starts}"))
    run = snakemake(sources, "-n", "--cores", "1", "--config", "study=paper-2021")
    assert run.returncode != 0 and "weights/seqformer.pt: no such checkpoint" in run.stdout
    (sources / "weights").mkdir()
    values = {"config": canonical(resolve("paper-2021")), "model": {}, "categories": []}
    save_checkpoint(sources / "weights/seqformer.pt", values | {"backbone": "resnet101"})
    run = snakemake(sources, "-n", "--cores", "1", "--config", "study=paper-2021")
    assert run.returncode != 0 and "seqformer.pt: is of backbone resnet101, but the model has resnet50" in run.stdout
    save_checkpoint(sources / "weights/seqformer.pt", values | {"backbone": "resnet50"})
    run = snakemake(sources, "-n", "-p", "--cores", "1", "--config", "study=paper-2021")
    assert run.returncode == 0, run.stdout
    commands = [line for line in run.stdout.splitlines() if "mssts train " in line]
    named = {(line.split("--backbone ")[1].split()[0], "--init weights/seqformer.pt " in line) for line in commands}
    assert named == {("resnet50", True), ("resnet101", False), ("swin_l", False)}
    assert sum("--init" in line for line in commands) * 3 == len(commands)
    jobs = listed(run.stdout)
    assert "pretrain" not in jobs and jobs["prepare_coco"] == 1  # for the joint training


def test_a_local_split_is_refused_under_the_official_protocol(snakemake, sources):
    study = sources / "ablations/studies/paper-2019-official.yaml"
    study.write_text(study.read_text().replace("splits: []", "splits: [local_valid]"))
    run = snakemake(sources, "-n", "--cores", "1", "--config", "study=paper-2019-official")
    assert run.returncode != 0 and "are part of the training videos of data.protocol: official" in run.stdout


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_paper_study_runs_on_slurm_to_its_report_with_the_sizes_shrunk_by_config_alone(sources):
    bring(sources, "ytvis2019")
    (sources / "ablations/scales/paper-2019.yaml").write_text(SMALL)
    path = sources / "ablations/studies/paper-2019.yaml"
    study = yaml.safe_load(path.read_text())
    path.write_text(
        yaml.safe_dump(study | {"backbones": ["tiny"], "variants": ["baseline", "ms_sts_temporal_fgbg"], "seeds": [1]})
    )
    profile = ["--workflow-profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
    options = [*profile, "--set-resources", *GPUS, "--config", "study=paper-2019", "mlflow=off"]
    with local_slurm() as slurm:
        run = run_snakemake(sources, options, slurm.environment)
        assert run.returncode == 0, run.stdout[-8000:]
        asked = slurm("squeue", "--noheader", "--states=COMPLETED", "--Format=comment:99,tres-per-job").splitlines()
    on_two = [line.split("_")[1] for line in asked if line.split()[-1] == "gres:gpu:2"]
    assert sorted(on_two) == ["pretrain", "train", "train"]
    assert (sources / "reports/table.pdf").stat().st_size > 10_000
    with (sources / "reports/paper-2019/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["variant"] for row in rows} == {"baseline", "ms_sts_temporal_fgbg"}
    assert "not run" not in {row["AP"] for row in rows}
    for variant in ("baseline", "ms_sts_temporal_fgbg"):
        run_dir = sources / "results/paper-2019/ytvis2019/tiny" / variant / "seed1"
        record = json.loads((run_dir / "run.json").read_text())
        for key, folder in (("data_fingerprint", "ytvis2019"), ("coco_fingerprint", "coco")):
            assert (
                record[key] == json.loads((sources / "data" / folder / "fingerprint.json").read_text())["fingerprint"]
            )
        with zipfile.ZipFile(run_dir / "valid/predictions.zip") as archive:
            assert archive.namelist() == ["results.json"]
        assert not (run_dir / "valid/metrics.json").exists()
    [start] = (sources / "results").glob("coco-*/coco/tiny/pretrain/seed1/run.json")
    assert json.loads(start.read_text())["checkpoint_sha256"] == record["initial_checkpoint_sha256"]
