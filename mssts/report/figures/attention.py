"""The attention maps, which `mssts attention` draws."""

from __future__ import annotations

from mssts.core.files import read_json
from mssts.study.runs import StudyRuns


def caption(runs: StudyRuns) -> str:
    """The caption that was written beside the figure."""
    cases = runs.folder / "attention/cases.json"
    return read_json(cases)["caption"] if cases.is_file() else "Attention maps."
