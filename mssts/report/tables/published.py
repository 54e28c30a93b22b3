"""Published results, quoted: the poster's table, and what other public sources print."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mssts.core.csv_files import NO_VALUE, read_csv
from mssts.core.errors import InputError
from mssts.report.parts import Table
from mssts.study.runs import StudyRuns
from mssts.study.server_scores import METRICS

PUBLISHED = Path(__file__).resolve().parents[3] / "reports" / "published"
POSTER_SOURCE = "poster"
NOT_VERIFIED = "NOT VERIFIED"
NOTE = (
    "Published results on the official YouTube-VIS 2019 validation set, quoted from the MS-STS VIS poster, not "
    "measured here. Another dataset and another split than the table above: no row of one table may be compared with "
    "a row of the other."
)
_POSTER_COLUMNS = ("method", "venue", "backbone", "type", *METRICS)
_OTHER_COLUMNS = ("dataset", "backbone", "method", "poster_method", *METRICS, "status", "sources")


def frame(runs: StudyRuns) -> pd.DataFrame:
    """Every quoted row."""
    return read_published().drop(columns="type")


def parts(runs: StudyRuns) -> list[Table]:
    """The poster's rows by backbone, conflicts as footnotes."""
    rows = read_published()
    poster = rows[rows["source"] == POSTER_SOURCE]
    shown = poster[["backbone", "method", "venue", "type", *METRICS]]
    shown = shown.rename(columns=lambda name: name if name in METRICS else name.capitalize())
    shown[["Type", *METRICS]] = shown[["Type", *METRICS]].replace("", NO_VALUE)
    heading = "Published, YouTube-VIS 2019 val, quoted: {}".format
    return [Table(shown, NOTE, ("Backbone",), heading, list(poster["note"]), text_columns=3, size=8.2, tint="quoted")]


def read_published(folder: Path = PUBLISHED) -> pd.DataFrame:
    """Read the quoted rows: those of the poster with a note for each conflict, then those of other sources.

    Rows that are marked NOT VERIFIED are left out.

    Returns:
        Columns dataset, backbone, method, type, venue, AP..AR10 (percent, as printed), source, note.

    Raises:
        InputError: Missing columns, or a value that is no percentage, with file and line.
    """
    poster = _read(folder / "poster_ytvis2019.csv", _POSTER_COLUMNS)
    other = _read(folder / "other_sources.csv", _OTHER_COLUMNS)
    other = other[~other["status"].str.contains(NOT_VERIFIED)]
    quoted = poster.assign(dataset="YouTube-VIS 2019", source=POSTER_SOURCE, note=_poster_notes(poster, other))
    rest = other.rename(columns={"sources": "source", "status": "note"})
    rest = rest.assign(dataset="YouTube-VIS " + rest["dataset"], venue="", type="")
    columns = ["dataset", "backbone", "method", "type", "venue", *METRICS, "source", "note"]
    return pd.concat([quoted[columns], rest[columns]], ignore_index=True)


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
