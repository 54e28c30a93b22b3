"""Try hostile inputs on every entrance: no trace, signal, hang, wrong value or changed file may get through.

    python -m tests.fuzz [--kinds zip image] [--count 500] [--first 0] [--seed 0] [--keep DIRECTORY]

An input is a small valid file that is changed at random: a value of its tree, its bytes, or the kind of file it is.
Number n of a kind is always the same input (`--kinds zip --first 137 --count 1`); number 0 is the valid file. All
commands that read such a file read it in a process of its own, in a copy of a small complete project; `--keep` leaves
these copies, to try a command by hand.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.entrances import KINDS
from tests.fuzz.inputs import try_inputs


def main() -> None:
    """Print each finding with its input, and how many inputs of each kind have one; exit code 1 if any has."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, default=500, help="inputs, taken from the kinds in turn")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="new directory that keeps the project of each input")
    options = parser.parse_args()
    tried, failed, started = Counter[str](), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        directory, keep = (options.keep or Path(temporary)).resolve(), options.keep is not None
        for tried_input in try_inputs(directory, options.kinds, options.count, options.first, options.seed, keep):
            tried[tried_input.kind] += 1
            failed[tried_input.kind] += bool(tried_input.findings)
            if tried_input.findings:
                print(tried_input, flush=True)
    for kind in tried:
        print(f"{kind}: {tried[kind]} inputs, {failed[kind]} with findings")
    print(f"{sum(tried.values())} inputs in {time.monotonic() - started:.0f} s")
    sys.exit(1 if any(failed.values()) else 0)


if __name__ == "__main__":
    main()
