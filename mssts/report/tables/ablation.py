"""The ablation: effects and differences with intervals, a test over seeds, and what may be concluded."""

from __future__ import annotations

from functools import partial

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.evaluation.statistics import MIN_VIDEOS, least_p
from mssts.report.conclusions import conclusions, design
from mssts.report.formats import interval_text, plural, signed
from mssts.report.parts import Sentences, Table, benchmark_heading
from mssts.study.contrasts import Kind, factorial
from mssts.study.differences import Difference, differences
from mssts.study.differences_file import read_differences, to_frame
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns

BLOCK = ("Dataset", "Split", "Backbone", "Measure", "Videos", "Instances")
NUMBERS = ("Seeds", "Δ", "95 % interval", "pointwise", "p (least)")
TOO_SMALL = "n too small"
EFFECTS_NOTE = (
    "Main effects and interactions of the contributions. Main effect: metric with a contribution on minus that with it "
    "off, averaged over all settings of the others (Pairs: how many). Interaction A x B: effect of A with B on minus "
    "that with B off; A x B x C: interaction A x B with C on minus that with C off. Means over the seeds that all "
    "variants have, in percentage points, with simultaneous 95 % bootstrap intervals over videos for all effects and "
    "measures of a dataset, split and backbone. Other columns as in the next table."
)
NOTE = (
    "Mean paired difference to the baseline over training seeds (Δ), in percentage points, with 95 % bootstrap "
    "intervals over videos. The simultaneous interval (95 % interval) decides: it holds for all variants and measures "
    "of a dataset, split and backbone at once. The pointwise one holds for its row alone. Videos: those with an "
    "instance that the measure counts. "
    f"“{TOO_SMALL}”: fewer than {MIN_VIDEOS} videos, so there is no interval, no test and no verdict. p: two-sided "
    "exact sign-flip test over seeds, descriptive and not corrected; in brackets the least value for so few seeds."
)


def frame(runs: StudyRuns) -> pd.DataFrame:
    """Compute effects and differences: one row each."""
    return to_frame(differences(runs))


def parts(runs: StudyRuns) -> list[Table | Sentences]:
    """Effects, single differences, both in a block for each benchmark and measure, from the file; the conclusions."""
    found = read_differences(runs)
    places = runs.benchmarks()
    table = partial(_table, found, f" {_sentence(places[0])}" if len(places) == 1 else "")
    tables = [table("effect", ("Effect", "Pairs"), EFFECTS_NOTE)] if factorial(runs.study).factors else []
    return [
        Sentences("Factorial design.", [design(runs)]),
        *tables,
        table("difference", ("Variant",), NOTE),
        Sentences("Conclusions.", conclusions(runs, found)),
    ]


def _table(found: list[Difference], where: str, kind: Kind, names: tuple[str, ...], note: str) -> Table:
    """A table of one kind; where: said in the caption in place of the headings of blocks, "" for several benchmarks."""
    rows = [
        [*_block(one), *(one.contrast.title, str(one.contrast.pairs))[: len(names)], str(one.seeds), *_numbers(one)]
        for one in found
        if one.contrast.kind == kind
    ]
    frame = pd.DataFrame(rows, columns=[*BLOCK, *names, *NUMBERS])
    return Table(frame, note + where, by=BLOCK, heading=_size_heading if where else _heading)


def _block(one: Difference) -> list[str]:
    announced = "" if one.measure.subset == ALL_INSTANCES else ", announced" if one.announced else ", not announced"
    return [*one.benchmark, f"{one.measure.title}{announced}", *map(str, one.size)]


def _sentence(benchmark: Benchmark) -> str:
    text = benchmark_heading(*benchmark)
    return f"{text[0].upper()}{text[1:]}."


def _size_heading(*keys: str) -> str:
    *_, measure, videos, instances = keys
    return f"{measure}: {plural(int(videos), 'video')}, {plural(int(instances), 'instance')}"


def _heading(dataset: str, split: str, backbone: str, *size: str) -> str:
    return f"{_size_heading(*size)}; {benchmark_heading(dataset, split, backbone)}"


def _numbers(one: Difference) -> list[str]:
    if not one.seeds:
        return [NOT_RUN] * 4
    if one.mean is None:
        return [NO_VALUE] * 4
    if one.intervals is None:
        return [signed(one.mean), TOO_SMALL, TOO_SMALL, NO_VALUE]
    p = NO_VALUE if one.p is None else f"{one.p:.2g} ({least_p(one.seeds):.2g})"
    return [signed(one.mean), interval_text(one.intervals.simultaneous), interval_text(one.intervals.pointwise), p]
