"""AP over the instances with each challenge attribute."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import NO_VALUE
from mssts.report.formats import mean_and_deviation
from mssts.report.parts import Table
from mssts.report.rows import KEYS, rows_by_variant
from mssts.study.runs import Benchmark, StudyRuns

NOTE = (
    "AP on the videos that show a challenge, mean ± standard deviation over seeds, in percent; the last row counts the "
    "instances that show it. Other instances of these videos are ignored: compare models within a column, not columns."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per variant and split with attributes, and one with the number of instances after each benchmark."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for result in runs.results:
        if result.metrics is not None:
            found = counts.setdefault((result.run.dataset, result.split), {})
            found |= {name: values["instances"] for name, values in result.metrics["attributes"].items()}
    names = sorted({name for found in counts.values() for name in found})
    by_benchmark: dict[Benchmark, list[list[str]]] = {}
    for keys, benchmark, present in rows_by_variant(runs):
        known = counts.get((benchmark.dataset, benchmark.split), {})
        cells = [
            mean_and_deviation([result.value(name, "AP") for result in present]) if known.get(name) else NO_VALUE
            for name in names
        ]
        if known:
            by_benchmark.setdefault(benchmark, []).append([*keys, *cells])
    rows = []
    for benchmark, own in by_benchmark.items():
        known = counts[benchmark.dataset, benchmark.split]
        rows += [*own, [*benchmark, "(instances)", "", *(str(known.get(name, 0)) for name in names)]]
    return pd.DataFrame(rows, columns=[*KEYS, *names])


def parts(runs: StudyRuns) -> list[Table]:
    """The same table."""
    return [Table(frame(runs), NOTE)]
