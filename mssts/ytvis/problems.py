"""Collects everything that is wrong with a file, so that it is reported at once."""

from __future__ import annotations

from dataclasses import dataclass

from mssts.core.errors import InputError

MAX_PROBLEMS_SHOWN = 30


@dataclass(frozen=True)
class Notice:
    """Something that was accepted although it is unusual.

    Attributes:
        what: What was found and how it is treated.
        count: How often.
        first: Key or list index of its first occurrence.
    """

    what: str
    count: int
    first: str


class Problems:
    """Problems and notices of one file.

    Args:
        source: Name of the file, for messages.
        lenient: Accept what the reference evaluator silently accepts, and count each case as a notice.
    """

    def __init__(self, source: str, lenient: bool = False) -> None:
        self.source = source
        self.lenient = lenient
        self.lines: list[str] = []
        self._notices: dict[str, tuple[int, str]] = {}

    def add(self, where: str, what: str) -> None:
        """Record the problem `what` at the key or list index `where`."""
        self.lines.append(f"{where}: {what}")

    def tolerate(self, where: str, what: str, notice: str) -> bool:
        """Record a problem that `lenient` accepts.

        Args:
            where: Key or list index.
            what: The problem; not used with `lenient`.
            notice: Text of the notice that `lenient` counts: what was found, and how it is treated.

        Returns:
            Whether it is accepted.
        """
        if self.lenient:
            self.notice(where, notice)
        else:
            self.add(where, what)
        return self.lenient

    def notice(self, where: str, what: str, count: int = 1) -> None:
        """Count something unusual that is accepted."""
        known, first = self._notices.get(what, (0, where))
        self._notices[what] = (known + count, first)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """All notices, in the order of their first occurrence."""
        return tuple(Notice(what, count, first) for what, (count, first) in self._notices.items())

    def raise_if_any(self) -> None:
        """Raise an InputError with one line for each of the first 30 problems, and the number of all others."""
        if not self.lines:
            return
        shown = [f"{self.source}: {line}" for line in self.lines[:MAX_PROBLEMS_SHOWN]]
        if len(self.lines) > len(shown):
            shown.append(f"{self.source}: and {len(self.lines) - len(shown)} more problems")
        raise InputError("\n".join(shown))
