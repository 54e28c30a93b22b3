"""The study's question, answered in three points on the first page."""

from __future__ import annotations

from mssts.report.conclusions import answer
from mssts.report.parts import Sentences
from mssts.study.differences_file import read_differences
from mssts.study.runs import StudyRuns


def parts(runs: StudyRuns) -> list[Sentences]:
    """The sentences."""
    return [Sentences("", answer(runs, read_differences(runs)))]
