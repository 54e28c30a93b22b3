"""AP over the instances with each challenge attribute."""

from __future__ import annotations

from itertools import groupby

import pandas as pd

from mssts.core.csv_files import NO_VALUE
from mssts.report.formats import mean_and_deviation
from mssts.report.parts import KEYS, Table, rows_by_variant
from mssts.study.runs import StudyRuns

NOTE = (
    "AP on the videos that show a challenge, mean ± standard deviation over seeds, in percent; the last row counts the "
    "instances that show it. Other instances of these videos are ignored: compare models within a column, not columns."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per variant and split with attributes, and one with the number of instances after each benchmark."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for result in runs.results:
        if result.metrics is not None:
            found = {name: values["instances"] for name, values in result.metrics["attributes"].items()}
            counts.setdefault((result.run.dataset, result.split), {}).update(found)
    names = sorted({name for found in counts.values() for name in found})
    rows = []
    for benchmark, variants in groupby(rows_by_variant(runs), lambda row: row[1]):
        if known := counts.get((benchmark.dataset, benchmark.split)):
            for keys, _, present in variants:
                values = {name: [result.value(name, "AP") for result in present] for name in names if known.get(name)}
                cells = [mean_and_deviation(values[name]) if name in values else NO_VALUE for name in names]
                rows.append([*keys, *cells])
            rows.append([*benchmark, "(instances)", "", *(str(known.get(name, 0)) for name in names)])
    return pd.DataFrame(rows, columns=[*KEYS, *(f"{name} (challenge)" if name in KEYS else name for name in names)])


def parts(runs: StudyRuns) -> list[Table]:
    """The same table."""
    return [Table(frame(runs), NOTE, size=7.4)]
