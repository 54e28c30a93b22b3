"""Versions and devices that the runs were computed with."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from mssts.report.parts import Table
from mssts.study.runs import StudyRuns

NOTE = "Versions and devices of the trainings, and how many runs used them; a resumed run may have used several."


def parts(runs: StudyRuns) -> list[Table]:
    """A row for each environment; no table if none is recorded."""
    found = Counter(
        tuple((key, str(value)) for key, value in one.items())
        for run in runs.runs
        if run.record
        for one in run.record.get("environments", [])
    )
    if not found:
        return []
    rows = [[dict(one).get("device", ""), _others(dict(one)), str(count)] for one, count in found.items()]
    return [
        Table(
            pd.DataFrame(rows, columns=["Device", "Versions and flags", "Runs"]),
            NOTE,
            by=(),
            heading=str,
            text_columns=2,
        )
    ]


def _others(one: dict[str, str]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in one.items() if key != "device")
