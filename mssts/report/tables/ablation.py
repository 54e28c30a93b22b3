"""The ablation: differences to the baseline with intervals, tests over seeds, and what may be concluded."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.report.conclusions import conclusions
from mssts.report.formats import interval_text
from mssts.report.parts import KEYS, Sentences, Table
from mssts.study import differences as study_differences
from mssts.study.differences import MEASURES, Difference, Measure, read_differences
from mssts.study.runs import ALL_INSTANCES, StudyRuns

NOTE = (
    "Mean paired difference to the baseline over training seeds, in percentage points, "
    "with the 95 % paired bootstrap interval over videos."
)
TEST_NOTE = "Two-sided exact sign-flip test over seeds: p, and p after Holm's correction over the variants."


def frame(runs: StudyRuns) -> pd.DataFrame:
    """Compute the differences: one row each."""
    return study_differences.to_frame(study_differences.differences(runs))


def parts(runs: StudyRuns) -> list[Table | Sentences]:
    """One row per variant and benchmark, a column per measure, from the file; tests where there are enough seeds."""
    found = read_differences(runs)
    shown: list[Table | Sentences] = [Table(_wide(runs, found, _interval_cell), NOTE)]
    if any(difference.p is not None for difference in found):
        shown.append(Table(_wide(runs, found, _test_cell), TEST_NOTE))
    return [*shown, Sentences("Conclusions.", conclusions(runs, found))]


def _wide(runs: StudyRuns, found: list[Difference], cell: Callable[[Difference], str]) -> pd.DataFrame:
    columns = study_differences.measured(found) or [MEASURES[0]]
    rows: dict[tuple[str, ...], dict[Measure, str]] = {}
    for one in found:
        key = (*one.benchmark, runs.study.titles[one.variant], str(one.seeds))
        rows.setdefault(key, {})[one.measure] = cell(one) if one.seeds else NOT_RUN
    cells = [[*key, *(values[measure] for measure in columns)] for key, values in rows.items()]
    return pd.DataFrame(cells, columns=[*KEYS, *map(_heading, columns)])


def _heading(measure: Measure) -> str:
    return f"Δ{measure.metric}" if measure.subset == ALL_INSTANCES else f"Δ{measure.metric} {measure.subset}"


def _interval_cell(difference: Difference) -> str:
    return interval_text(difference.interval) if difference.interval else NO_VALUE


def _test_cell(difference: Difference) -> str:
    return NO_VALUE if difference.p is None else f"{difference.p:.3f}, {difference.p_holm:.3f}"
