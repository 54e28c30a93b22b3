"""A user's own dataset: one file in `ablations/datasets`. Imports no torch."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mssts.config import ABLATIONS, Line, Natural, Section, Text, UserPath, definition, validated
from mssts.core.yaml_files import read_yaml

FOLDER = "datasets"


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise PydanticCustomError("inside", "expected a path inside the directory of the dataset")
    return text


PathInside = Annotated[UserPath, AfterValidator(_inside)]


class PartSection(Section):
    """One annotated part of a dataset; both paths are relative to the directory of the dataset, data/NAME."""

    annotations: PathInside = Field(description="annotation file in YouTube-VIS format")
    images: PathInside = Field(description="folder of the images; the file_names of the annotations begin in it")


class OwnDataset(Section):
    """The file of a dataset. The annotations define its categories."""

    title: Line = Field(description="name in tables and figures")
    train: PartSection = Field(description="annotated videos, of which the local split holds out some")
    valid: PartSection | None = Field(default=None, description="a second part, with or without annotations")
    local_share: float = Field(default=0.2, gt=0, lt=1, description="share of the videos of `train` that is held out")
    split_seed: Natural = Field(default=0, description="another number holds out other videos")
    source: Text = Field(default="your own files", description="where a colleague gets the files")


def own_dataset_file(name: str) -> Path:
    """The file of a dataset of that name, which need not exist. Raises InputError for what is no name."""
    return definition(ABLATIONS, FOLDER, name)


def own_dataset_names() -> list[str]:
    """Names of all files."""
    return sorted(path.stem for path in (ABLATIONS / FOLDER).glob("*.yaml"))


def read_own_dataset(path: Path) -> OwnDataset:
    """Read the file of a dataset. Raises InputError with file and key."""
    return validated(OwnDataset, read_yaml(path), path)
