"""Every file that the project writes goes through here: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mssts.structures import InputError

AGAIN = "Delete it and run the stage again."


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file object whose content appears under `path` only when the block ends without an error.

    Creates missing parents. mode: "w" (UTF-8 text, newline as given) or "wb".
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys; NaN and infinity are refused with ValueError."""
    with atomic_write(path) as file:
        json.dump(content, file, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Content of a JSON file. Raises InputError if it is missing or malformed."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON: {error}. Make the file anew.") from None


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save a mapping of tensors and plain values; the same content gives the same bytes."""
    import torch

    buffer = io.BytesIO()  # written in one go: torch hides the error of a full disk behind one of its own
    torch.save(content, buffer)
    with atomic_write(path, "wb") as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a mapping of tensors and plain values onto the CPU. Raises InputError if missing, damaged or unsafe."""
    import torch

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint. Train it first.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: damaged or not a checkpoint ({reason}). Delete it and run the stage again."
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a mapping, found {type(content).__name__}. Delete it and run the stage again."
        )
    return content
