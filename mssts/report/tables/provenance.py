"""What made each run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mssts.backbones import BACKBONES
from mssts.config import NO_START, PRETRAIN, RANDOM
from mssts.core.csv_files import NOT_RUN
from mssts.report.parts import Table
from mssts.study.matrix import Run
from mssts.study.resolve import ResolvedStudy
from mssts.study.runs import StudyRuns
from mssts.training.start import WITHOUT_CHECKPOINT

NOTE = (
    "What made each row: commit of the code, digest of the resolved configuration, fingerprint of the data (+ that of "
    "COCO where its images were used), what the training started from (the seed of its pre-training; the backbone's "
    "weights of ImageNet; none; or the first digits of a named checkpoint's SHA-256), and those of its own checkpoint."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per run. A run of another commit than most is marked in the column `note`."""
    rows = []
    for run in runs.runs:
        record = run.record
        if record is None:
            rows.append([run.name, *[NOT_RUN] * 6, ""])
            continue
        note = "" if record["commit"] == runs.commit else f"another commit than most ({runs.commit})"
        data = " + ".join([record["data_fingerprint"], *filter(None, [record.get("coco_fingerprint")])])
        made_by = [record["commit"], record["config_digest"], data, _start(runs.study, run, record)]
        rows.append([run.name, *made_by, record["checkpoint_sha256"][:12], str(record["parameters"]), note])
    columns = ["commit", "config_digest", "data_fingerprint", "start", "checkpoint", "parameters", "note"]
    return pd.DataFrame(rows, columns=["run", *columns])


def _start(study: ResolvedStudy, run: Run, record: dict[str, Any]) -> str:
    """What the run started from, in one or two words."""
    if run.variant == PRETRAIN:
        weights = study.baseline.pretrain.backbone_weights
        return Path(weights).name if BACKBONES[run.backbone].has_weights and weights != RANDOM else NO_START
    start = study.configs[run.variant].train.start(run.backbone)
    if start == PRETRAIN:
        return f"{PRETRAIN} {record['pretrain_seed']}"
    return start if start in WITHOUT_CHECKPOINT else record["initial_checkpoint_sha256"][:12]


def parts(runs: StudyRuns) -> list[Table]:
    """The same table without the parameters, notes as footnotes."""
    rows = frame(runs)
    shown = rows.drop(columns=["parameters", "note"]).rename(columns=str.capitalize)
    heading = "dataset/backbone/variant/seed".format
    return [Table(shown, NOTE, by=(), heading=heading, row_notes=list(rows["note"]), text_columns=4, size=7.4)]
