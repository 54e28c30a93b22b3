"""What the benchmarks of time and memory share: contenders that take turns, and the rows that they fill.

A contender is a version of the code, "this" or another one, in a process of its own with one thread. In every round
each contender does the same work once; a first round is not counted. A row has the median and the range over the
rounds: of each quantity, and of its ratio to "this" in the same round. Time is that of the processor. Memory is
measured in a round of its own, in which the allocator gives every block back that is freed.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
UNITS = {"time": "s", "memory": "MB"}
"""Quantities of an answer. Lower is better."""
M_MMAP_THRESHOLD = -3  # of mallopt
LASTING = ExitStack()  # contexts of a contender that end with its process
Answers = tuple["Meter", Callable[..., dict[str, Any]]]


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
    benchmark: str, case: str, started: dict[str, Contender], rounds: int, memory: bool = True, **question: Any
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Ask all contenders in turn, once without counting and then for so many rounds; print and return the rows.

    Returns:
        The rows, and the last answer of each contender.
    """

    def turn(quantity: str) -> dict[str, dict[str, Any]]:
        return {name: contender.ask(quantity=quantity, **question) for name, contender in started.items()}

    first, *answers = [turn("time") for _ in range(1 + rounds)]
    if memory and "memory" not in first["this"]:
        answers.append(turn("memory"))
    rows = []
    for quantity in UNITS:
        own = [answer["this"][quantity] for answer in answers if quantity in answer["this"]]
        for name in started if own else ():
            values = [answer[name][quantity] for answer in answers if quantity in answer[name]]
            rows.append(Row.of(benchmark, case, name, quantity, UNITS[quantity], values))
            if name != "this":
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
    """Measures one quantity of calls in this process.

    Attributes:
        quantity: "time", seconds of processor time, or "memory", the peak in MB above the memory that the process had
            when the meter was made.
    """

    def __init__(self) -> None:
        self.quantity = "time"
        self._c = ctypes.CDLL(None)
        gc.collect()  # else what was needed to load is freed later, and the peak lies below
        self._c.malloc_trim(0)
        self._before = resident("VmRSS")

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[str, float]]:
        """What the function returns, and the quantity."""
        if self.quantity == "time":
            start = time.process_time()
            found = function(*arguments)
            return found, {"time": time.process_time() - start}
        self._c.mallopt(M_MMAP_THRESHOLD, 2**20)
        self._c.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        found = function(*arguments)
        peak = resident("VmHWM") - self._before
        self._c.mallopt(M_MMAP_THRESHOLD, 2**25)  # the largest that the allocator chooses by itself
        return found, {"memory": peak / 1e6}


def command(arguments: list[str], directory: Path | None = None) -> dict[str, float]:
    """Run Python with these arguments; return the processor time in s, and the peak of memory in MB, of that process.

    The time is that of its children too.
    """
    process = subprocess.Popen([sys.executable, *arguments], cwd=directory, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit status {process.returncode}")
    return {"time": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024 / 1e6}


def run(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], Iterable[Row]],
    serve: Callable[..., Answers],
) -> None:
    """The command of a benchmark.

    Args:
        parser: Its own options, to which the common ones are added.
        measure: Yields the rows, given the options.
        serve: Called in the process of a contender, with its settings. It returns the meter that it has made when
            everything was loaded, and the function that answers questions with what the meter gives.
    """
    common_options(parser)
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        answers, sys.stdout = sys.stdout, sys.stderr  # what the code under test prints is no answer
        meter, answer = serve(**options.serve)
        for line in sys.stdin:
            question = json.loads(line)
            meter.quantity = question.pop("quantity")
            print(json.dumps(answer(**question)), file=answers, flush=True)
        return
    sys.path.insert(0, str(HERE))  # what is installed may be another checkout; contenders have a path of their own
    start, others = time.perf_counter(), busy_seconds() - own_seconds()
    rows = list(measure(options))
    if options.csv:
        others = (busy_seconds() - own_seconds() - others) / (time.perf_counter() - start)
        write(rows, machine() | {"others": f"{max(others, 0):.2f}"}, options.csv)


def common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks have."""

    def directory(text: str) -> Path:
        return Path(text).resolve(strict=True)

    parser.add_argument("--public", type=directory, help="checkout of the public SeqFormer")
    parser.add_argument("--other", type=directory, help="directory of another version of this repository")
    parser.add_argument("--reference", type=directory, help="checkout of the reference evaluator")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="file for the rows")


def busy_seconds() -> float:
    """Seconds that all processors of the machine have worked since it was started."""
    user, nice, system, *_ = Path("/proc/stat").read_text().split()[1:]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Seconds that this process and its ended children have worked."""
    return sum(os.times()[:4])


def machine() -> dict[str, str]:
    """Columns that say where the rows come from."""
    import torch

    from mssts.core.environment import environment
    from mssts.core.provenance import commit

    record = environment(torch.device("cpu"), "")
    return {
        "processor": record["device"],
        "python": platform.python_version(),
        "torch": record["torch"],
        "commit": commit(),
    }


def write(rows: Iterable[Row], columns: dict[str, str], path: Path) -> None:
    """Write rows as CSV, each with the same further columns."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*Row.__dataclass_fields__, *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) | columns for row in rows)
