"""What made each run."""

from __future__ import annotations

import pandas as pd

from mssts.config import PRETRAIN
from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.report.parts import Table
from mssts.study.runs import StudyRuns

NOTE = (
    "What made each row: commit of the code, digest of the resolved configuration, fingerprint of the data (+ that of "
    "COCO where its images were used), first digits of the checkpoint's SHA-256, and the pre-training seed that it "
    "started from."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per run. A run of another commit than most is marked in the column `note`."""
    rows = []
    pretrained = any(run.variant == PRETRAIN for run in runs.runs)  # else they start from a checkpoint that is named
    for run in runs.runs:
        record = run.record
        if record is None:
            rows.append([run.name, *[NOT_RUN] * 6, ""])
            continue
        note = "" if record["commit"] == runs.commit else f"another commit than most ({runs.commit})"
        data = " + ".join([record["data_fingerprint"], *filter(None, [record.get("coco_fingerprint")])])
        start = str(record["pretrain_seed"]) if pretrained and run.variant != PRETRAIN else NO_VALUE
        made_by = [record["commit"], record["config_digest"], data, start]
        rows.append([run.name, *made_by, record["checkpoint_sha256"][:12], str(record["parameters"]), note])
    columns = ["commit", "config_digest", "data_fingerprint", "pretrain_seed", "checkpoint", "parameters", "note"]
    return pd.DataFrame(rows, columns=["run", *columns])


def parts(runs: StudyRuns) -> list[Table]:
    """The same table without the parameters, notes as footnotes."""
    rows = frame(runs)
    shown = rows.drop(columns=["parameters", "note"]).rename(columns=str.capitalize)
    heading = "dataset/backbone/variant/seed".format
    return [Table(shown, NOTE, by=(), heading=heading, row_notes=list(rows["note"]), text_columns=4, size=7.4)]
