"""The plain values of a checkpoint, read without torch and without its tensors."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError

LARGEST = 2**26  # bytes; names and shapes of a thousand tensors take a quarter of a megabyte


class _PlainValues(pickle.Unpickler):
    """Puts None in the place of every tensor, and runs nothing that the file names."""

    def persistent_load(self, pid: Any) -> None:
        return None

    def find_class(self, module_name: str, global_name: str) -> Any:
        return OrderedDict if (module_name, global_name) == ("collections", "OrderedDict") else _nothing


def _nothing(*_arguments: Any) -> None:
    return None


def read_values(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `mssts.core.checkpoint.save_checkpoint` has written.

    Args:
        path: The checkpoint.

    Returns:
        Its content, with None in the place of each tensor.

    Raises:
        InputError: If the file is no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            [member] = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
            if member.file_size > LARGEST:
                raise ValueError(f"{member.file_size} bytes of names and values")
            with archive.open(member) as file:
                content = _PlainValues(file).load()
        if not isinstance(content, dict):
            raise TypeError(f"found {type(content).__name__}")
        return content
    except Exception as error:  # a damaged pickle raises anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: damaged or not a checkpoint ({reason}).") from None
