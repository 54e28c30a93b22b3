"""The ablation: differences to the baseline with intervals, a test over seeds, and what may be concluded."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.evaluation.statistics import MIN_VIDEOS, least_p
from mssts.report.conclusions import conclusions
from mssts.report.formats import interval_text, plural, signed
from mssts.report.parts import Sentences, Table, benchmark_heading
from mssts.study import differences as study_differences
from mssts.study.differences import Difference, read_differences
from mssts.study.runs import ALL_INSTANCES, StudyRuns

BLOCK = ("Dataset", "Split", "Backbone", "Measure", "Videos", "Instances")
COLUMNS = ["Variant", "Seeds", "Δ", "95 % interval", "pointwise", "p (least)"]
TOO_SMALL = "n too small"
NOTE = (
    "Mean paired difference to the baseline over training seeds (Δ), in percentage points, with 95 % bootstrap "
    "intervals over videos. The interval that decides holds for all variants and measures of a dataset, split and "
    "backbone at once; the pointwise one holds for its row alone. Videos: those that show an instance that counts. "
    f"“{TOO_SMALL}”: fewer than {MIN_VIDEOS} videos, so there is no interval, no test and no verdict. p: two-sided "
    "exact sign-flip test over seeds, descriptive and not corrected, and the least value that so few seeds can give."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """Compute the differences: one row each."""
    return study_differences.to_frame(study_differences.differences(runs))


def parts(runs: StudyRuns) -> list[Table | Sentences]:
    """A block of variants for each benchmark and measure, from the file, and the conclusions."""
    found = read_differences(runs)
    table = pd.DataFrame([_row(runs, one) for one in found], columns=[*BLOCK, *COLUMNS])
    return [Table(table, NOTE, by=BLOCK, heading=_heading), Sentences("Conclusions.", conclusions(runs, found))]


def _heading(dataset: str, split: str, backbone: str, measure: str, videos: str, instances: str) -> str:
    size = f"{plural(int(videos), 'video')}, {plural(int(instances), 'instance')}"
    return f"{measure}: {size}; {benchmark_heading(dataset, split, backbone)}"


def _row(runs: StudyRuns, one: Difference) -> list[str]:
    announced = "" if one.measure.subset == ALL_INSTANCES else ", announced" if one.announced else ", not announced"
    block = [*one.benchmark, f"{one.measure.title}{announced}", *map(str, one.size)]
    return [*block, runs.study.titles[one.variant], str(one.seeds), *_numbers(one)]


def _numbers(one: Difference) -> list[str]:
    if not one.seeds:
        return [NOT_RUN] * 4
    if one.mean is None:
        return [NO_VALUE] * 4
    if one.intervals is None:
        return [signed(one.mean), TOO_SMALL, TOO_SMALL, NO_VALUE]
    p = NO_VALUE if one.p is None else f"{one.p:.2g} ({least_p(one.seeds):.2g})"
    return [signed(one.mean), interval_text(one.intervals.simultaneous), interval_text(one.intervals.pointwise), p]
