"""AUROC of the encoder maps for the masks, of every variant and challenge."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_DRAWN, NOT_RUN, decimals
from mssts.evaluation.statistics import MIN_VIDEOS
from mssts.report.formats import signed
from mssts.report.parts import Sentences, Table
from mssts.study.attention_auroc import read_frame
from mssts.study.resolve import BASELINE
from mssts.study.runs import StudyRuns

NOTE = (
    "AUROC of the encoder map (maximum over channels, stride 8, no query) for the mask of an instance: how often the "
    "map is larger at a pixel of the instance than at one of the background, in all frames that show it, in percent. "
    "50 is chance; that larger means inside was fixed before any map was looked at. Pixels of other objects are left "
    "out. Mean over instances and seeds ± half the width of the 95 % interval over videos (none below "
    f"{MIN_VIDEOS} videos). The intervals of the differences are simultaneous over all variants and challenges. They "
    "do not cover the randomness of training: AUROC can vary more between pre-trainings than between variants."
)
_KEYS = ["Measure", "Variant", "Seeds"]
_VALUE, _DIFFERENCE = "AUROC", "difference to the baseline, in percentage points"


def frame(runs: StudyRuns) -> pd.DataFrame:
    """Variants as rows and subsets of the instances as columns, in percent; no row if nothing was written."""
    measured = read_frame(runs)
    if measured is None:
        return pd.DataFrame(columns=_KEYS)
    subsets = list(dict.fromkeys(measured["subset"]))
    rows = []
    for measure in (_VALUE, _DIFFERENCE):
        for variant, of_variant in measured.groupby("variant", sort=False):
            if measure == _VALUE or variant != BASELINE:
                cells = {row["subset"]: _cell(row, measure) for row in of_variant.to_dict("records")}
                seeds = of_variant["seeds"].iloc[0]
                values = [cells.get(subset, NOT_RUN) for subset in subsets]
                rows.append([measure, runs.study.titles[str(variant)], seeds, *values])
        for count in ("instances", "videos") if measure == _VALUE and len(measured) else ():
            numbers = measured.drop_duplicates("subset")[count]
            rows.append([measure, f"({count})", "", *numbers])
    return pd.DataFrame(rows, columns=[*_KEYS, *subsets])


def _cell(row: dict[Hashable, str], measure: str) -> str:
    """A number with half of its interval, from a row of the file."""
    prefix = "" if measure == _VALUE else "difference_"
    number, low, high = row["auroc" if measure == _VALUE else "difference"], row[f"{prefix}low"], row[f"{prefix}high"]
    if number in (NOT_RUN, NO_VALUE):
        return number
    percent = 100 * float(number)
    text = decimals(percent, 1) if measure == _VALUE else signed(percent, 1)
    return text if low == NO_VALUE else f"{text} ± {decimals(50 * (float(high) - float(low)), 1)}"


def parts(runs: StudyRuns) -> list[Table | Sentences]:
    """The same table, or why there is none."""
    measured = read_frame(runs)
    if measured is not None and NOT_DRAWN in measured:
        return [Sentences("AUROC of the encoder maps", [f"{NOT_DRAWN}: {why}" for why in measured[NOT_DRAWN]])]
    return [Table(frame(runs), NOTE, by=("Measure",), heading=str, size=7.0)]
