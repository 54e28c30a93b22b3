"""Which category the detection that finds an instance has, of every result."""

from __future__ import annotations

import pandas as pd

from mssts.report.parts import RESULT_KEYS, result_keys
from mssts.study.runs import StudyRuns

MISSED = "missed"


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each result, category of the instances and category of the detections that occur, with the count."""
    rows = [
        [*result_keys(one), name, MISSED if found is None else found, str(count)]
        for one in runs.results
        for name, found, count in (one.metrics or {}).get("found_as", [])
    ]
    return pd.DataFrame(rows, columns=[*RESULT_KEYS, "category", "found_as", "instances"])
