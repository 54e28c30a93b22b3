"""The configuration of the study: the baseline's values, and what each variant changes."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any

import pandas as pd

from mssts.config import MAPPING_KEYS, RECORDED, leaves
from mssts.core.csv_files import NO_VALUE
from mssts.report.parts import Table
from mssts.study.runs import StudyRuns

NOTE = "Configuration of the baseline at the scale of this study. ablations/baseline.yaml names the source of each."
PARTS = ("", " (2)", " (3)")
CHANGES_NOTE = "What each variant changes in the baseline."


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each key that is set."""
    tree = runs.study.baseline.model_dump(mode="json", by_alias=True)
    values = leaves({name: tree[name] for name in RECORDED}, MAPPING_KEYS)
    rows = [[key, _text(value)] for key, value in values.items() if value not in (None, [], {})]
    return pd.DataFrame(rows, columns=["Key", "Value"])


def parts(runs: StudyRuns) -> list[Table]:
    """The changes, and the keys in three columns."""
    rows = frame(runs).values.tolist()
    third = -(-len(rows) // 3)
    columns = [rows[start : start + third] for start in range(0, 3 * third, third)]
    beside = [[*chain(*cells)] for cells in zip_longest(*columns, fillvalue=["", ""])]
    shown = pd.DataFrame(beside, columns=[f"{name}{part}" for part in PARTS for name in ("Key", "Value")])
    changes = [
        [variant.title, "; ".join(f"{key} = {_text(value)}" for key, value in variant.changes.items()) or NO_VALUE]
        for variant in runs.study.variants.values()
    ]
    return [
        Table(
            pd.DataFrame(changes, columns=["Variant", "Changes"]),
            CHANGES_NOTE,
            by=(),
            heading=str,
            text_columns=2,
            size=7.4,
        ),
        Table(shown, NOTE, by=(), heading=str, text_columns=len(shown.columns), size=6.5),
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
