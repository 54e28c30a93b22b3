"""What the tables with a row for each variant share: its first cells, and the results over seeds behind it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals
from mssts.report.parts import EXTERNAL
from mssts.study.runs import ALL_INSTANCES, METRICS, Benchmark, Evaluated, External, Result, StudyRuns

KEYS = ["Dataset", "Split", "Backbone", "Variant", "Seeds"]


def rows_by_variant(runs: StudyRuns) -> Iterator[tuple[list[str], Benchmark, list[Result]]]:
    """Cells of `KEYS`, benchmark and evaluated results over seeds of each variant, the pre-trained one first."""
    for benchmark, (variant, title) in product(runs.benchmarks(), runs.study.titles.items()):
        if results := runs.select(*benchmark, variant):
            present = [result for result in results if result.metrics is not None]
            seeds = str(len(present)) if len(present) == len(results) else f"{len(present)} of {len(results)}"
            yield [*benchmark, title, seeds], benchmark, present


def external_keys(other: External) -> list[str]:
    """Cells of `KEYS` of another method."""
    return [other.dataset, other.split, NO_VALUE, f"{other.title} ({EXTERNAL})", NO_VALUE]


def metric_cells(result: Evaluated) -> list[str]:
    """Cells of `METRICS` of one result, in percent."""
    return [NOT_RUN if result.metrics is None else decimals(result.value(ALL_INSTANCES, name)) for name in METRICS]
