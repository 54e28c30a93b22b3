"""The one error that bad input raises."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input of a user: the message names file, key or frame, what was found, what was expected, what to do."""
