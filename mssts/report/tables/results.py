"""The study's results: every run in the CSV file, means over seeds elsewhere."""

from __future__ import annotations

import pandas as pd

from mssts.data.datasets import LOCAL, is_generated
from mssts.report.conclusions import Verdict, verdict
from mssts.report.formats import mean_and_deviation
from mssts.report.parts import (
    KEYS,
    RESULT_KEYS,
    Table,
    benchmark_heading,
    external_keys,
    metric_cells,
    result_keys,
    rows_by_variant,
)
from mssts.study.differences_file import FILE, read_differences
from mssts.study.runs import ALL_INSTANCES, METRICS, StudyRuns


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per run and split, metrics in percent with two decimals."""
    rows = [[*result_keys(one), *metric_cells(one)] for one in runs.results]
    rows += [[*external_keys(other), *metric_cells(other)] for other in runs.external]
    return pd.DataFrame(rows, columns=[*RESULT_KEYS, *METRICS])


def parts(runs: StudyRuns) -> list[Table]:
    """One row per variant and split: mean ± standard deviation over seeds."""
    rows = [
        [*keys, *(mean_and_deviation([result.value(ALL_INSTANCES, name) for result in present]) for name in METRICS)]
        for keys, _, present in rows_by_variant(runs)
    ]
    above = _above_the_baseline(runs)
    keys = [(tuple(row[:3]), row[3]) for row in rows]
    bold = [
        (n, metric) for n, (where, title) in enumerate(keys) for metric in METRICS if (where, title, metric) in above
    ]
    rows += [[*external_keys(other), *metric_cells(other)] for other in runs.external]
    shown = pd.DataFrame(rows, columns=[*KEYS, *METRICS])
    size = 8.6 if len(runs.study.spec.seeds) == 1 else 7.2  # with deviations
    return [Table(shown, _note(runs), heading=_heading, size=size, tint="ours", bold=bold)]


def _above_the_baseline(runs: StudyRuns) -> set[tuple[tuple[str, ...], str, str]]:
    """(benchmark, title of the variant, metric) whose verdict is above; none before the differences are written."""
    if not (runs.folder / FILE).is_file():
        return set()
    return {
        (tuple(one.benchmark), one.contrast.title, one.measure.metric)
        for one in read_differences(runs)
        if one.contrast.kind == "difference" and one.measure.subset == ALL_INSTANCES and verdict(one) is Verdict.ABOVE
    }


def _heading(*benchmark: str) -> str:
    return f"This study: {benchmark_heading(*benchmark)}"


def _videos(dataset: str, split: str) -> str:
    """What the videos of a split are."""
    if is_generated(dataset):
        return "this project's own data"
    named = {f"{LOCAL}valid": "held-out training videos", "valid": "validation videos with the user's ground truth"}
    return named.get(split, "training videos")


def _note(runs: StudyRuns) -> str:
    """What the table shows and what it must not be compared with."""
    spec = runs.study.spec
    data = " and ".join(dict.fromkeys(_videos(dataset, split) for dataset in spec.datasets for split in spec.splits))
    return (
        "Mean over training seeds ± sample standard deviation, in percent. "
        f"Local {'splits' if len(spec.splits) > 1 else 'split'} ({', '.join(spec.splits)}) of {data}: "
        "not comparable with results on the official YouTube-VIS validation set. "
        "Box AP compares the decoder's boxes in place of the masks. Bold: above the baseline, its simultaneous "
        "interval excludes zero (AP, AP75, class-agnostic AP and box AP are tested)."
    )
