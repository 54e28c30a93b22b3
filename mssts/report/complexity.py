"""The table of parameters and FLOPs: of a study's models as they are configured, trained or not. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mssts.core.errors import InputError
from mssts.report.formats import NO_VALUE, read_csv, signed
from mssts.study.runs import BASELINE, StudyRuns

FILE = "complexity.csv"
COLUMNS = ["dataset", "backbone", "variant", "frames", "height", "width", "parameters", "flops"]
COUNTED = "A multiply-add counts as two FLOPs; sampling of deformable attention and mask convolutions are not counted."
NOTE = f"Parameters at inference and FLOPs of one clip, and what a variant adds to the baseline. {COUNTED}"


def read_complexity(path: Path) -> pd.DataFrame:
    """The table of `mssts complexity`, numbers as integers. Raises InputError if missing or of another layout."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Write it first (mssts complexity).")
    frame = read_csv(path)
    if list(frame.columns) != COLUMNS:
        raise InputError(f"{path}: found columns {list(frame.columns)}. Write it again (mssts complexity).")
    return frame.astype(dict.fromkeys(COLUMNS[3:], int))


def complexity_table(runs: StudyRuns, folder: Path) -> dict[str, Any]:
    """What the report shows, a block for each dataset and backbone.

    Raises InputError if the file is missing, or says something else than the records of the runs or the study.
    """
    path = folder / FILE
    frame = read_complexity(path)
    _check(runs, frame, path)
    blocks = []
    for (dataset, backbone), part in frame.groupby(["dataset", "backbone"], sort=False):
        part = part.set_index("variant")
        baseline = part.loc[BASELINE] if BASELINE in part.index else None
        first = part.iloc[0]
        clip = f"clip of {first['frames']} frames of {first['height']} x {first['width']} px"
        rows = [_row(runs.titles[variant], own, baseline) for variant, own in part.iterrows()]
        blocks.append({"label": f"dataset {dataset}, backbone {backbone}, {clip}", "rows": rows})
    columns = ["Variant", "Parameters", "Added", "Added, %", "GFLOPs per clip", "Added, %"]
    return {"columns": columns, "blocks": blocks, "note": NOTE}


def _row(title: str, own: pd.Series, baseline: pd.Series | None) -> list[str]:
    count, flops = own["parameters"], own["flops"]
    added = [NO_VALUE] * 3
    if baseline is not None:
        shares = (count / baseline["parameters"], flops / baseline["flops"])
        added = [signed(count - baseline["parameters"], 0), *(signed(100 * (share - 1), 1) for share in shares)]
    return [title, f"{count:,}", *added[:2], _giga(flops), added[2]]


def _giga(flops: int) -> str:
    billions = flops / 1e9
    return f"{billions:,.1f}" if billions >= 100 else f"{billions:.3g}"


def _check(runs: StudyRuns, frame: pd.DataFrame, path: Path) -> None:
    counts = {(row.dataset, row.backbone, row.variant): row.parameters for row in frame.itertuples()}
    study = runs.study
    wanted = [(d, b, v) for d in study.datasets for b in study.backbones for v in study.variants]
    trained = {(run.dataset, run.backbone, run.variant): run.record["parameters"] for run in runs.runs if run.record}
    if list(counts) != wanted or any(trained.get(key, count) != count for key, count in counts.items()):
        raise InputError(
            f"{path}: not the models of the study's runs. Write it again (mssts complexity --study {runs.name})."
        )
