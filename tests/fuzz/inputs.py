"""One hostile input after another, each read in a process of its own."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.fuzz.case import SECONDS, Case
from tests.fuzz.entrances import KINDS, OFTEN
from tests.fuzz.project import build_project

BYTES = 4 * 2**30


@dataclass(frozen=True)
class Tried:
    """An input that has been tried.

    Attributes:
        kind, number: Which it is; number 0 is the valid file.
        done: What was changed and run, and how it ended.
        findings: What is wrong; empty if nothing is.
    """

    kind: str
    number: int
    done: list[str]
    findings: list[str]

    def __str__(self) -> str:
        changes = "; ".join(line for line in self.done if line.startswith("change"))
        return "\n    ".join([f"{self.kind} {self.number}: {changes[:300]}", *(line[:700] for line in self.findings)])


def try_inputs(directory: Path, kinds: Sequence[str], count: int, first: int, seed: int, keep: bool) -> Iterator[Tried]:
    """Try inputs of some kinds in turn.

    Args:
        directory: Where the projects are written.
        kinds: Names of the kinds.
        count: How many inputs to try.
        first: Number of the first input of each kind.
        seed: Other seeds give other inputs.
        keep: Leave the project of each input and its log.
    """
    os.environ["MSSTS_MLFLOW"] = "off"
    torch.set_num_threads(1)
    build_project(directory / "project")
    turns = [kind for kind in (*KINDS, *OFTEN) if kind in kinds]
    numbers = Counter(dict.fromkeys(turns, first))
    for n in range(count):
        kind = turns[n % len(turns)]
        root = directory / f"{kind}-{numbers[kind]}"
        yield _try(directory / "project", root, kind, numbers[kind], seed)
        numbers[kind] += 1
        if not keep:
            shutil.rmtree(root)
            root.with_suffix(".log").unlink()


def _try(project: Path, root: Path, kind: str, number: int, seed: int) -> Tried:
    shutil.copytree(project, root, symlinks=True)
    case = Case(random.Random(f"{seed} {kind} {number}"), number, root.with_suffix(".log"))
    case.log.touch()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(root)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            KINDS[kind](case)
        except BaseException:
            case.note("FOUND", traceback.format_exc()[-1500:])
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done = case.log.read_text(encoding="utf-8").splitlines()
    findings = [line.removeprefix("FOUND ") for line in done if line.startswith("FOUND ")]
    if status == -signal.SIGALRM:
        findings.append(f"hangs for {SECONDS} s: {done[-1]}")
    elif status < 0:
        findings.append(f"{signal.Signals(-status).name}: {done[-1]}")
    if number == 0 and kind != "public-weights":  # a valid file of that kind would be too large
        findings += [f"the valid file: {line}" for line in done if line.startswith("exit") and "'0:" not in line]
    return Tried(kind, number, done, findings)
