"""The files that a study needs beside the code: workflow, configurations, report templates, published tables.

They lie in the folder in which mssts runs: a clone, or a workspace that `mssts init` has written. A wheel has a copy of
them in the package, which `setup.py` puts there; it runs this module, so this module imports only the standard library.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
FOLDER = "workspace"  # of the package, in a wheel
FILES = (
    "Snakefile",
    "ablations",
    "environment.yml",
    "profiles",
    "reports/published",
    "reports/templates",
    "requirements.lock",
    "workflow/profiles",
    "workflow/report",
    "workflow/rules",
)


def shipped() -> Path:
    """The folder that has `FILES`: of the installed package, or the clone."""
    return PACKAGE / FOLDER if (PACKAGE / FOLDER).is_dir() else PACKAGE.parent


def here_or_shipped(path: str) -> Path:
    """The file or folder of the current folder, or, where it has none, the one that came with mssts."""
    here = Path(path).absolute()
    return here if here.exists() else shipped() / path
