"""The file of estimated contrasts, from which tables, figures and sentences are made."""

from __future__ import annotations

from itertools import chain

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN, decimals, read_csv
from mssts.core.errors import InputError
from mssts.evaluation.statistics import Interval, Intervals, least_p
from mssts.study.contrasts import contrasts
from mssts.study.differences import Difference, Measure, Size
from mssts.study.runs import Benchmark, StudyRuns

FILE = "ablation.csv"
_COLUMNS = [
    *("dataset", "split", "backbone", "subset", "metric", "announced", "videos", "instances"),
    *("kind", "contrast", "pairs", "seeds"),
    *("difference", "low", "high", "pointwise_low", "pointwise_high", "p", "least_p", "by_seed"),
]


def to_frame(found: list[Difference]) -> pd.DataFrame:
    """Differences as a table of text cells, one row each."""
    rows = []
    for one in found:
        ends = chain(*reversed(one.intervals)) if one.intervals else [None] * 4
        numbers = [one.mean, *ends, one.p, None if one.p is None else least_p(one.seeds)]
        cells = [decimals(number, 6) if one.seeds else NOT_RUN for number in numbers]
        where = [*one.benchmark, *one.measure, "yes" if one.announced else "no", *map(str, one.size)]
        what = [one.contrast.kind, one.contrast.name, str(one.contrast.pairs), str(one.seeds)]
        rows.append([*where, *what, *cells, " ".join(decimals(value, 6) for value in one.by_seed)])
    return pd.DataFrame(rows, columns=_COLUMNS)


def read_differences(runs: StudyRuns) -> list[Difference]:
    """Read what the tables were written from. Raises InputError if the file is missing or is of another study."""
    path, advice = runs.folder / FILE, f"Run mssts tables {runs.study.options}."
    known = {(contrast.kind, contrast.name): contrast for contrast in contrasts(runs.study)}
    found = []
    for row in read_csv(path, _COLUMNS, advice).itertuples(index=False):
        if (row.kind, row.contrast) not in known:
            raise InputError(f"{path}: found {row.kind} {row.contrast!r}, which is none of the study. {advice}")
        mean, *ends, p, _ = (None if cell in (NOT_RUN, NO_VALUE) else float(cell) for cell in row[12:-1])
        numbers = [end for end in ends if end is not None]
        intervals = Intervals(Interval(*numbers[2:]), Interval(*numbers[:2])) if numbers else None
        size = Size(int(row.videos), int(row.instances))
        what = (Benchmark(*row[:3]), Measure(*row[3:5]), size, known[row.kind, row.contrast], int(row.seeds))
        by_seed = tuple(map(float, row.by_seed.split()))
        found.append(Difference(*what, mean, intervals, p, by_seed, row.announced == "yes"))
    return found
