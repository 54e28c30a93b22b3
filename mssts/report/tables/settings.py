"""The configuration of the study: the baseline's values, and what each variant changes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mssts.config import MAPPING_KEYS, RECORDED, leaves
from mssts.core.csv_files import NO_VALUE
from mssts.report.parts import Table
from mssts.study.runs import StudyRuns

NOTE = "Configuration of the baseline at the scale of this study. Tags of sources stand in ablations/baseline.yaml."
CHANGES_NOTE = "What each variant changes in the baseline."


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each key that is set."""
    tree = runs.study.baseline.model_dump(mode="json", by_alias=True)
    values = leaves({name: tree[name] for name in RECORDED}, MAPPING_KEYS)
    rows = [[key, _text(value)] for key, value in values.items() if value not in (None, [], {})]
    return pd.DataFrame(rows, columns=["Key", "Value"])


def parts(runs: StudyRuns) -> list[Table]:
    """The keys in two columns, and the changes."""
    rows = frame(runs).values.tolist()
    half = -(-len(rows) // 2)
    sides = [[*left, *right] for left, right in zip(rows[:half], [*rows[half:], ["", ""]], strict=False)]
    shown = pd.DataFrame(sides, columns=["Key", "Value", "Key (continued)", "Value (continued)"])
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
        Table(shown, NOTE, by=(), heading=str, text_columns=4, size=7.0),
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
