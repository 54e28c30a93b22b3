"""The extras of the package: a missing one is named, in place of a module that nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from mssts.core.errors import InputError


def missing_extra(error: ModuleNotFoundError) -> InputError:
    """The message for a module that an extra installs. Raises the error itself if none does."""
    try:
        requirements = metadata.requires("mssts") or []
    except metadata.PackageNotFoundError:  # a clone that is not installed
        raise error from None
    package, extras = (error.name or "").split(".")[0], []
    for requirement in requirements:
        found = re.fullmatch(r"([\w-]+).*\bextra == .(\w+).", requirement)
        if found and found[1].replace("-", "_") == package:
            extras.append(found[2])
    if not extras:
        raise error
    commands = " or ".join(f"pip install 'mssts[{extra}]'" for extra in extras)
    off = ", or go without it: MSSTS_MLFLOW=off, or --config mlflow=off for snakemake" if "mlflow" in extras else ""
    return InputError(f"{package}: found no such package, which is needed here: {commands}{off}")


@contextmanager
def named_extras() -> Iterator[None]:
    """Imports inside name the extra that they lack."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra(error) from None
