"""A study of two runs with real videos: the predictions are the ground truth, which the baseline has of some only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from mssts.core.files import read_record, record_beside, sha256_file, write_json, write_record
from mssts.evaluation.evaluate import evaluate
from mssts.report.figures import write_figures
from mssts.report.tables import write_tables
from mssts.study.complexity import write_complexity
from mssts.study.complexity_file import FILE
from mssts.study.resolve import load_study
from mssts.ytvis.boxes import boxes_beside
from tests.report import fake_runs

TITLE = '</script><b>MS-STS</b> & "it\'s" {{ 7 * 7 }}'
QUESTION = "Is <script>document.title = 'run'</script> text?"
DATA = Path("data/smoke/synthvis")
FOUND_BY_BASELINE = (1, 3)  # ids of videos


def write_study(root: Path, data: Path) -> None:
    """Study `fake` in `root`, the working directory, with its tables and figures; data: a generated dataset."""
    fake_runs.write_ablations(root, seeds=(1,))
    study, variant = Path("ablations/studies/fake.yaml"), Path("ablations/variants/ms_sts.yaml")
    smaller = {"splits": ["valid"], "variants": ["baseline", "ms_sts"], "question": QUESTION}
    study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | smaller))
    variant.write_text(yaml.safe_dump(yaml.safe_load(variant.read_text()) | {"title": TITLE}))
    shutil.copytree(data, DATA)
    fake_runs.write_run("pretrain", 1, {"valid": 1}, commit="fedcba987654")
    _write_predictions(fake_runs.write_run("baseline", 1, {}), FOUND_BY_BASELINE)
    _write_predictions(fake_runs.write_run("ms_sts", 1, {}), None)
    runs = fake_runs.runs_of()
    write_tables(runs)
    write_complexity(load_study("fake"), runs.folder / FILE)
    write_figures(runs)


def _write_predictions(run: Path, found: tuple[int, ...] | None) -> None:
    """The ground truth of some videos, or of all, as the predictions of a run, evaluated."""
    (run / "checkpoint.pt").touch()
    entries = [
        {"video_id": one["video_id"], "category_id": one["category_id"], "score": 0.9}
        | {"segmentations": one["segmentations"]}
        for one in json.loads((DATA / "valid.json").read_text())["annotations"]
        if found is None or one["video_id"] in found
    ]
    path, record = run / "valid/predictions.json", read_record(run / "run.json")
    write_json(path, entries)
    write_json(boxes_beside(path), [[[0, 0, 1, 1]] * len(one["segmentations"]) for one in entries])
    files = {file.name: sha256_file(file) for file in (path, boxes_beside(path))}
    write_record(record_beside(path), {"checkpoint_sha256": record["checkpoint_sha256"], "files": files})
    evaluate(DATA / "valid.json", path, run / "valid/metrics.json", record, "valid")
