"""Names in public SeqFormer checkpoints and ours: facts of a file format, needed to load its weights [code].

`public_names.csv` maps public names to internal ones; the first row that matches counts. `*` stands for any part of a
name. The public tensor is split evenly along its first axis where a row has several internal names (separated by
spaces), and dropped where it has none.
"""

from __future__ import annotations

import csv
import functools
import re
from pathlib import Path

from torch import Tensor

from mssts.core.errors import InputError

NAMES_CSV = Path(__file__).with_name("public_names.csv")


@functools.cache
def _rules() -> list[tuple[re.Pattern[str], list[str]]]:
    # Differs: public entries without effect are dropped, and our model has none of them; the file has the reasons.
    with NAMES_CSV.open(newline="", encoding="utf-8") as file:
        return [
            (re.compile(re.escape(row["public"]).replace(r"\*", "(.+)")), row["internal"].replace("*", "{}").split())
            for row in csv.DictReader(file)
        ]


def internal_names(public: str) -> tuple[str, ...]:
    """Our name of a public parameter or buffer.

    Returns:
        () if it is dropped; several names if the tensor is split along its first axis.

    Raises:
        InputError: Public checkpoints have no such name.
    """
    for pattern, names in _rules():
        if match := pattern.fullmatch(public):
            return tuple(name.format(*match.groups()) for name in names)
    raise InputError(f"checkpoint: unknown entry {public!r}; public SeqFormer checkpoints have no such entry")


def import_public(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Entry `model` of a public checkpoint under our names, to be loaded strictly into a baseline.

    Entries without effect are dropped.

    Raises:
        InputError: An entry is unknown, or cannot be split into equal parts.
    """
    converted: dict[str, Tensor] = {}
    for public, tensor in state.items():
        names = internal_names(public)
        rows = tensor.shape[0] if tensor.ndim else 0
        if len(names) > 1 and (not rows or rows % len(names)):
            found = f"found shape {tuple(tensor.shape)}, whose first dimension is not divisible by {len(names)}"
            raise InputError(f"checkpoint: {public}: {found}")
        if names:
            converted |= dict(zip(names, tensor.chunk(len(names)) if rows else [tensor], strict=True))
    return converted
