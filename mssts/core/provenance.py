"""Provenance of a result: the commit, or the installed wheel, of the code that made it."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from importlib import metadata
from pathlib import Path

from mssts.core.workspace import PACKAGE

SOURCES = ("mssts", "ablations", "workflow", "Snakefile")


def commit() -> str:
    """Return the short commit of the source tree, or the wheel that is installed.

    A wheel is named by its version and the first digits of `wheel_digest`. "+changed" is appended if tracked sources
    differ from the commit, or files of the package from the wheel. Other code is "unknown".
    """
    root = PACKAGE.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == root:
            changed = git("status", "--porcelain", "--untracked-files=no", "--", *SOURCES)
            return git("rev-parse", "--short=12", "HEAD") + ("+changed" if changed else "")
    except (OSError, subprocess.SubprocessError):
        pass
    return _wheel()


def wheel_digest(distribution: metadata.Distribution) -> str:
    """SHA-256 over names and hashes of the wheel's files in the package, as its RECORD lists them; "" without any."""
    listed = sorted(f"{name} {sha256}\n" for name, sha256 in _recorded(distribution).items())
    return hashlib.sha256("".join(listed).encode()).hexdigest() if listed else ""


def _wheel() -> str:
    try:
        distribution = metadata.distribution(PACKAGE.name)
    except metadata.PackageNotFoundError:
        return "unknown"
    folder, digest = Path(str(distribution.locate_file(""))), wheel_digest(distribution)
    if not digest or folder.resolve() != PACKAGE.parent:
        return "unknown"
    changed = any(_sha256(folder / name) != sha256 for name, sha256 in _recorded(distribution).items())
    return f"wheel {distribution.version} {digest[:12]}" + ("+changed" if changed else "")


def _recorded(distribution: metadata.Distribution) -> dict[str, str]:
    """Name and recorded hash of every file of the package; installers add compiled ones, which a wheel has not."""
    files = [file for file in distribution.files or () if file.parts[0] == PACKAGE.name and file.suffix != ".pyc"]
    return {file.as_posix(): file.hash.value for file in files if file.hash}


def _sha256(path: Path) -> str:
    """Hash of a file in the notation of RECORD; "" for a missing one."""
    if not path.is_file():
        return ""
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
