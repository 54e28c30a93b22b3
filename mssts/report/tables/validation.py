"""AP on a part of the videos during each training."""

from __future__ import annotations

import pandas as pd

from mssts.study.runs import StudyRuns
from mssts.study.validation_file import COLUMNS, FILE, read_validation

RUN = ["dataset", "backbone", "variant", "seed"]


def frame(runs: StudyRuns) -> pd.DataFrame:
    """A row for each training and step at which AP was measured, in percent."""
    frames = [
        read_validation(path).assign(dataset=run.dataset, backbone=run.backbone, variant=run.variant, seed=run.seed)
        for run in runs.runs
        if run.record is not None and (path := run.directory / FILE).is_file()
    ]
    return pd.concat([pd.DataFrame(columns=[*RUN, *COLUMNS]), *frames])[[*RUN, *COLUMNS]].astype(str)
