"""The study's report as one PDF: everything in it comes from the files of the runs and of the tables."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import typst

from mssts.core.csv_files import NOT_RUN, read_csv
from mssts.core.errors import InputError
from mssts.core.files import atomic_write
from mssts.report.formats import plural
from mssts.report.registry import CONTENTS
from mssts.report.tables.results import frame
from mssts.study.results import StudyResults
from mssts.study.runs import StudyRuns

TEMPLATE = Path(__file__).resolve().parents[2] / "reports" / "templates" / "report.typ"


def write_document(results: StudyResults, output: Path) -> None:
    """Typeset the report of a study; the same files give the same bytes.

    A figure that is missing prints "not run".

    Args:
        results: What it shows; the tables and figures in `results.folder` are part of it.
        output: The PDF.

    Raises:
        InputError: The tables are missing or older than the results.
    """
    data = report_data(results)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for section in data["sections"]:
            for path in (part["path"] for part in section["parts"] if part.get("path")):
                (root / path).parent.mkdir(exist_ok=True)
                shutil.copy(results.folder / path, root / path)
        (root / "data.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        shutil.copy(TEMPLATE, root / "report.typ")
        content = _typeset(root)
    with atomic_write(output, "wb") as file:
        file.write(content)


def _typeset(root: Path) -> bytes:
    try:
        return typst.compile(root / "report.typ", root=root, ignore_system_fonts=True, timestamp=0)
    except typst.TypstError as error:
        raise InputError(f"{TEMPLATE}: typst: {error}") from None


def report_data(results: StudyResults) -> dict[str, Any]:
    """All that the template shows, as plain JSON values; every number already text."""
    _check_tables(results)
    sections: dict[str, list[dict[str, Any]]] = {}
    for entry in CONTENTS:
        if entry.section:
            parts = [part.document() | {"name": entry.module} for part in entry.load().parts(results)]
            sections.setdefault(entry.section, []).extend(parts)
    for part in (part for parts in sections.values() for part in parts if part["kind"] == "picture"):
        if not (results.folder / part["path"]).is_file():
            part["path"] = None
    return {
        "not_run": NOT_RUN,
        "kicker": "MS-STS video instance segmentation, measured again",
        "title": f"Study {results.study.name}",
        "question": results.study.spec.question,
        "facts": _facts(results.runs),
        "warnings": _warnings(results.runs),
        "sections": [{"title": title, "parts": parts} for title, parts in sections.items()],
    }


def _check_tables(results: StudyResults) -> None:
    path, again = results.folder / "table.csv", f"(mssts tables --study {results.study.name})"
    if not path.is_file():
        raise InputError(f"{path}: no such file. Write the tables first {again}.")
    if not read_csv(path).equals(frame(results)):
        raise InputError(f"{path}: not the table of the present results. Write it again {again}.")


def _facts(runs: StudyRuns) -> list[tuple[str, str]]:
    spec, titles = runs.study.spec, runs.study.titles
    done = sum(run.record is not None for run in runs.runs)
    seeds = ", ".join(map(str, spec.seeds))
    return [
        ("Matrix", f"{', '.join(spec.datasets)}; {', '.join(spec.backbones)}; seeds {seeds}"),
        ("Variants", ", ".join(titles[variant] for variant in spec.variants)),
        ("Scale, splits", f"{spec.scale}; {', '.join(spec.splits)}"),
        ("Expected", spec.expect),
        ("Runs", f"{done} of {len(runs.runs)}, pre-training included"),
        ("Code", f"commit {runs.commit}" if runs.commit else NOT_RUN),
    ]


def _warnings(runs: StudyRuns) -> list[str]:
    warnings = []
    missing = sum(result.metrics is None for result in runs.results)
    if missing:
        warnings.append(f"{missing} of {len(runs.results)} results are missing and print “{NOT_RUN}”.")
    other = [run.name for run in runs.runs if run.record and run.record["commit"] != runs.commit]
    if other:
        warnings.append(f"{plural(len(other), 'run')} of another commit than the others: {', '.join(other)}.")
    changed = sum(1 for run in runs.runs if run.record and "+" in run.record["commit"])
    if changed:
        warnings.append(f"{plural(changed, 'run')} of sources that differ from their commit (marked +changed).")
    return warnings
