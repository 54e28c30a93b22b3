"""Atomic writing and reading of files: a file is written under a temporary name in its folder, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from mssts.core.errors import InputError


@contextmanager
def atomic_write(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file whose content appears under `path` only if the block ends without an error.

    Args:
        path: File to write or replace; missing parent directories are created.
        mode: "w" for UTF-8 text with newlines as given, or "wb" for bytes.

    Yields:
        The file object to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoding, newline = (None, None) if mode == "wb" else ("utf-8", "")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys.

    Raises:
        ValueError: For NaN or infinity, which JSON cannot hold.
    """
    with atomic_write(path) as file:
        json.dump(content, file, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
        file.write("\n")


def not_regular(path: Path) -> str | None:
    """What is there instead of a regular file or a link to one; None if nothing is wrong.

    To be asked before a file that a user names is opened: a FIFO or a device may never answer.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return "no such file"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None if stat.S_ISREG(mode) else f"found {_KINDS.get(stat.S_IFMT(mode), 'something else')}"


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: If the file is missing, not a regular file, or malformed.
    """
    problem = not_regular(path)
    if problem:
        raise InputError(f"{path}: {problem}; expected a JSON file.")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}. Create the file again.") from None


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
