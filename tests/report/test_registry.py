"""Every line of the registry has its module, and the module has what the line promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssts.report.registry import CONTENTS, Entry


@pytest.mark.parametrize("entry", CONTENTS, ids=lambda entry: entry.module)
def test_a_module_has_what_its_files_need(entry: Entry) -> None:
    module = entry.load()
    kinds = {Path(file).suffix for file in entry.files}
    assert not entry.section or callable(module.parts)
    if entry.step == "tables":
        assert ".csv" not in kinds or callable(module.frame)
        assert not kinds & {".md", ".tex"} or callable(module.parts)
    if entry.step == "figures":
        assert callable(module.figure) and kinds == {".pdf", ".png"}


def test_no_file_has_two_entries() -> None:
    files = [file for entry in CONTENTS for file in entry.files]
    assert len(set(files)) == len(files)
