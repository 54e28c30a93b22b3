"""Reading and writing of files.

A file is written under a temporary name in its folder and then renamed. An output never replaces an input, a link or
anything but an ordinary file. A *record* is a JSON file with a digest of its own content, which is verified when it is
read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from mssts.core.errors import InputError

RECORD_DIGEST = "record_sha256"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path | None] = ()) -> None:
    """Check the output files of a command before it does anything.

    Args:
        outputs: Files that the command writes.
        inputs: Files that it reads, or folders for all that lies in them; None for one that is not given.

    Raises:
        InputError: If an output exists and is no ordinary file, is an input (under any name), or equals another output.
    """
    outputs, given = list(outputs), [path for path in inputs if path is not None]
    for position, output in enumerate(outputs):
        _check_replaceable(output)
        for path in given:
            if _is_same_file(output, path):
                found = "is"
            elif path.is_dir() and path.resolve() in output.resolve().parents:
                found = f"lies in {path}, which is"
            else:
                continue
            raise InputError(
                f"{output}: {found} an input of this command; the output would change it. Choose another name."
            )
        if any(_is_same_file(output, other) for other in outputs[:position]):
            raise InputError(f"{output}: two outputs of this command have this name. Choose another name.")


def require_empty(folder: Path) -> None:
    """Raise InputError unless a folder for outputs is new or empty: files of an earlier call would be taken for new."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder}: exists already; expected a new or an empty folder. Remove it, or choose another.")


def _check_replaceable(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}). Choose another output.") from None
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise InputError(f"{path}: is {kind}; expected a new name or an ordinary file. Choose another output.")


def _is_same_file(first: Path, second: Path) -> bool:
    """Whether two paths name one file, by links or other spellings, or would if it existed."""
    try:
        return first.samefile(second)
    except FileNotFoundError:
        return os.path.realpath(first) == os.path.realpath(second)  # not Path.resolve, which fails for a loop of links


def record_beside(path: Path) -> Path:
    """The record that describes a file, such as predictions.record.json beside predictions.json and its zip."""
    return path.parent / f"{path.stem}.record.json"


@contextmanager
def atomic_write(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file whose content appears under `path` only if the block ends without an error.

    Args:
        path: File to write or replace; missing parent directories are created.
        mode: "w" for UTF-8 text with newlines as given, or "wb" for bytes.

    Yields:
        The file object to write to.

    Raises:
        InputError: If `path` exists and is no ordinary file, or cannot exist.
        OSError: Naming `path`, if the system cannot write it.
    """
    _check_replaceable(path)
    encoding, newline = (None, None) if mode == "wb" else ("utf-8", "")
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with os.fdopen(descriptor, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in place, in a folder that nobody reads yet. Raises OSError, which names the file."""
    try:
        path.write_bytes(content)
    except OSError as error:
        error.filename = str(path)  # the error of a full disk has none
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


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write a record: JSON as of `write_json`, with a digest of the content under the key `record_sha256`."""
    write_json(path, content | {RECORD_DIGEST: _content_digest(content)})


def read_record(path: Path) -> dict[str, Any]:
    """Read a record and verify it.

    Returns:
        The content as given to `write_record`.

    Raises:
        InputError: If the file is missing, malformed, or was changed after it was written.
    """
    content = read_json(path)
    recorded = content.pop(RECORD_DIGEST, None) if isinstance(content, dict) else None
    if recorded is None or recorded != _content_digest(content):
        found = "has no digest" if recorded is None else "was changed after it was written"
        raise InputError(
            f"{path}: {found}; expected the file as the stage wrote it. Delete it and run the stage again."
        )
    return content


def _content_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verify_digest(path: Path, recorded: str, advice: str) -> None:
    """Compare a file with its recorded digest.

    Args:
        path: The file.
        recorded: SHA-256 of its bytes, hexadecimal.
        advice: What to do if they differ.

    Raises:
        InputError: If the file is missing, or was changed after its digest was recorded.
    """
    if problem := not_regular(path):
        raise InputError(f"{path}: {problem}. {advice}")
    found = sha256_file(path)
    if found != recorded:
        raise InputError(
            f"{path}: was changed after its digest was recorded: expected SHA-256 {recorded[:12]}, found {found[:12]}. "
            f"{advice}"
        )


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
