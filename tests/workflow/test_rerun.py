"""What a change makes necessary again, and what it must not: the table of docs/getting-started.md, by dry run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

REPORT = {"tables", "figures", "attention", "document", "html"}
VARIANT = "ms_sts_temporal_fgbg"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)


def test_a_finished_study_has_nothing_to_do(clone, rerun):
    assert rerun(clone) == {}


def test_neither_cores_nor_mlflow_settings_rerun_anything(clone, rerun):
    assert rerun(clone, "mlflow=off", "--cores", "1") == {}


def test_touched_and_commented_yamls_rerun_nothing(clone, rerun):
    later = time.time() + 60
    for path in clone.glob("ablations/**/*.yaml"):
        append(path, "\n# a remark\n")
        os.utime(path, (later, later))
    assert rerun(clone) == {}


def test_touched_and_copied_files_of_any_size_rerun_nothing(clone, rerun):
    """Content decides, for inputs that are newer than what was made of them, as after a copy."""
    later = time.time() + 600
    runs = "results/smoke/synthvis/tiny"
    for pattern in (
        "data/**/*",
        f"{runs}/pretrain/*/*.*",
        f"{runs}/[!p]*/*/*.*",
        f"{runs}/**/pred*",
        f"{runs}/**/[bm]*",
    ):
        later -= 60
        for path in clone.glob(pattern):
            os.utime(path, (later, later))
    assert rerun(clone) == {}


def test_a_changed_checkpoint_of_equal_size_reruns_what_depends_on_it(clone, rerun):
    changed = clone / "results/smoke/synthvis/tiny/baseline/seed1/checkpoint.pt"
    assert changed.stat().st_size > 10**6
    with changed.open("r+b") as file:
        file.write(b"D")
    os.utime(changed, (time.time() + 60, time.time() + 60))
    jobs = rerun(clone)
    assert all("/baseline/seed1/" in output for output in jobs["predict"])
    assert not {"generate", "pretrain", "train"} & set(jobs)


def test_evaluation_settings_rerun_evaluation_and_report_only(clone, rerun):
    replace(clone / "ablations/scales/smoke.yaml", "bootstrap_replicates: 50", "bootstrap_replicates: 60")
    assert set(rerun(clone)) == REPORT | {"evaluate"}


def test_one_variant_reruns_that_variant_and_report_only(clone, rerun):
    append(clone / f"ablations/variants/{VARIANT}.yaml", "  train.learning_rate: 3.0e-4\n")
    jobs = rerun(clone)
    assert set(jobs) == REPORT | {"train", "predict", "evaluate"}
    assert all(f"/{VARIANT}/" in output for rule in ("train", "predict", "evaluate") for output in jobs[rule])


def test_a_variants_title_reruns_the_report_only(clone, rerun):
    replace(clone / f"ablations/variants/{VARIANT}.yaml", "title: ", "title: All of ")
    assert set(rerun(clone)) == REPORT


def test_size_of_one_model_reruns_the_table_of_sizes(clone, rerun):
    replace(clone / "ablations/scales/smoke.yaml", "temporal: {width: 16", "temporal: {width: 32")
    assert {"complexity", "pretrain", "document"} < set(rerun(clone))


def test_training_settings_do_not_rerun_the_pretraining(clone, rerun):
    replace(clone / "ablations/scales/smoke.yaml", "\ntrain: {steps: 8,", "\ntrain: {steps: 9,")
    jobs = rerun(clone)
    assert not {"generate", "pretrain"} & set(jobs)
    assert len(jobs["train"]) == 2


def test_size_of_the_generated_data_reruns_everything(clone, rerun):
    replace(clone / "ablations/scales/smoke.yaml", "train_videos: 12", "train_videos: 13")
    assert {"generate", "pretrain", "train", "predict", "evaluate"} < set(rerun(clone))


def test_a_comment_in_the_code_never_costs_training(clone, rerun):
    files = [path for room in ("models", "losses", "data", "ops") for path in (clone / "mssts" / room).glob("*.py")]
    assert files
    for path in [*files, clone / "mssts/training/run.py"]:
        append(path, "\n# a remark\n")
    assert rerun(clone) == {}


@pytest.mark.parametrize("file", ["evaluation/average_precision.py", "ytvis/annotations.py", "ytvis/_compiled.c"])
def test_code_of_the_evaluation_reruns_evaluation_and_report(clone, rerun, file):
    append(clone / "mssts" / file, "\n// a remark\n" if file.endswith(".c") else "\n# a remark\n")
    assert set(rerun(clone)) == REPORT | {"evaluate"}


@pytest.mark.parametrize("module", ["report/tables/results.py", "study/differences.py"])
def test_code_of_the_report_reruns_the_report_only(clone, rerun, module):
    append(clone / "mssts" / module, "\n# a remark\n")
    assert set(rerun(clone)) == REPORT


def test_a_table_in_the_registry_is_an_output_of_the_workflow(clone, rerun):
    line = '    Entry("", "tables", "tables.mine", ("mine.csv",)),\n'
    replace(clone / "mssts/report/registry.py", "CONTENTS = (\n", f"CONTENTS = (\n{line}")
    assert rerun(clone)["tables"] == ["reports/smoke/mine.csv"]


def test_another_study_reruns_the_document_and_shares_the_runs(clone, rerun):
    source = clone / "ablations/studies/smoke.yaml"
    (source.parent / "other.yaml").write_text(source.read_text())
    jobs = rerun(clone, study="other")
    assert set(jobs) == REPORT | {"complexity"}
    assert jobs["document"] == ["reports/table.pdf"]


@pytest.mark.parametrize("rule", ["pretrain", "train"])
def test_a_training_that_runs_again_finds_no_file_of_the_last_one(clone, snakemake, rule):
    """It would take a finished run for its own, and do nothing."""
    output = f"results/smoke/synthvis/tiny/{'pretrain' if rule == 'pretrain' else 'baseline'}/seed1/checkpoint.pt"
    run = snakemake(clone, "--cores", "1", "--config", "study=smoke", "--forcerun", rule, "--", output)
    assert run.returncode == 0, run.stdout
    assert "1 of 1 steps (100%) done" in run.stdout, run.stdout


def test_a_lost_file_is_made_again_alone(clone, rerun):
    lost = "results/smoke/synthvis/tiny/baseline/seed1/valid/predictions.json"
    (clone / lost).unlink()
    assert rerun(clone, "--", lost) == {"predict": [lost]}
