"""log.jsonl of a run: means over `log_every` steps, one JSON object a line, and the same to tracking."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mssts.study.mlflow_mirror import TrackedRun, Untracked


class TrainingLog:
    """Sums the losses of the steps and writes their means.

    path: None writes nowhere. The file is rewritten from the text of `state` at the start, so that lines after the
    resumed step are gone; it may vanish in between, for the state carries all of its text.
    """

    def __init__(
        self, path: Path | None, every: int, tracked: TrackedRun | Untracked, state: dict[str, Any] | None
    ) -> None:
        self._every = every
        self._tracked = tracked
        self._text: str = state["text"] if state else ""
        self._sums: dict[str, float] = dict(state["sums"]) if state else {}
        self._file = Path(path or os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 closed in __exit__
        self._file.write(self._text)
        self._file.flush()
        for line in self._text.splitlines():
            self._track(json.loads(line))

    def add(self, step: int, losses: dict[str, float], learning_rate: float) -> dict[str, float] | None:
        """Losses of optimiser step `step` (from 1); what was written if a line was due."""
        for key, value in losses.items():
            self._sums[key] = self._sums.get(key, 0.0) + value / self._every
        if step % self._every:
            return None
        means = {key: round(value, 6) for key, value in self._sums.items()}
        record = {"step": step} | means | {"learning_rate": learning_rate}
        line = json.dumps(record) + "\n"
        self._file.write(line)
        self._file.flush()
        self._text += line
        self._sums = {}
        self._track(record)
        return means

    def state_dict(self) -> dict[str, Any]:
        """The text so far and the sums of the line in the making."""
        return {"text": self._text, "sums": dict(self._sums)}

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _track(self, record: dict[str, Any]) -> None:
        self._tracked.log(record["step"], {key: value for key, value in record.items() if key != "step"})
