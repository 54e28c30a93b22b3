"""Published results, quoted: the poster's table, and what other public sources print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mssts.core.csv_files import NO_VALUE, read_csv
from mssts.core.errors import InputError
from mssts.report.parts import Table
from mssts.study.results import StudyResults

PUBLISHED = Path(__file__).resolve().parents[3] / "reports" / "published"
METRICS = ("AP", "AP50", "AP75", "AR1", "AR10")
POSTER_SOURCE = "poster"
NOT_VERIFIED = "NOT VERIFIED"
NOTE = (
    "Published results on the official YouTube-VIS 2019 validation set, quoted from the MS-STS VIS poster, not "
    "measured here. Another data set and another split than the table above: no row of one table may be compared with "
    "a row of the other."
)
_POSTER_COLUMNS = ("method", "venue", "backbone", "type", *METRICS)
_OTHER_COLUMNS = ("dataset", "backbone", "method", "poster_method", *METRICS, "status", "sources")


@dataclass(frozen=True)
class Published:
    """Quoted results.

    Attributes:
        poster: The poster's YouTube-VIS 2019 rows with a `note` for each conflict.
        rows: These and the rows of other sources: dataset, backbone, method, venue, AP..AR10 (percent, as printed),
            source, note.
    """

    poster: pd.DataFrame
    rows: pd.DataFrame


def frame(results: StudyResults) -> pd.DataFrame:
    """Every quoted row."""
    return read_published().rows


def parts(results: StudyResults) -> list[Table]:
    """The poster's rows by backbone, conflicts as footnotes."""
    poster = read_published().poster
    shown = poster[["backbone", "method", "venue", "type", *METRICS]]
    shown = shown.rename(columns=lambda name: name if name in METRICS else name.capitalize())
    shown[["Type", *METRICS]] = shown[["Type", *METRICS]].replace("", NO_VALUE)

    def heading(backbone: str) -> str:
        return f"Published, YouTube-VIS 2019 val, quoted: {backbone}"

    notes = list(poster["note"])
    return [Table(shown, NOTE, ("Backbone",), heading, notes, text_columns=3, size=8.2, tint="quoted")]


def read_published(folder: Path = PUBLISHED) -> Published:
    """Read the quoted rows, those marked NOT VERIFIED left out.

    Raises:
        InputError: Missing columns, or a value that is no percentage, with file and line.
    """
    poster = _read(folder / "poster_ytvis2019.csv", _POSTER_COLUMNS)
    other = _read(folder / "other_sources.csv", _OTHER_COLUMNS)
    other = other[~other["status"].str.contains(NOT_VERIFIED)]
    poster = poster.assign(note=_poster_notes(poster, other))
    quoted = poster.assign(dataset="YouTube-VIS 2019", source=POSTER_SOURCE)
    rest = other.assign(
        dataset="YouTube-VIS " + other["dataset"],
        venue="",
        source=other["sources"],
        note=other["status"],
    )
    columns = ["dataset", "backbone", "method", "venue", *METRICS, "source", "note"]
    return Published(poster, pd.concat([quoted[columns], rest[columns]], ignore_index=True))


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; it belongs to the repository, restore it.")
    frame = read_csv(path)
    if tuple(frame.columns) != columns:
        raise InputError(f"{path}: found columns {list(frame.columns)}, expected {list(columns)}.")
    for position, row in frame.iterrows():
        for metric in METRICS:
            try:
                valid = row[metric] == "" or 0 <= float(row[metric]) <= 100
            except ValueError:
                valid = False
            if not valid:
                raise InputError(
                    f"{path}: line {position + 2}: {metric}: found {row[metric]!r}, expected a percentage or nothing."
                )
    return frame


def _conflict(poster: pd.Series, other: pd.Series) -> str:
    """Describe what another source prints differently; empty if it agrees or does not say."""
    both = [metric for metric in METRICS if poster[metric] and other[metric] and poster[metric] != other[metric]]
    if not both:
        return ""
    printed = ", ".join(f"{metric} {other[metric]}" for metric in both)
    return f"{poster['method']}, {poster['backbone']}: other sources print {printed} ({other['sources']})"


def _poster_notes(poster: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    notes = []
    for _, row in poster.iterrows():
        same = other[(other["poster_method"] == row["method"]) & (other["backbone"] == row["backbone"])]
        conflicts = [_conflict(row, candidate) for _, candidate in same.iterrows()]
        conflicts += [
            f"{row['method']}, {row['backbone']}: public sources disagree ({candidate['sources']})"
            for conflict, (_, candidate) in zip(conflicts, same.iterrows(), strict=True)
            if not conflict and "CONFLICT" in candidate["status"]
        ]
        repeated = (poster["method"] == row["method"]) & (poster["backbone"] == row["backbone"])
        twice = f"{row['method']}, {row['backbone']}: stands twice on the poster, with two results"
        # of a method that stands twice, one row is what the other sources print: that is no conflict of the other row
        notes.append(twice if repeated.sum() > 1 else "; ".join(filter(None, conflicts)))
    return notes
