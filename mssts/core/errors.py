"""Errors that end a command with one message: bad input and failures of the system; the words that messages share."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONGEST = 100  # characters of a value in a message
_LONGEST_LINE = 5000  # more than a path and its message have
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(ValueError):
    """Bad input of a user.

    The message names the file, key or frame, what was found, what was expected, and what to do.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class Failure(RuntimeError):
    """A command that ended early although its input is right."""

    exit_code = 1


class NoSpace(Failure):
    """A file could not be written: disk full, or quota or size limit reached."""

    exit_code = 5


def system_failure(error: OSError) -> InputError | NoSpace:
    """The error to raise instead of one of the system, with the file and what to do."""
    file = "a file" if error.filename is None else error.filename
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    if error.errno in NO_SPACE:
        advice = "Free space or raise the quota, then run the same command again."
        return NoSpace(f"{file}: no space left to write ({reason}). {advice}")
    return InputError(f"{file}: {reason}. Check the path and its permissions, then run the same command again.")


class DeviceError(Failure):
    """Another process of the same run has ended it; the message and the exit code are those of its failure."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def printable(text: str) -> str:
    """Text of any origin for a terminal: characters that steer it, and broken ones, as escapes; no endless line."""
    text = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return "\n".join(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..." for line in text.split("\n"))


def short(text: str) -> str:
    """Text for a message; a long one is cut."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def shown(value: object) -> str:
    """A value for a message, as Python writes it; a long one is cut."""
    return short(repr(value))


def suggestion(found: str, known: Iterable[str]) -> str:
    """What to write in place of an unknown name: the known one that resembles it, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(found[:_LONGEST], known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known) or 'none'}"
