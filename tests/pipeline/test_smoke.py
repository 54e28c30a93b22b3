"""The whole chain on the smallest study: every file is there, says what it should, and comes out the same again."""

from __future__ import annotations

import csv
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import mssts
from mssts import cli
from mssts.data.datasets import entry
from mssts.study.resolve import ResolvedStudy, load_study

ABLATIONS = Path(__file__).resolve().parents[2] / "ablations"
RUNS = Path("results/smoke/synthvis/tiny")
MEASURED = {"cost.json", "cost.csv", "cost.html"}  # seconds and memory: outside the rule of equal bytes


@pytest.fixture(scope="module")
def study() -> ResolvedStudy:
    return load_study("smoke", ABLATIONS)


def run_folders(directory: Path, study: ResolvedStudy) -> list[Path]:
    return [directory / RUNS / variant / "seed1" for variant in ("pretrain", *study.variants)]


def test_the_report_is_a_pdf_and_a_folder_of_pages(smoke):
    assert (smoke / "reports/table.pdf").read_bytes().startswith(b"%PDF-")
    pages = smoke / "reports/smoke/html"
    assert {path.name for path in pages.glob("*.html")} == {"index.html", "videos.html", "runs.html", "cost.html"}
    assert len(list(pages.glob("videos/*.html"))) == 10


def test_the_table_has_a_row_for_every_run_and_split(smoke, study):
    with (smoke / "reports/smoke/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["dataset", "split", "backbone", "variant", "seed"]
    found = sorted((row["split"], row["variant"], row["seed"]) for row in rows)
    assert found == sorted(
        (split, variant, "1") for split in study.spec.splits for variant in ("pretrain", *study.variants)
    )
    for row in rows:
        for metric in ("AP", "AP50", "AP75", "AR1", "AR10", "AP_agnostic", "AP_box"):
            assert 0 <= float(row[metric]) <= 100


def test_submissions_are_valid_and_complete(smoke, study):
    categories = {number for number, _ in entry("synthvis").categories}
    for split in study.spec.splits:
        truth = json.loads((smoke / "data/smoke/synthvis" / f"{split}.json").read_text())
        videos = {video["id"]: video for video in truth["videos"]}
        for run in run_folders(smoke, study):
            with zipfile.ZipFile(run / split / "predictions.zip") as archive:
                assert archive.testzip() is None
                assert archive.namelist() == ["results.json"]
                results = json.loads(archive.read("results.json"))
            assert results == json.loads((run / split / "predictions.json").read_text())
            boxes = json.loads((run / split / "predictions.boxes.json").read_text())
            lengths = [videos[result["video_id"]]["length"] for result in results]
            assert [len(boxes_T4) for boxes_T4 in boxes] == lengths
            assert {result["video_id"] for result in results} == set(videos)
            for result in results:
                video = videos[result["video_id"]]
                assert set(result) == {"video_id", "category_id", "score", "segmentations"}
                assert result["category_id"] in categories
                assert 0 <= result["score"] <= 1
                assert len(result["segmentations"]) == video["length"]
                sizes = {tuple(mask["size"]) for mask in result["segmentations"] if mask}
                assert sizes <= {(video["height"], video["width"])}


def test_every_variant_starts_from_the_same_weights_and_differs_in_the_end(smoke, study):
    records = {
        folder.parent.name: json.loads((folder / "run.json").read_text()) for folder in run_folders(smoke, study)
    }
    start = records.pop("pretrain")
    assert start["initial_checkpoint_sha256"] is None
    assert {record["initial_checkpoint_sha256"] for record in records.values()} == {start["checkpoint_sha256"]}
    assert len({record["checkpoint_sha256"] for record in records.values()} | {start["checkpoint_sha256"]}) == 3
    assert {record["data_fingerprint"] for record in records.values()} == {start["data_fingerprint"]}


def test_logs_reach_the_last_step_with_positive_losses(smoke, study):
    steps = study.baseline.train.steps
    for folder in run_folders(smoke, study):
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == steps
        assert all(line["loss"] > 0 for line in lines)


def test_figures_and_attention_maps_are_there(smoke):
    for folder in ("figures", "attention"):
        files = list((smoke / "reports/smoke" / folder).iterdir())
        assert any(path.suffix == ".pdf" for path in files), files
        assert any(path.suffix == ".png" for path in files), files


def test_no_output_names_the_working_directory_or_the_mlflow_store(smoke):
    marks = (str(smoke).encode(), b"mlruns")
    for folder in ("results", "reports/smoke"):
        for path in (smoke / folder).rglob("*"):
            if path.is_file() and path.name not in MEASURED and not path.name.startswith("."):
                content = path.read_bytes()
                assert not any(mark in content for mark in marks), path


def test_mlflow_has_one_run_for_each_run_of_the_study_and_one_for_its_report(smoke, study):
    with sqlite3.connect(smoke / "mlruns/mlflow.db") as database:
        experiments = {name for (name,) in database.execute("select name from experiments")}
        runs = database.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0]
        unfinished = database.execute("select count(*) from runs where status != 'FINISHED'").fetchone()[0]
    trainings = 1 + len(study.variants)
    assert "smoke" in experiments
    assert (runs, unfinished) == (trainings + 1, 0)


def test_each_run_in_mlflow_has_the_figures_of_the_report_but_the_pretraining(smoke, study):
    report = smoke / "reports/smoke"
    drawn = sorted(path.name for folder in ("figures", "attention") for path in (report / folder).glob("*.png"))
    runs = list((smoke / "mlruns/artifacts/smoke").glob("*/artifacts/run.json"))
    found = [sorted(path.name for path in (run.parent / "figures").glob("*")) for run in runs]
    assert sorted(found) == [[]] + [drawn] * len(study.variants)


def mirrored(database: Path) -> list[tuple]:
    """Name, status and metrics of every MLflow run."""
    with closing(sqlite3.connect(database)) as opened:
        query = """select name, status, key, value, step from runs left join metrics using (run_uuid)"""
        return sorted(opened.execute(query).fetchall(), key=str)


@pytest.mark.long
def test_sync_has_nothing_to_add_to_a_study_that_was_mirrored(smoke, monkeypatch):
    monkeypatch.chdir(smoke)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mirrored(smoke / "mlruns/mlflow.db")
    cli.mlflow_sync("smoke")
    assert mirrored(smoke / "mlruns/mlflow.db") == before


@pytest.mark.long
def test_sync_sends_to_another_store_all_that_the_study_sent_to_its_own(smoke, monkeypatch, tmp_path):
    monkeypatch.chdir(smoke)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    for _ in range(2):
        cli.mlflow_sync("smoke")
        assert mirrored(tmp_path / "other.db") == mirrored(smoke / "mlruns/mlflow.db")


@pytest.mark.long
def test_a_logged_model_predicts_what_its_checkpoint_predicts(smoke, monkeypatch):
    import mlflow

    monkeypatch.chdir(smoke)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{smoke}/mlruns/mlflow.db")
    frames = np.random.default_rng(1).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    run = RUNS / "baseline/seed1"
    expected = [track.score for track in mssts.load_model(run / "checkpoint.pt").predict(frames)]
    (found,) = mlflow.search_runs(
        experiment_names=["smoke"], filter_string="tags.variant = 'baseline'", output_format="list"
    )
    for uri in (f"runs:/{found.info.run_id}/model", "models:/smoke-baseline-tiny-synthvis/1"):
        assert [track.score for track in mssts.load_model(uri).predict(frames)] == expected
        assert [track["score"] for track in mlflow.pyfunc.load_model(uri).predict(frames)] == expected


def test_a_second_run_has_nothing_to_do(smoke, snakemake):
    run = snakemake(smoke, "--cores", "2", "--config", "study=smoke")
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout


@pytest.mark.long
def test_the_report_of_snakemake_has_categories_and_captions(smoke, snakemake):
    run = snakemake(smoke, "--cores", "1", "--config", "study=smoke", "--report", "report.zip")
    assert run.returncode == 0, run.stdout
    with zipfile.ZipFile(smoke / "report.zip") as archive:
        [page] = [name for name in archive.namelist() if name.endswith("report.html")]
        text = archive.read(page).decode()
    for expected in ("Attention maps", "Figures", "Tables", "whose caption stands there", "The report as pages"):
        assert expected in text


@pytest.mark.long
def test_the_same_study_gives_the_same_bytes_on_other_cores_without_mlflow(smoke, again):
    def contents(directory: Path) -> dict[str, bytes]:
        folders = ("data", "results", "reports/smoke")
        files = [path for folder in folders for path in (directory / folder).rglob("*") if path.is_file()]
        kept = [path for path in files if path.name not in MEASURED and not path.name.startswith(".")]
        return {str(path.relative_to(directory)): path.read_bytes() for path in kept}

    first, second = contents(smoke), contents(again)
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert (smoke / "reports/table.pdf").read_bytes() == (again / "reports/table.pdf").read_bytes()
    assert not (again / "mlruns/mlflow.db").exists()
