"""The videos of the qualitative figure."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import decimals
from mssts.report.parts import RESULT_KEYS, result_keys
from mssts.study.attention_runs import select_results
from mssts.study.runs import StudyRuns
from mssts.study.strips import choose, shares_of

COLUMNS = [*RESULT_KEYS, "rule", "video_id", "found_by_baseline", "found_by_variant"]


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each video, with the variant's run; none without a baseline and a variant."""
    pair = select_results(runs)
    if pair is None:
        return pd.DataFrame(columns=COLUMNS)
    chosen = choose(*(shares_of(result.read_matches()) for result in pair))
    rows = [
        [*result_keys(pair[1]), one.rule, str(one.video_id), decimals(one.baseline, 4), decimals(one.variant, 4)]
        for one in chosen
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
