"""Checkpoints: mappings of tensors and plain values, written atomically and loaded without running code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from mssts.core.errors import InputError
from mssts.core.files import atomic_write


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save a mapping of tensors and plain values; equal content gives equal bytes."""
    buffer = io.BytesIO()  # written at once: torch replaces the error of a full disk by one of its own
    torch.save(content, buffer)
    with atomic_write(path, "wb") as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a mapping of tensors and plain values onto the CPU.

    Raises:
        InputError: If the file is missing, damaged, contains code, or is not a mapping.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint. Run the training that writes it first.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError(f"expected a mapping, found {type(content).__name__}")
        return content
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = "Delete it and run the stage again."
        raise InputError(f"{path}: damaged or not a checkpoint ({reason}). {advice}") from None
