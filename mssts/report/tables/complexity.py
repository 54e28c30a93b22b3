"""Parameters and FLOPs of the study's models as they are configured, trained or not."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import NO_VALUE
from mssts.report.formats import signed
from mssts.report.parts import Table
from mssts.study.complexity_file import COUNTED, read_complexity
from mssts.study.resolve import BASELINE
from mssts.study.runs import StudyRuns

NOTE = f"Parameters at inference and FLOPs of one clip, and what a variant adds to the baseline. {COUNTED}"
_COLUMNS = ["Variant", "Parameters", "Added", "Added, %", "GFLOPs per clip", "FLOPs added, %"]


def parts(runs: StudyRuns) -> list[Table]:
    """One row per model."""
    rows = []
    for (dataset, backbone), models in read_complexity(runs).groupby(["dataset", "backbone"], sort=False):
        models = models.set_index("variant")
        baseline = models.loc[BASELINE] if BASELINE in models.index else None
        for variant, own in models.iterrows():
            clip = f"clip of {own['frames']} frames of {own['height']} x {own['width']} px"
            rows.append([dataset, backbone, clip, runs.study.titles[variant], *_cells(own, baseline)])
    by, heading = ("Dataset", "Backbone", "Clip"), "dataset {}, backbone {}, {}".format
    return [Table(pd.DataFrame(rows, columns=[*by, *_COLUMNS]), NOTE, by=by, heading=heading, size=8.6)]


def _cells(own: pd.Series, baseline: pd.Series | None) -> list[str]:
    count, flops = own["parameters"], own["flops"]
    added = [NO_VALUE] * 3
    if baseline is not None:
        shares = (count / baseline["parameters"], flops / baseline["flops"])
        added = [signed(count - baseline["parameters"], 0), *(signed(100 * (share - 1), 1) for share in shares)]
    billions = flops / 1e9
    return [f"{count:,}", *added[:2], f"{billions:,.1f}" if billions >= 100 else f"{billions:.3g}", added[2]]
