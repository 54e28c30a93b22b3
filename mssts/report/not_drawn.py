"""What a report says in place of a figure that could not be made. No figure stops the document."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mssts.core.csv_files import NOT_DRAWN
from mssts.core.errors import InputError, printable
from mssts.report.style import empty_figure, save

T = TypeVar("T")


@dataclass(frozen=True)
class NotDrawn:
    """The reason why a figure could not be made.

    Attributes:
        why: The reason, in one line.
    """

    why: str

    def __str__(self) -> str:
        return f"{NOT_DRAWN}: {self.why}"


def attempt(what: str, make: Callable[[], T]) -> T | NotDrawn:
    """What `make` returns, or why it failed, which is printed as a warning; an error in the code with its stack trace.

    A package that is not installed ends the command.

    Args:
        what: Name of the figure in the warning.
        make: Makes it.
    """
    try:
        return make()
    except ModuleNotFoundError:
        raise
    except Exception as error:
        plt.close("all")
        why = str(error)
        if not isinstance(error, InputError):
            traceback.print_exc()
            why = f"{type(error).__name__}: {why}"
        reason = NotDrawn(" ".join(why.split()))
        print(f"warning: {what}: {printable(str(reason))}", file=sys.stderr)
        return reason


def draw(make: Callable[[], Figure], path: Path) -> None:
    """Write a figure as PDF and PNG, or in its place why it could not be drawn.

    Args:
        make: Draws it.
        path: File to write.
    """
    reason = attempt(str(path), lambda: save(make(), path))
    if reason is not None:
        save(empty_figure(str(reason)), path)
