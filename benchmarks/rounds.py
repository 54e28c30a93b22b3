"""What the benchmarks of time and memory share: contenders that take turns, and the rows that they fill.

A contender is a version of the code, "this" or another one, in a process of its own with one thread. In every round
each contender does the same work once; a first round is not counted. A row has the median and the range over the
rounds: of each quantity, and of its ratio to "this" in the same round.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
UNITS = {"time": "s", "memory": "MB"}
"""Quantities that an answer may have. Lower is better."""


@dataclass(frozen=True)
class Row:
    """One quantity of one contender in one case: median and range over the rounds."""

    benchmark: str
    case: str
    contender: str
    quantity: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, benchmark: str, case: str, contender: str, quantity: str, unit: str, values: list[float]) -> Row:
        """The row of the values of all rounds."""
        numbers = (float(f"{value:.4g}") for value in (statistics.median(values), min(values), max(values)))
        return cls(benchmark, case, contender, quantity, unit, *numbers, len(values))


class Contender:
    """A process that runs `script --serve SETTINGS` with the code of a directory, and answers questions."""

    def __init__(self, script: str, settings: dict[str, Any], directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, script, "--serve", json.dumps(settings)],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(directory), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        print(json.dumps(question), file=self._process.stdin, flush=True)
        if not (line := self._process.stdout.readline()):
            sys.exit(f"{self._process.args[1:]} ended without an answer to {question}; its own message is above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def contenders(script: str, settings: dict[str, dict[str, Any]], other: Path | None) -> Iterator[dict[str, Contender]]:
    """Start a process for each name; "other" gets the code of that directory, all others that of this checkout."""
    started = {name: Contender(script, own, other if name == "other" else HERE) for name, own in settings.items()}
    try:
        yield started
    finally:
        for contender in started.values():
            contender.close()


def compare(
    benchmark: str, case: str, started: dict[str, Contender], rounds: int, **question: Any
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Ask all contenders in turn, once without counting and then for so many rounds; print and return the rows.

    Returns:
        The rows, and the last answer of each contender.
    """
    answers = [{name: contender.ask(**question) for name, contender in started.items()} for _ in range(1 + rounds)]
    rows = []
    for name in started:
        for quantity in UNITS.keys() & answers[0][name].keys():
            values = [answer[name][quantity] for answer in answers[1:]]
            rows.append(Row.of(benchmark, case, name, quantity, UNITS[quantity], values))
            if name != "this":
                own = [answer["this"][quantity] for answer in answers[1:]]
                ratios = [value / one for value, one in zip(values, own, strict=True)]
                rows.append(Row.of(benchmark, case, name, f"{quantity} / this", "", ratios))
    for row in rows:
        print(f"{row.benchmark}, {row.case}: {row.contender}, {row.quantity} {text(row)}", flush=True)
    return rows, answers[-1]


def text(row: Row) -> str:
    """Median with its unit, and the range if there was more than one round."""
    spread = f" ({row.low:g} to {row.high:g})" if row.rounds > 1 else ""
    return f"{row.median:g} {row.unit}".strip() + spread


def resident(field: str) -> int:
    """Bytes that the system states for this process: VmRSS is its memory now, VmHWM the peak."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return 1024 * int(line.split()[1])


class Meter:
    """Measures calls: seconds of processor time, and peak of memory in MB above that when the meter was made."""

    def __init__(self) -> None:
        self._before = resident("VmRSS")

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[str, float]]:
        """What the function returns, and its time and memory."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        start = time.process_time()
        found = function(*arguments)
        seconds = time.process_time() - start
        return found, {"time": seconds, "memory": (resident("VmHWM") - self._before) / 1e6}


def run(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], Iterable[Row]],
    serve: Callable[..., Callable[..., dict[str, Any]]],
) -> None:
    """The command of a benchmark.

    Args:
        parser: Its own options, to which the common ones are added.
        measure: Yields the rows, given the options.
        serve: Called in the process of a contender, with its settings; returns the function that answers questions.
    """
    parser.add_argument("--public", type=Path, help="checkout of the public SeqFormer")
    parser.add_argument("--other", type=Path, help="directory of another version of this repository")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="file for the rows")
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        answers, sys.stdout = sys.stdout, sys.stderr  # what the code under test prints is no answer
        answer = serve(**options.serve)
        for line in sys.stdin:
            print(json.dumps(answer(**json.loads(line))), file=answers, flush=True)
        return
    for name in ("public", "other"):
        if directory := getattr(options, name):
            setattr(options, name, directory.resolve())
    rows = list(measure(options))
    if options.csv:
        write(rows, options.csv)


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
