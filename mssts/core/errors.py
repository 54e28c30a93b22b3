"""Errors that end a command with one message: bad input, and failures of the system."""

from __future__ import annotations

import errno

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(ValueError):
    """Bad input of a user.

    The message names the file, key or frame, what was found, what was expected, and what to do.
    """

    exit_code = 2


class Failure(RuntimeError):
    """A command that ended early although its input is right."""

    exit_code = 1


class NoSpace(Failure):
    """A file could not be written: disk full, or quota or size limit reached."""

    exit_code = 5


def system_failure(error: OSError) -> InputError | NoSpace:
    """The error to raise instead of one of the system, with the file and what to do."""
    file = error.filename if error.filename is not None else "a file"
    reason = error.strerror or type(error).__name__
    if error.errno in NO_SPACE:
        advice = "Free space or raise the quota, then run the same command again."
        return NoSpace(f"{file}: no space left to write ({reason}). {advice}")
    return InputError(f"{file}: {reason}. Check the path and its permissions, then run the same command again.")
