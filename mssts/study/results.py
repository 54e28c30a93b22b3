"""Everything that a report shows, read from files or computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from mssts.study import complexity_file, differences
from mssts.study.differences import Difference
from mssts.study.resolve import ResolvedStudy
from mssts.study.runs import StudyRuns, collect
from mssts.study.server_scores import ServerScore, read_server_scores


@dataclass(frozen=True)
class StudyResults:
    """The results of a study.

    Attributes:
        runs: What was run and measured.
        folder: Directory of the report's files.
        differences: Of each variant to the baseline.
    """

    runs: StudyRuns
    folder: Path
    differences: list[Difference]

    @property
    def study(self) -> ResolvedStudy:
        """The study."""
        return self.runs.study

    @cached_property
    def complexity(self) -> pd.DataFrame:
        """Parameters and FLOPs of the models, from the file of `mssts complexity`. Raises InputError."""
        return complexity_file.read_complexity(self.folder / complexity_file.FILE)

    @cached_property
    def server_scores(self) -> list[ServerScore]:
        """Scores of official servers on the study's datasets, whichever study was submitted. Raises InputError."""
        return [score for score in read_server_scores() if score.dataset in self.study.spec.datasets]


def compute_results(study: ResolvedStudy, folder: Path) -> StudyResults:
    """Read all runs of a study and compute the differences. Raises InputError."""
    runs = collect(study)
    return StudyResults(runs, folder, differences.differences(runs))


def read_results(study: ResolvedStudy, folder: Path) -> StudyResults:
    """Read all runs of a study, and the differences from the report's directory. Raises InputError."""
    return StudyResults(collect(study), folder, differences.read_differences(folder / differences.FILE))
