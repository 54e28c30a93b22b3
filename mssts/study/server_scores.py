"""Scores of an official server, entered by hand in `server_scores.yaml`.

The file is a mapping with one key, `scores`: a list of records as `ServerScore` describes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from mssts.config import Line, Name, Section, Seed, validated
from mssts.core.yaml_files import read_yaml
from mssts.data.datasets import entry

FILE = Path("server_scores.yaml")
METRICS = ("AP", "AP50", "AP75", "AR1", "AR10")
Percent = Annotated[float, Field(ge=0, le=100)]


class ServerScore(Section):
    """The scores of one submission in percent, and which submission that was."""

    study: Name
    dataset: Name
    split: Name
    backbone: Name
    variant: Name
    seed: Seed
    server: Line = Field(description="name of the server or its page")
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
    """Read the records of the file; none if there is no file. Raises InputError naming file and key."""
    if not path.is_file():
        return []
    scores = validated(ServerScores, read_yaml(path), path).scores
    for score in scores:
        entry(score.dataset)
    return scores
