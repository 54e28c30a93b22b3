"""The errors that the command line reports as one message, with an exit code of their own."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input of a user.

    The message names the file, key or frame, what was found, what was expected, and what to do.
    """

    exit_code = 2


class DeviceError(RuntimeError):
    """Another process of the same run has ended it; the message and the exit code are those of its failure."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
