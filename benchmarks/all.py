"""All benchmarks of time and memory: one CSV, one table and one figure.

    python benchmarks/all.py [--public DIRECTORY] [--other DIRECTORY] [--reference DIRECTORY] [--rounds 5]
        [--only NAME ...] [--csv FILE]

--public is a checkout of the public SeqFormer, --reference one of the reference evaluator, --other another version of
this repository; each is compared where it is given. By default the CSV is `benchmarks/results.csv`; the table and the
figure of `docs/performance.md` are written with it. Another CSV leaves them alone: `benchmarks/show.py` draws it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import rounds
import show
from tqdm import tqdm

SCRIPTS = {
    "inference": ["inference.py"],
    "training": ["training_step.py"],
    "sampling": ["sampling.py"],
    "data": ["loading.py"],
    "evaluator": ["evaluation.py"],
    "bootstrap": ["bootstrap.py"],
    "commands": ["commands.py"],
    "growth": ["inference.py", "--growth"],
}


def main() -> None:
    """Run the scripts one after another, and write what they measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    rounds.common_options(parser)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    options = parser.parse_args()
    given = ["--rounds", str(options.rounds)]
    for name in ("public", "other", "reference"):
        if directory := getattr(options, name):
            given += [f"--{name}", str(directory)]
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.csv" for name in options.only]
        for name, file in zip(tqdm(options.only, desc="benchmarks"), files, strict=True):
            script, *own = SCRIPTS[name]
            command = [sys.executable, str(Path(__file__).with_name(script)), *own, *given, "--csv", str(file)]
            if subprocess.run(command).returncode:
                sys.exit(f"{script} failed; its message is above")
        pd.concat([pd.read_csv(file, dtype=str) for file in files]).to_csv(options.csv or show.CSV, index=False)
    if not options.csv:
        show.show()


if __name__ == "__main__":
    main()
