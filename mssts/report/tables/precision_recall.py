"""Precision over recall of every result."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import decimals
from mssts.evaluation.average_precision import RECALL_POINTS, THRESHOLD_SLICES
from mssts.report.parts import RESULT_KEYS, result_keys
from mssts.study.runs import StudyRuns


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each result and recall; interpolated precision in 0..1, averaged over categories, of each AP."""
    rows = []
    for one in runs.results:
        curves = (one.metrics or {}).get("precision_recall")
        if curves is None:
            continue
        for position, recall in enumerate(RECALL_POINTS):
            values = (decimals(curves[name][position], 4) for name in THRESHOLD_SLICES)
            rows.append([*result_keys(one), f"{recall:.2f}", *values])
    return pd.DataFrame(rows, columns=[*RESULT_KEYS, "recall", *THRESHOLD_SLICES])
