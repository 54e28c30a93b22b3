"""Parts of the package in C, which the installation compiles if there is a C compiler."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


def load_compiled(name: str) -> ModuleType | None:
    """Import a compiled module.

    Args:
        name: Its full name; `mssts.ytvis._compiled` is compiled from mssts/ytvis/_compiled.c.

    Returns:
        The module; None if there is none, or if its source has changed since.
    """
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    built = Path(str(module.__file__))
    source = built.with_name(name.rpartition(".")[2] + ".c")
    changed = source.exists() and source.stat().st_mtime > built.stat().st_mtime
    return None if changed else module
