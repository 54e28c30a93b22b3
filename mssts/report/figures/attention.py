"""The attention maps, which `mssts attention` draws, in the document."""

from __future__ import annotations

from mssts.core.files import read_json
from mssts.report.parts import Picture
from mssts.study.results import StudyResults


def parts(results: StudyResults) -> list[Picture]:
    """The figure with the caption that was written beside it."""
    cases = results.folder / "attention/cases.json"
    caption = read_json(cases)["caption"] if cases.is_file() else "Attention maps."
    return [Picture("attention/attention.pdf", caption)]
