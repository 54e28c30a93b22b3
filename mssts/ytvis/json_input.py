"""Reads JSON files that users bring, checks the types of their values, and shows them in messages."""

from __future__ import annotations

import gc
import json
import re
import reprlib
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeGuard

from mssts.core.errors import InputError
from mssts.core.files import not_regular

_RUNS_BEGIN = re.compile(rb'"counts"\s*:\s*\[(?=\s*\d)')
_MAX_ID = 2**63 - 1
_MAX_LISTED = 100
_NO_NAME = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, and halves of surrogate pairs
_MAX_NAME = 4096  # characters, as in the longest path of a file
A_NAME = f"text of 1 to {_MAX_NAME} characters without control characters"  # for messages
_PACKED = {  # by the first bytes of the file
    b"PK\x03\x04": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
_SHORT = reprlib.Repr()  # shows a part only: `repr` of a deeply nested value fails, that of a large one is slow
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class _RepeatedKey(ValueError):
    """A key that an object has twice; json would keep the last value silently."""


def read_bytes(path: Path, what: str) -> bytes:
    """Content of a file.

    Args:
        path: The file.
        what: What the file should be, for messages.

    Raises:
        InputError: If the file is missing, or not a regular file.
    """
    problem = not_regular(path)
    if problem:
        raise InputError(f"{path}: {problem}; expected the {what}")
    return path.read_bytes()


def parse_json(text: bytes, path: Path, what: str, uncompressed_runs: bool = False) -> Any:
    """Content of a JSON text.

    Args:
        text: The text.
        path: Its file, for messages.
        what: What the file should be, for messages.
        uncompressed_runs: Keep lists of run lengths (`"counts": [1, 2]`) as text: a memoryview of `[1, 2` that holds
            digits, commas and spaces in any order. This avoids one object for each of millions of numbers.

    Raises:
        InputError: If the text is empty, packed, not UTF-8 or not JSON, or if an object has a key twice.
    """
    problem = _not_plain_text(text)
    if problem:
        raise InputError(f"{path}: {problem}; expected the {what} as JSON")
    try:
        if uncompressed_runs:
            return _parse_with_uncompressed_runs(text)
        return json.loads(text.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; expected the {what} as JSON") from None
    except _RepeatedKey as error:
        raise InputError(f"{path}: an object has the key {error} twice; expected each key once") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; expected the {what}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected the {what}; write the file again") from None


def _not_plain_text(text: bytes) -> str | None:
    """Message about content that is empty, packed or of another encoding; None if it may be UTF-8 text.

    What follows a byte order mark is not read, although it could be: the reference evaluator fails on it.
    """
    if not text or text.isspace():
        return "the file is empty"
    for begin, name in _PACKED.items():
        if text.startswith(begin):
            return f"packed with {name}; unpack it first"
    encoding = json.detect_encoding(text)
    if encoding == "utf-8-sig":
        return "begins with a byte order mark (BOM); write the file as UTF-8 without it"
    return None if encoding == "utf-8" else f"not UTF-8 text but {encoding}; write the file as UTF-8"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _RepeatedKey(shown(Counter(key for key, _ in pairs).most_common(1)[0][0]))
    return record


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

    def with_runs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = _object(pairs)
        counts = record.get("counts")
        if isinstance(counts, str) and counts in runs:
            record["counts"] = runs[counts]
        return record

    try:
        return json.loads(b"".join((*pieces, view[done:])).decode("utf-8"), object_pairs_hook=with_runs)
    except json.JSONDecodeError:
        return json.loads(text.decode("utf-8"))  # fails too, and names the place in the file


def json_text(content: Any) -> bytes:
    """UTF-8 JSON, with sorted keys, of what `parse_json` made of a text with `uncompressed_runs`.

    Raises:
        ValueError: For what JSON cannot hold: NaN, infinity, half of a surrogate pair, or runs like 01.
    """
    mark = secrets.token_hex(8)
    runs: list[bytes] = []

    def set_aside(counts: memoryview) -> str:
        runs.append(counts.tobytes() + b"]")
        json.loads(runs[-1])
        return mark

    text = json.dumps(content, default=set_aside, sort_keys=True, allow_nan=False, ensure_ascii=False)
    first, *others = text.encode().split(f'"{mark}"'.encode())
    return b"".join([first, *chain.from_iterable(zip(runs, others, strict=True))])


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


def is_name(value: Any) -> TypeGuard[str]:
    """Whether a JSON value is `A_NAME` that can be written as UTF-8."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and not _NO_NAME.search(value)


def shown(value: Any, characters: int = 40) -> str:
    """A JSON value of any size and depth, for messages: the first characters."""
    return _SHORT.repr(value)[:characters]


def listed(items: Iterable[Any]) -> str:
    """The first hundred items, for messages."""
    first = list(islice(map(str, items), _MAX_LISTED + 1))
    return ", ".join([*first[:_MAX_LISTED], "..."] if len(first) > _MAX_LISTED else first)


def missing_keys(record: Any, keys: tuple[str, ...]) -> str | None:
    """Message about a record that should be an object with these keys; None if it is one."""
    if not isinstance(record, dict):
        return f"found {type(record).__name__}, expected an object with {', '.join(keys)}"
    missing = [key for key in keys if key not in record]
    return f"missing {', '.join(missing)}" if missing else None
