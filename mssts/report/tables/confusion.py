"""Which category the detection that finds an instance has, of every result."""

from __future__ import annotations

import pandas as pd

from mssts.report.parts import RESULT_KEYS, result_keys
from mssts.study.runs import StudyRuns

MISSED = "missed"


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each result, category of the instances and category of the detections that occur, with the count."""
    rows = []
    for one in runs.results:
        names = list(one.metrics["per_category"]) if one.metrics else []
        for name, counts in zip(names, (one.metrics or {}).get("confusion", []), strict=False):
            for found, count in zip([*names, MISSED], counts, strict=True):
                if count:
                    rows.append([*result_keys(one), name, found, str(count)])
    return pd.DataFrame(rows, columns=[*RESULT_KEYS, "category", "found_as", "instances"])
