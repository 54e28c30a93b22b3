"""Finished runs: they are recognised, and never replaced unless asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mssts.core.errors import InputError
from mssts.core.files import read_record, verify_digest
from mssts.training.record import identity

CHECKPOINT, RECORD, LOG, COST = "checkpoint.pt", "run.json", "log.jsonl", "cost.json"
FILES = (CHECKPOINT, RECORD, LOG, COST)
ADVICE = "Choose another --output, or replace it with --again."


def is_finished(output: Path, record: dict[str, Any]) -> bool:
    """Whether a directory holds all files of a run.

    Args:
        output: Directory of the run.
        record: Description of the run, see `mssts.training.record.run_record`.

    Raises:
        InputError: If it holds another finished run, or the checkpoint is not the one that run.json describes.
    """
    if not all((output / name).is_file() for name in FILES):
        return False
    found = read_record(output / RECORD)
    different = [key for key, value in identity(record).items() if found.get(key) != value]
    if different:
        values = "; ".join(f"{key} {found.get(key)}, not {record[key]}" for key in different)
        raise InputError(
            f"{output}: holds the finished run of another configuration, dataset or start: {values}. {ADVICE}"
        )
    verify_digest(output / CHECKPOINT, str(found.get("checkpoint_sha256")), ADVICE)
    return True


def require_no_checkpoint(output: Path) -> None:
    """Raise InputError if a new run would replace a checkpoint, of whatever origin."""
    if (output / CHECKPOINT).exists():
        raise InputError(f"{output / CHECKPOINT}: exists, but is not part of a finished run of this project. {ADVICE}")


def remove_finished(output: Path) -> None:
    """Remove the files of a finished run, so that it is trained anew; those of an unfinished run are kept."""
    if (output / CHECKPOINT).exists():
        for path in [*(output / name for name in FILES), *output.glob("resume*.pt")]:
            path.unlink(missing_ok=True)
