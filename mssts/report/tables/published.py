"""Published results, quoted: the tables of the authors' poster, and what other public sources print.

A report quotes only what is about its own datasets.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mssts.core.csv_files import NO_VALUE, read_csv
from mssts.core.errors import InputError
from mssts.core.workspace import here_or_shipped
from mssts.data.datasets import entry
from mssts.report.parts import Table
from mssts.study.runs import StudyRuns
from mssts.study.server_scores import METRICS

PUBLISHED = here_or_shipped("reports/published")
POSTER_SOURCE = "poster"
POSTER_DATASETS = ("ytvis2019", "ytvis2021")
NOT_VERIFIED = "NOT VERIFIED"
PAPER = "MS-STS VIS: ECCV 2022, LNCS 13689, pp. 666-681, DOI 10.1007/978-3-031-19818-2_38"
NOTE = (
    "Published results on the official validation set, quoted from the authors' poster, not measured here. The tables "
    "of this study are about a local split: no row of one table may be compared with a row of the other. " + PAPER + "."
)
SIZE_NOTE = (
    "Size and speed, quoted from the authors' project page, not measured here. The protocol of the FPS is not given."
)
_POSTER_COLUMNS = ("method", "venue", "backbone", "type", *METRICS)
_OTHER_COLUMNS = ("dataset", "backbone", "method", "poster_method", *METRICS, "status", "sources")
_SIZE_COLUMNS = ("method", "backbone", "parameters_M", "fps", "note")


def frame(runs: StudyRuns) -> pd.DataFrame:
    """Every quoted row about the study's datasets."""
    published = read_published().drop(columns="type")
    return published[published["dataset"].isin([entry(name).title for name in runs.study.spec.datasets])]


def parts(runs: StudyRuns) -> list[Table]:
    """The poster's rows about the study's datasets, conflicts as footnotes, and size and speed of the models."""
    titles = [entry(name).title for name in runs.study.spec.datasets if name in POSTER_DATASETS]
    if not titles:
        return []
    rows = read_published()
    return [*(_poster_table(rows, title) for title in titles), _size_table()]


def _poster_table(rows: pd.DataFrame, title: str) -> Table:
    poster = rows[(rows["source"] == POSTER_SOURCE) & (rows["dataset"] == title)]
    # the poster names venue and type in one of its tables only
    texts = [name for name in ("venue", "type") if poster[name].any()]
    shown = poster[["backbone", "method", *texts, *METRICS]].replace("", NO_VALUE)
    shown = shown.rename(columns=lambda name: name if name in METRICS else name.capitalize())
    heading = f"Published, {title} val, quoted: {{}}".format
    notes = list(poster["note"])
    return Table(shown, NOTE, ("Backbone",), heading, notes, text_columns=1 + len(texts), size=8.2, tint="quoted")


def _size_table() -> Table:
    rows = read_csv(PUBLISHED / "size_and_speed.csv", _SIZE_COLUMNS, "Restore it from the repository.")
    shown = rows[["backbone", "method", "parameters_M", "fps"]]
    shown = shown.set_axis(["Backbone", "Method", "Parameters, M", "FPS"], axis="columns")
    heading = "Published size and speed, quoted: {}".format
    return Table(shown, SIZE_NOTE, ("Backbone",), heading, list(rows["note"]), size=8.2, tint="quoted")


def read_published(folder: Path = PUBLISHED) -> pd.DataFrame:
    """Read the quoted rows: those of the poster with a note for each conflict, then those of other sources.

    Rows that are marked NOT VERIFIED are left out.

    Returns:
        Columns dataset, backbone, method, type, venue, AP..AR10 (percent, as printed), source, note.

    Raises:
        InputError: Missing columns, or a value that is no percentage, with file and line.
    """
    posters = {name: _read(folder / f"poster_{name}.csv", _POSTER_COLUMNS) for name in POSTER_DATASETS}
    other = _read(folder / "other_sources.csv", _OTHER_COLUMNS)
    other = other[~other["status"].str.contains(NOT_VERIFIED)].assign(dataset="YouTube-VIS " + other["dataset"])
    quoted = []
    for name, poster in posters.items():
        title = entry(name).title
        notes = _poster_notes(poster, other[other["dataset"] == title])
        quoted.append(poster.assign(dataset=title, source=POSTER_SOURCE, note=notes))
    rest = other.rename(columns={"sources": "source", "status": "note"}).assign(venue="", type="")
    columns = ["dataset", "backbone", "method", "type", "venue", *METRICS, "source", "note"]
    return pd.concat([rows[columns] for rows in (*quoted, rest)], ignore_index=True)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    frame = read_csv(path, columns, "Restore it from the repository.")
    for metric in METRICS:
        wrong = (frame[metric] != "") & ~pd.to_numeric(frame[metric], errors="coerce").between(0, 100)
        for position, value in frame[metric][wrong].items():
            where = f"{path}: line {position + 2}: {metric}"
            raise InputError(f"{where}: found {value!r}, expected a percentage or an empty cell.")
    return frame


def _poster_notes(poster: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    notes = []
    repeated = poster.duplicated(["method", "backbone"], keep=False)
    for position, row in poster.iterrows():
        name = f"{row['method']}, {row['backbone']}"
        if repeated[position]:
            # other sources print one of its results: that is no conflict of the other one
            notes.append(f"{name}: appears twice on the poster, with two results")
            continue
        same = other[(other["poster_method"] == row["method"]) & (other["backbone"] == row["backbone"])]
        conflicts = [_conflict(row, source) for _, source in same.iterrows()]
        notes.append("; ".join(f"{name}: {conflict}" for conflict in conflicts if conflict))
    return notes


def _conflict(poster: pd.Series, other: pd.Series) -> str:
    """Describe what another source prints differently; empty if it agrees or does not say."""
    printed = [f"{name} {other[name]}" for name in METRICS if poster[name] and other[name] not in ("", poster[name])]
    if printed:
        return f"other sources print {', '.join(printed)} ({other['sources']})"
    return f"public sources disagree ({other['sources']})" if "CONFLICT" in other["status"] else ""
