"""What each kind of error costs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mssts.evaluation.errors import KINDS
from mssts.report.formats import mean_and_deviation
from mssts.report.parts import KEYS, Table, external_keys, rows_by_variant
from mssts.study.runs import StudyRuns

NOTE = (
    "AP gained over the ten IoU thresholds, in percentage points, if only the errors of one kind were corrected: "
    "right masks under the wrong category; too little overlap; an identity switch; false positives and duplicates; "
    "missed instances. The gains are not additive."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per variant and split: AP gained if the errors of one kind were corrected, mean ± deviation, percent."""
    rows = [[*keys, *_gains([result.metrics for result in present])] for keys, _, present in rows_by_variant(runs)]
    rows += [[*external_keys(one), *_gains([one.metrics] if one.metrics else [])] for one in runs.external]
    return pd.DataFrame(rows, columns=[*KEYS, *KINDS])


def _gains(metrics: list[Any]) -> list[str]:
    gains = [[one.get("errors", {}).get(kind, {}).get("AP") for one in metrics] for kind in KINDS]
    return [mean_and_deviation([None if gain is None else 100 * gain for gain in of_kind]) for of_kind in gains]


def parts(runs: StudyRuns) -> list[Table]:
    """The same table."""
    return [Table(frame(runs), NOTE)]
