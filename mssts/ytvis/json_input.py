"""Reads JSON files that users bring, and checks the types of their values."""

from __future__ import annotations

import gc
import json
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from mssts.core.errors import InputError

_RUNS_BEGIN = re.compile(rb'"counts"\s*:\s*\[(?=\s*\d)')
_MAX_ID = 2**63 - 1


def read_bytes(path: Path, what: str) -> bytes:
    """Content of a file.

    Args:
        path: The file.
        what: What the file should be, for messages.

    Raises:
        InputError: If the file is missing or empty.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the {what}")
    text = path.read_bytes()
    if not text or text.isspace():
        raise InputError(f"{path}: the file is empty; expected the {what} as JSON")
    return text


def parse_json(text: bytes, path: Path, what: str, uncompressed_runs: bool = False) -> Any:
    """Content of a JSON text.

    Args:
        text: The text.
        path: Its file, for messages.
        what: What the file should be, for messages.
        uncompressed_runs: Keep lists of run lengths (`"counts": [1, 2]`) as text: a memoryview of `[1, 2` that holds
            digits, commas and spaces in any order. This avoids one object for each of millions of numbers.

    Raises:
        InputError: If the text is not UTF-8 or not JSON.
    """
    try:
        return _parse_with_uncompressed_runs(text) if uncompressed_runs else json.loads(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; expected the {what} as JSON") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected the {what}; write the file again") from None


@contextmanager
def garbage_collection_disabled() -> Iterator[None]:
    """Disable garbage collection while a large file is read: it would search all of it again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parse_with_uncompressed_runs(text: bytes) -> Any:
    """Content of a JSON text: each list of runs is replaced by a mark before parsing, and put in its place after."""
    mark, view = secrets.token_hex(8), memoryview(text)  # a random mark: no text of the file can be mistaken for it
    pieces: list[bytes | memoryview] = []
    runs: dict[str, memoryview] = {}
    done = 0
    begin = _RUNS_BEGIN.search(text)
    while begin is not None and (stop := text.find(b"]", begin.end())) >= 0:
        if not text[begin.end() : stop].translate(None, b"0123456789, "):
            name = f"{mark}{len(runs)}"
            runs[name] = view[begin.end() - 1 : stop]
            pieces += view[done : begin.end() - 1], f'"{name}"'.encode()
            done = stop + 1
        begin = _RUNS_BEGIN.search(text, stop)

    def with_runs(record: dict[str, Any]) -> dict[str, Any]:
        counts = record.get("counts")
        if isinstance(counts, str) and counts in runs:
            record["counts"] = runs[counts]
        return record

    try:
        return json.loads(b"".join((*pieces, view[done:])).decode("utf-8"), object_hook=with_runs)
    except json.JSONDecodeError:
        return json.loads(text.decode("utf-8"))  # fails too, and names the place in the file


def consume(records: list[Any]) -> Iterator[Any]:
    """Iterate over a list and remove each record from it, so that its memory is released as soon as it is read."""
    records.reverse()
    while records:
        yield records.pop()


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a JSON value is an integer (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_id(value: Any) -> TypeGuard[int]:
    """Whether a JSON value is an integer of at most 64 bits."""
    return is_integer(value) and -_MAX_ID <= value <= _MAX_ID


def is_finite_number(value: Any) -> TypeGuard[int | float]:
    """Whether a JSON value is a number other than NaN and infinity (true and false are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def missing_keys(record: Any, keys: tuple[str, ...]) -> str | None:
    """Message about a record that should be an object with these keys; None if it is one."""
    if not isinstance(record, dict):
        return f"found {type(record).__name__}, expected an object with {', '.join(keys)}"
    missing = [key for key in keys if key not in record]
    return f"missing {', '.join(missing)}" if missing else None
