"""Write a workspace: a folder in which studies run as in a clone, with the installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

from mssts.core.files import require_empty
from mssts.core.workspace import FILES, shipped


def write_workspace(folder: Path) -> None:
    """Copy workflow, configurations, report templates and published tables to a new or empty folder.

    Raises:
        InputError: The folder has files, or is a file.
    """
    require_empty(folder)
    for name in FILES:
        source, target = shipped() / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
