"""Scores of an official server, entered by hand in `server_scores.yaml`; shown as official, apart from our own.

The file is a mapping with one key, `scores`: a list of records as `ServerScore` describes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from mssts.config import Name, Positive, Section, read_yaml, validated
from mssts.data.datasets import entry

FILE = Path("server_scores.yaml")
METRICS = ("AP", "AP50", "AP75", "AR1", "AR10")
Percent = Annotated[float, Field(ge=0, le=100)]


class ServerScore(Section):
    """What a server said of one submission, in percent, and which submission that was."""

    study: Name
    dataset: Name
    split: Name
    backbone: Name
    variant: Name
    seed: Positive
    server: str = Field(min_length=1, description="name of the server or its page")
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="day of the submission, in quotes")
    AP: Percent
    AP50: Percent
    AP75: Percent
    AR1: Percent
    AR10: Percent


class ServerScores(Section):
    """The whole file."""

    scores: list[ServerScore]


def read_server_scores(path: Path = FILE) -> list[ServerScore]:
    """The records of the file, none if there is no file. Raises InputError naming file and key."""
    if not path.is_file():
        return []
    scores: list[ServerScore] = validated(ServerScores, read_yaml(path), path).scores
    for score in scores:
        entry(score.dataset)
    return scores


def server_table(study: str, path: Path = FILE) -> str:
    """Markdown table of a study's scores; a sentence if there is none. Raises InputError."""
    scores = [score for score in read_server_scores(path) if score.study == study]
    if not scores:
        return f"No score of a server has been entered for study {study} in {path}."
    heads = ("Dataset", "Split", "Backbone", "Variant", "Seed", *METRICS, "Server", "Date")
    lines = ["Official scores, entered by hand; not measured here.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for score in scores:
        numbers = [f"{getattr(score, metric):.1f}" for metric in METRICS]
        run = (score.dataset, score.split, score.backbone, score.variant, str(score.seed))
        lines.append("| " + " | ".join((*run, *numbers, score.server, score.date)) + " |")
    return "\n".join(lines)
