"""Official scores of submissions, entered by hand; shown apart from our own."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from mssts.report.parts import Table
from mssts.study.runs import StudyRuns
from mssts.study.server_scores import METRICS, ServerScore

NOTE = (
    "Official scores of submissions, in percent, entered by hand as the server printed them; not measured here, and on "
    "other videos than the tables of this study."
)
_COLUMNS = ["Dataset", "Split", "Variant", "Study", "Backbone", "Seed", *METRICS, "Server", "Date"]


def score_table(scores: Iterable[ServerScore]) -> Table:
    """One row per score."""
    rows = []
    for score in scores:
        run = (score.dataset, score.split, score.variant, score.study, score.backbone, str(score.seed))
        rows.append([*run, *(f"{getattr(score, metric):.1f}" for metric in METRICS), score.server, score.date])
    shown, heading = pd.DataFrame(rows, columns=_COLUMNS), "Official server: dataset {}, {} split".format
    return Table(shown, NOTE, by=("Dataset", "Split"), heading=heading, text_columns=3, tint="quoted")


def parts(runs: StudyRuns) -> list[Table]:
    """The scores on the study's datasets; nothing if there are none."""
    return [score_table(runs.server_scores)] if runs.server_scores else []
