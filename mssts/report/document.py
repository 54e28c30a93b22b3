"""The study's report as one PDF: everything in it comes from the files of the runs and of the tables."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from mssts.core.errors import InputError
from mssts.core.files import atomic_write, read_json
from mssts.data.datasets import LOCAL
from mssts.report import ablation
from mssts.report.complexity import complexity_table
from mssts.report.conclusions import conclusions
from mssts.report.curves import SMOOTHING
from mssts.report.formats import NO_VALUE, NOT_RUN, plural, read_csv
from mssts.report.published import METRICS as PUBLISHED_METRICS
from mssts.report.published import read_published
from mssts.report.tables import ERRORS_NOTE, FOREIGN, attributes, errors, provenance, summary, summary_note, table
from mssts.study.differences import Difference
from mssts.study.paths import report_dir
from mssts.study.runs import StudyRuns, collect
from mssts.study.server_scores import METRICS as SERVER_METRICS
from mssts.study.server_scores import read_server_scores

TEMPLATE = Path(__file__).resolve().parents[2] / "reports" / "templates" / "report.typ"
_FIGURES = {
    "ablation": "figures/ablation.pdf",
    "training": "figures/training_curves.pdf",
    "attention": "attention/attention.pdf",
}
_CASES = "attention/cases.json"


def write_document(study: str, output: Path) -> None:
    """Typeset the report of a study; the same files give the same bytes.

    Reads the runs, and the tables and figures in the study's report directory. A figure that is missing prints
    "not run". Raises InputError if the tables are missing or older than the results.
    """
    runs = collect(study)
    folder = report_dir(study)
    data = report_data(runs, folder)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name, path in _FIGURES.items():
            if data["figures"][name] is not None:
                shutil.copy(folder / path, root / data["figures"][name])
        (root / "data.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        shutil.copy(TEMPLATE, root / "report.typ")
        content = _typeset(root)
    with atomic_write(Path(output), "wb") as file:
        file.write(content)


def _typeset(root: Path) -> bytes:
    import typst

    try:
        return typst.compile(root / "report.typ", root=root, ignore_system_fonts=True, timestamp=0)
    except typst.TypstError as error:
        raise InputError(f"{TEMPLATE}: typst: {error}") from None


def report_data(runs: StudyRuns, folder: Path) -> dict[str, Any]:
    """All that the template shows, as plain JSON values; every number already text."""
    _check_tables(runs, folder)
    found = ablation.read(folder / "ablation.csv")
    tests = ablation.tests_table(runs, found)
    attributes_frame = attributes(runs)
    present = {name: f"{name}.pdf" if (folder / path).is_file() else None for name, path in _FIGURES.items()}
    return {
        "not_run": NOT_RUN,
        "kicker": "MS-STS video instance segmentation, measured again",
        "title": f"Study {runs.name}",
        "question": runs.study.question,
        "facts": _facts(runs),
        "warnings": _warnings(runs),
        "summary": _blocks(summary(runs), "This study: ") | {"note": summary_note(runs)},
        "published": _published(),
        "official": _official(runs),
        "ablation": _blocks(ablation.table(runs, found)) | {"note": ablation.NOTE},
        "tests": None if tests is None else _blocks(tests) | {"note": ablation.TEST_NOTE},
        "conclusions": conclusions(runs, found),
        "attributes": None if attributes_frame.empty else _blocks(attributes_frame) | {"note": _ATTRIBUTES_NOTE},
        "errors": _blocks(errors(runs)) | {"note": ERRORS_NOTE},
        "complexity": complexity_table(runs, folder),
        "provenance": _provenance(runs),
        "figures": present,
        "captions": _captions(runs, found, folder),
    }


def _check_tables(runs: StudyRuns, folder: Path) -> None:
    path = folder / "table.csv"
    if not path.is_file():
        raise InputError(f"{path}: no such file. Write the tables first (mssts table --study {runs.name}).")
    if not read_csv(path).equals(table(runs)):
        raise InputError(
            f"{path}: not the table of the present results. Write it again (mssts table --study {runs.name})."
        )


def _facts(runs: StudyRuns) -> list[tuple[str, str]]:
    study = runs.study
    done = sum(run.record is not None for run in runs.runs)
    return [
        ("Matrix", f"{', '.join(study.datasets)}; {', '.join(study.backbones)}; seeds {_listed(study.seeds)}"),
        ("Variants", ", ".join(runs.titles[variant] for variant in study.variants)),
        ("Scale, splits", f"{study.scale}; {', '.join(study.splits)}"),
        ("Expected", study.expect),
        ("Runs", f"{done} of {len(runs.runs)}, pre-training included"),
        ("Code", f"commit {runs.commit}" if runs.commit else NOT_RUN),
    ]


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


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


def _blocks(frame: pd.DataFrame, prefix: str = "") -> dict[str, Any]:
    """A table cut into blocks of one dataset, split and backbone, each with a label in words."""
    shown = [column for column in frame.columns if column not in ("Dataset", "Split", "Backbone")]
    blocks = []
    for (dataset, split, backbone), part in frame.groupby(["Dataset", "Split", "Backbone"], sort=False):
        made_by = f"{FOREIGN}s" if backbone == NO_VALUE else f"backbone {backbone}"
        label = f"{prefix}dataset {dataset}, local {split.removeprefix(LOCAL)} split, {made_by}"
        blocks.append({"label": label, "rows": part[shown].values.tolist()})
    return {"columns": [_words(column) for column in shown], "blocks": blocks}


def _words(column: str) -> str:
    return column.replace("AP_agnostic", "class-agn. AP").replace("_", " ")


def _published() -> dict[str, Any]:
    """The poster's rows in one block per backbone, with a mark for each footnote."""
    poster = read_published().poster
    marks: dict[str, str] = {}
    blocks = []
    for backbone, part in poster.groupby("backbone", sort=False):
        rows = []
        for _, row in part.iterrows():
            note = row["note"]
            if note:
                marks.setdefault(note, _mark(len(marks)))
            method = {"text": row["method"], "mark": marks[note]} if note else row["method"]
            kind = row["type"] or "-"
            rows.append([method, row["venue"], kind, *(row[metric] or "-" for metric in PUBLISHED_METRICS)])
        blocks.append({"label": f"Published, YouTube-VIS 2019 val, quoted: {backbone}", "rows": rows})
    return {
        "columns": ["Method", "Venue", "Type", *PUBLISHED_METRICS],
        "blocks": blocks,
        "notes": [(mark, note) for note, mark in marks.items()],
        "note": "Published results on the official YouTube-VIS 2019 validation set, quoted from the MS-STS VIS poster, "
        "not measured here. Another data set and another split than the table above: no row of one table may be "
        "compared with a row of the other.",
    }


def _mark(position: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[position]


def _official(runs: StudyRuns) -> dict[str, Any] | None:
    """What a server said of submissions to this study's datasets, whichever study made them; None if nothing."""
    scores = [score for score in read_server_scores() if score.dataset in runs.study.datasets]
    if not scores:
        return None
    blocks: dict[str, list[list[str]]] = {}
    for score in scores:
        numbers = [f"{getattr(score, metric):.1f}" for metric in SERVER_METRICS]
        row = [score.variant, score.study, score.backbone, str(score.seed), *numbers, score.server, score.date]
        blocks.setdefault(f"Official server: dataset {score.dataset}, {score.split} split", []).append(row)
    return {
        "columns": ["Variant", "Study", "Backbone", "Seed", *SERVER_METRICS, "Server", "Date"],
        "blocks": [{"label": label, "rows": rows} for label, rows in blocks.items()],
        "note": "Official scores of submissions, in percent, entered by hand as the server printed them; not measured "
        "here, and on other videos than the tables of this study.",
    }


def _provenance(runs: StudyRuns) -> dict[str, Any]:
    frame = provenance(runs)
    marked = frame["run"] + frame["note"].map(lambda note: " *" if note else "")
    columns = {
        "run": "Run",
        "commit": "Commit",
        "config_digest": "Config digest",
        "data_fingerprint": "Data",
        "checkpoint": "Checkpoint",
        "pretrain_seed": "Start",
    }
    star = " * another commit than most." if frame["note"].any() else ""
    return {
        "columns": list(columns.values()),
        "blocks": [
            {"label": "dataset/backbone/variant/seed", "rows": frame.assign(run=marked)[list(columns)].values.tolist()}
        ],
        "note": "What made each row: commit of the code, digest of the resolved configuration, fingerprint of the "
        "data (+ that of COCO where its images were used), "
        f"first digits of the checkpoint's SHA-256, and the pre-training seed that it started from.{star}",
    }


_ATTRIBUTES_NOTE = (
    "AP on the videos that show a challenge, mean ± standard deviation over seeds, in percent; the last row counts the "
    "instances that show it. Other instances of these videos are ignored: compare models within a column, not columns."
)


def _captions(runs: StudyRuns, found: list[Difference], folder: Path) -> dict[str, str]:
    cases = folder / _CASES
    return {
        "ablation": "Differences to the baseline with 95 % paired bootstrap intervals over videos; a filled dot marks "
        "an interval that excludes zero.",
        "training": "Loss terms over the optimiser's steps, each run as a running mean over "
        f"{100 * SMOOTHING:.0f} % of its records: mean over runs, the band is their range.",
        "attention": read_json(cases)["caption"] if cases.is_file() else "Attention maps.",
    }
