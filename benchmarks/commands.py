"""Processor time and memory of the start of commands, and of what the workflow needs to plan its jobs.

    python benchmarks/commands.py [--other DIRECTORY] [--rounds 5]

Snakemake plans `demo`, and `paper-2019` on a two-hundredth of the files of `benchmarks/paper_size_data.py`, in a
workspace where nothing has been done yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import rounds

PART = 0.005
PLAN = ["-m", "snakemake", "-n", "--quiet", "all", "--cores", "1", "--config"]
NO_COLLECTION = "import gc; gc.disable()"  # as the commands import
CASES = {
    "start-up": {
        "mssts --version": ["-m", "mssts", "--version"],
        "mssts train --help": ["-m", "mssts", "train", "--help"],
        "imports of a training": ["-c", f"{NO_COLLECTION}; import mssts.training.run"],
        "imports of a prediction": ["-c", f"{NO_COLLECTION}; import mssts.inference.predict"],
    },
    "workflow": {f"plan of {study}": [*PLAN, f"study={study}"] for study in ("demo", "paper-2019")},
}


def serve(workspace: str) -> rounds.Answers:
    """Answer with time and memory of a command."""
    directory = Path(workspace)
    rounds.command(["-m", "mssts", "init", workspace])
    # in a process of its own: a child is reported to use at least the memory that its parent uses
    data = Path(__file__).with_name("paper_size_data.py")
    rounds.command([str(data), str(directory / "data"), "--part", str(PART)])
    return rounds.Meter(), lambda arguments: rounds.command(arguments, directory)


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of all commands."""
    with TemporaryDirectory() as name:
        names = ["this", "other"] if options.other else ["this"]
        settings = {contender: {"workspace": str(Path(name) / contender)} for contender in names}
        with rounds.contenders(__file__, settings, options.other) as started:
            for benchmark, commands in CASES.items():
                for case, arguments in commands.items():
                    yield from rounds.compare(benchmark, case, started, options.rounds, arguments=arguments)[0]


if __name__ == "__main__":
    rounds.run(argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]), measure, serve)
