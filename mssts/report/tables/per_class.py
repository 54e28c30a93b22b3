"""AP of each category."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import NO_VALUE, decimals
from mssts.report.formats import mean_and_deviation
from mssts.report.parts import RESULT_KEYS, Table, result_keys
from mssts.study.attention_runs import select_variant
from mssts.study.resolve import BASELINE
from mssts.study.runs import StudyRuns

MOST_VARIANTS = 6
NOTE = (
    "AP of each category in percent, mean ± standard deviation over seeds, and the number of its instances. Categories "
    "have no intervals: with so few instances, read differences as description."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each result and category."""
    rows = [
        [*result_keys(one), name, _instances(one.metrics, name), decimals(_percent(values["AP"]))]
        for one in runs.results
        if one.metrics
        for name, values in one.metrics["per_category"].items()
    ]
    return pd.DataFrame(rows, columns=[*RESULT_KEYS, "category", "instances", "AP"])


def parts(runs: StudyRuns) -> list[Table]:
    """A row for each category, a column for each variant, or for two of them if there are many."""
    titles = {name: runs.study.titles[name] for name in runs.study.variants}
    if len(titles) > MOST_VARIANTS:
        titles = {name: titles[name] for name in (BASELINE, select_variant(runs)) if name in titles}
    rows = []
    for benchmark in runs.benchmarks():
        metrics = {name: [m for one in runs.select(*benchmark, name) if (m := one.metrics)] for name in titles}
        first = next((own[0] for own in metrics.values() if own), None)
        for category in first["per_category"] if first else ():
            values = (
                mean_and_deviation([_percent(m["per_category"][category]["AP"]) for m in own])
                for own in metrics.values()
            )
            rows.append([*benchmark, category, _instances(first, category), *values])
    columns = ["Dataset", "Split", "Backbone", "Category", "Instances", *titles.values()]
    return [Table(pd.DataFrame(rows, columns=columns), NOTE)]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _instances(metrics: dict | None, category: str) -> str:
    counts = (metrics or {}).get("found_as")
    return str(sum(count for name, _, count in counts if name == category)) if counts else NO_VALUE
