"""The error for bad input."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input of a user.

    The message names the file, key or frame, what was found, what was expected, and what to do.
    """

    exit_code = 2
