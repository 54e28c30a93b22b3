"""The study's results: every run in the CSV file, means over seeds elsewhere."""

from __future__ import annotations

import pandas as pd

from mssts.data.datasets import is_generated
from mssts.report.formats import mean_and_deviation
from mssts.report.parts import Table, benchmark_heading
from mssts.report.rows import KEYS, external_keys, metric_cells, rows_by_variant
from mssts.study.results import StudyResults
from mssts.study.runs import METRICS


def frame(results: StudyResults) -> pd.DataFrame:
    """One row per run and split, metrics in percent with two decimals."""
    runs = results.runs
    rows = [
        [one.run.dataset, one.split, one.run.backbone, one.run.variant, str(one.run.seed), *metric_cells(one)]
        for one in runs.results
    ]
    rows += [[*external_keys(other), *metric_cells(other)] for other in runs.external]
    return pd.DataFrame(rows, columns=["dataset", "split", "backbone", "variant", "seed", *METRICS])


def parts(results: StudyResults) -> list[Table]:
    """One row per variant and split: mean ± standard deviation over seeds."""
    rows = [
        [*keys, *(mean_and_deviation([result.value(name) for result in present]) for name in METRICS)]
        for keys, _, present in rows_by_variant(results.runs)
    ]
    rows += [[*external_keys(other), *metric_cells(other)] for other in results.runs.external]

    def heading(*benchmark: str) -> str:
        return f"This study: {benchmark_heading(*benchmark)}"

    shown = pd.DataFrame(rows, columns=[*KEYS, *METRICS])
    return [Table(shown, _note(results), heading=heading, size=8.6, tint="ours")]


def _note(results: StudyResults) -> str:
    """What the table shows and what it must not be compared with."""
    spec = results.study.spec
    data = "this project's own data" if all(map(is_generated, spec.datasets)) else "held-out training videos"
    return (
        "Mean over training seeds ± sample standard deviation, in percent. "
        f"Local {'splits' if len(spec.splits) > 1 else 'split'} ({', '.join(spec.splits)}) of {data}: "
        "not comparable with results on the official YouTube-VIS validation set."
    )
