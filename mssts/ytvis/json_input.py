"""Reading of JSON files of users, and the collection of everything wrong with one before saying so at once."""

from __future__ import annotations

import gc
import json
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssts.core.errors import InputError

MAX_PROBLEMS_SHOWN = 30
_RUNS_BEGIN = re.compile(rb'"counts"\s*:\s*\[(?=\s*\d)')


@dataclass(frozen=True)
class Notice:
    """What was accepted that deserves a word: what it was, how often, and the first place (key or list index)."""

    what: str
    count: int
    first: str


class Problems:
    """Problems found in one file, raised together; with `lenient`, some of them are counted instead."""

    def __init__(self, source: str, lenient: bool = False) -> None:
        self.source = source
        self.lenient = lenient
        self.lines: list[str] = []
        self._counted: dict[str, tuple[int, str]] = {}

    def add(self, where: str, what: str) -> None:
        """Note that at key `where` of the file something is wrong, said in `what`."""
        self.lines.append(f"{self.source}: {where}: {what}")

    def forgive(self, where: str, what: str, consequence: str) -> bool:
        """As `add`; with `lenient` count a warning instead: `consequence`, what the public evaluator makes of it.

        Returns whether it is forgiven.
        """
        if self.lenient:
            self.warn(where, consequence)
        else:
            self.add(where, what)
        return self.lenient

    def warn(self, where: str, what: str, count: int = 1) -> None:
        """Count what is no error but deserves a word."""
        known, first = self._counted.get(what, (0, where))
        self._counted[what] = (known + count, first)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was counted, in the order of its first place."""
        return tuple(Notice(what, count, first) for what, (count, first) in self._counted.items())

    def raise_if_any(self) -> None:
        """Raise InputError with one line for each problem (the first 30, and how many more there are)."""
        if not self.lines:
            return
        shown = self.lines[:MAX_PROBLEMS_SHOWN]
        if len(self.lines) > len(shown):
            shown.append(f"{self.source}: and {len(self.lines) - len(shown)} more problems")
        raise InputError("\n".join(shown))


def read_json(path: Path, what: str, plain_runs: bool = False) -> Any:
    """Content of a JSON file. Raises InputError if it is missing, empty or not JSON; `what` names it in words.

    plain_runs: lists of runs (`"counts": [1, 2]`) stay text (a memoryview of `[1, 2`), digits, commas and spaces in any
        order, so that no object is made for each of millions of numbers.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the {what}")
    text = path.read_bytes()
    if not text or text.isspace():
        raise InputError(f"{path}: the file is empty; expected the {what} as JSON")
    try:
        return _with_plain_runs(text) if plain_runs else json.loads(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; expected the {what} as JSON") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected the {what}; write the file again") from None


@contextmanager
def uncollected() -> Iterator[None]:
    """Time in which much is read: the collector would look through it again and again, and nothing of it is garbage."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _with_plain_runs(text: bytes) -> Any:
    """Content of a JSON text, read with a mark for each list of runs, which is then put in its place."""
    mark, view = secrets.token_hex(8), memoryview(text)  # no text of the file can be mistaken for such a mark
    marked, runs, done = [], {}, 0
    begin = _RUNS_BEGIN.search(text)
    while begin is not None and (stop := text.find(b"]", begin.end())) >= 0:
        if not text[begin.end() : stop].translate(None, b"0123456789, "):
            name = f"{mark}{len(runs)}"
            runs[name] = view[begin.end() - 1 : stop]
            marked += view[done : begin.end() - 1], f'"{name}"'.encode()
            done = stop + 1
        begin = _RUNS_BEGIN.search(text, stop)

    def with_runs(record: dict[str, Any]) -> dict[str, Any]:
        counts = record.get("counts")
        if isinstance(counts, str) and counts in runs:
            record["counts"] = runs[counts]
        return record

    try:
        return json.loads(b"".join((*marked, view[done:])).decode("utf-8"), object_hook=with_runs)
    except json.JSONDecodeError:
        return json.loads(text.decode("utf-8"))  # fails too, and names the place in the file


def is_integer(value: Any) -> bool:
    """Whether a JSON value is a whole number (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite_number(value: Any) -> bool:
    """Whether a JSON value is a number other than NaN and infinity (true and false are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def missing_keys(record: Any, keys: tuple[str, ...]) -> str | None:
    """What is wrong with a record that should be an object with these keys, in words; None if nothing is."""
    if not isinstance(record, dict):
        return f"found {type(record).__name__}, expected an object with {', '.join(keys)}"
    missing = [key for key in keys if key not in record]
    return f"missing {', '.join(missing)}" if missing else None
