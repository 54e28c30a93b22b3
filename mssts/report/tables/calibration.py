"""Scores of detections against how often they are right, of every result."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import decimals
from mssts.report.parts import RESULT_KEYS, result_keys
from mssts.study.runs import StudyRuns


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each result and tenth of the scores, as in `mssts.evaluation.curves.calibration`."""
    rows = [
        [
            *result_keys(one),
            *(f"{part['low']:.1f}", f"{part['high']:.1f}", str(part["detections"])),
            *(decimals(part["score"], 4), decimals(part["right"], 4)),
        ]
        for one in runs.results
        for part in (one.metrics or {}).get("calibration", [])
    ]
    return pd.DataFrame(rows, columns=[*RESULT_KEYS, "low", "high", "detections", "score", "right"])
