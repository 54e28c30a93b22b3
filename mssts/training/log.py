"""Training log: log.jsonl holds one JSON object per `log_every` steps, with the means of the losses over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class TrainingLog:
    """Averages the losses of the steps and writes them to log.jsonl.

    The file is rewritten from `state` at the start, so that lines after the resumed step, or half of a line, disappear.

    Args:
        path: File to write; None in a process that writes no files.
        every: Steps per line.
        state: `state_dict()` of the log that is continued; None starts a new one.
    """

    def __init__(self, path: Path | None, every: int, state: dict[str, Any] | None) -> None:
        self._path = path
        self._every = every
        self._text: str = state["text"] if state else ""
        self._sums: dict[str, float] = dict(state["sums"]) if state else {}
        self._write(self._text, "w")

    def is_due(self, step: int) -> bool:
        """Whether optimizer step `step` (from 1) completes a line."""
        return step % self._every == 0

    def add(self, step: int, losses: dict[str, float], learning_rate: float) -> dict[str, float] | None:
        """Add the losses of optimizer step `step` (from 1); return the record written if one was due."""
        for key, value in losses.items():
            self._sums[key] = self._sums.get(key, 0.0) + value / self._every
        if not self.is_due(step):
            return None
        means = {key: round(value, 6) for key, value in self._sums.items()}
        record = {"step": step} | means | {"learning_rate": learning_rate}
        line = json.dumps(record) + "\n"
        self._write(line, "a")
        self._text += line
        self._sums = {}
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return the text so far and the sums since its last line."""
        return {"text": self._text, "sums": dict(self._sums)}

    def _write(self, text: str, mode: str) -> None:
        if self._path:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
