"""The study's report as one PDF: everything in it comes from the files of the runs and of the tables."""

from __future__ import annotations

import json
import shutil
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import typst

from mssts.core.csv_files import NOT_RUN, read_csv
from mssts.core.errors import InputError
from mssts.core.files import atomic_write
from mssts.core.workspace import here_or_shipped
from mssts.report.formats import plain, plural
from mssts.report.not_drawn import NotDrawn, attempt
from mssts.report.parts import Sentences
from mssts.report.registry import ANSWER, CONTENTS, Entry
from mssts.report.tables.results import frame
from mssts.study.overrides import as_words
from mssts.study.runs import StudyRuns

TEMPLATE = here_or_shipped("reports/templates/report.typ")


def write_document(runs: StudyRuns, output: Path) -> None:
    """Typeset the report of a study; the same files give the same bytes.

    Raises:
        InputError: The tables are missing or older than the results.
    """
    data = report_data(runs)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        parts = chain(data["answer"], *(section["parts"] for section in data["sections"]))
        for path in (part["path"] for part in parts if part.get("path")):
            (root / path).parent.mkdir(exist_ok=True)
            shutil.copy(runs.folder / path, root / path)
        (root / "data.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        shutil.copy(TEMPLATE, root / "report.typ")
        try:
            content = typst.compile(root / "report.typ", root=root, ignore_system_fonts=True, timestamp=0)
        except typst.TypstError as error:
            raise InputError(f"{TEMPLATE}: typst: {error}") from None
    with atomic_write(output, "wb") as file:
        file.write(content)


def report_data(runs: StudyRuns) -> dict[str, Any]:
    """All that the template shows, as plain JSON values; every number already text."""
    _check_tables(runs)
    sections: dict[str, list[dict[str, Any]]] = {}
    for entry in (entry for entry in CONTENTS if entry.section):
        parts = _picture(entry, runs) if entry.is_figure else [part.document() for part in entry.load().parts(runs)]
        sections.setdefault(entry.section, []).extend(part | {"name": entry.module} for part in parts)
    data = {
        "not_run": NOT_RUN,
        "kicker": "MS-STS video instance segmentation: a reproduction",
        "title": f"Study {runs.study.name}",
        "question": runs.study.spec.question,
        "answer": sections.pop(ANSWER),
        "facts": _facts(runs),
        "warnings": _warnings(runs),
        "sections": [{"title": title, "parts": parts} for title, parts in sections.items() if parts],
    }
    return plain(data)


def _picture(entry: Entry, runs: StudyRuns) -> list[dict[str, Any]]:
    """A figure as the template wants it, if it has a caption; a missing one has no path."""
    path = entry.files[0] if (runs.folder / entry.files[0]).is_file() else None
    caption = attempt(entry.files[0], lambda: entry.load().caption(runs))
    if isinstance(caption, NotDrawn):
        return [Sentences(entry.files[0], [str(caption)]).document()]
    return [{"kind": "picture", "path": path, "caption": caption}] if caption else []


def _check_tables(runs: StudyRuns) -> None:
    path, expected = runs.folder / "table.csv", frame(runs)
    advice = f"Run mssts tables {runs.study.options}."
    if not read_csv(path, expected.columns, advice).equals(expected):
        raise InputError(f"{path}: does not match the results. {advice}")


def _facts(runs: StudyRuns) -> list[tuple[str, str]]:
    spec, titles = runs.study.spec, runs.study.titles
    done = sum(run.record is not None for run in runs.runs)
    return [
        ("Matrix", f"{', '.join(spec.datasets)}; {', '.join(spec.backbones)}; seeds {', '.join(map(str, spec.seeds))}"),
        ("Variants", ", ".join(titles[variant] for variant in spec.variants)),
        ("Scale, splits", f"{spec.scale}; {', '.join(spec.splits)}"),
        *([("In place of the scale's", ", ".join(as_words(changed)))] if (changed := runs.study.overrides) else []),
        ("Expected", spec.expect),
        ("Runs", f"{done} of {len(runs.runs)}, pre-training included"),
        ("Code", f"commit {runs.commit}" if runs.commit else NOT_RUN),
    ]


def _warnings(runs: StudyRuns) -> list[str]:
    missing = sum(result.metrics is None for result in runs.results)
    commits = {run.name: run.record["commit"] for run in runs.runs if run.record}
    other = [name for name, commit in commits.items() if commit != runs.commit]
    changed = sum("+" in commit for commit in commits.values())
    warnings = {
        f"{missing} of {len(runs.results)} results are missing and print “{NOT_RUN}”.": missing,
        f"{plural(len(other), 'run')} made at another commit: {', '.join(other)}.": len(other),
        f"{plural(changed, 'run')} with uncommitted changes (marked +changed).": changed,
    }
    return [text for text, count in warnings.items() if count]
