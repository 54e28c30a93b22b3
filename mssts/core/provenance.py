"""Provenance of a result: the commit of the code that made it."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = ("mssts", "ablations", "workflow", "Snakefile")


def commit() -> str:
    """Return the short commit of the source tree.

    "+changed" is appended if tracked sources differ from the commit; "unknown" is returned outside a git clone.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown"
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES)
        return git("rev-parse", "--short=12", "HEAD") + ("+changed" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
