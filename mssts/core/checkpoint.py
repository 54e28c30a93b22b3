"""Checkpoints: mappings of tensors and plain values, written atomically, verified, and loaded without running code."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from mssts.core.errors import InputError, short, shown
from mssts.core.files import atomic_write, read_record, verify_digest

RECORD = "run.json"
_LOADING_ERRORS = (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError, AttributeError)
_CONTROL = re.compile(r"\x1b\[[0-9;]*m")
_UNSUPPORTED = re.compile(r"GLOBAL ([\w.]+)")


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save a mapping of tensors and plain values; equal content gives equal bytes."""
    buffer = io.BytesIO()  # written at once: torch replaces the error of a full disk by one of its own
    torch.save(content, buffer)
    with atomic_write(path, "wb") as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load the checkpoint of a run, or an imported one, onto the CPU, after it was verified.

    Its digest must be that of the record run.json beside it, if there is one, and the checksums inside the file must be
    right in any case: torch itself loads a file of flipped bits.

    Returns:
        The mapping: `model` (name to weight), `backbone`, `categories` (list of id and name) and `config` (JSON text).

    Raises:
        InputError: If the file is missing, damaged or changed, contains code or weights that are no finite real
            numbers, or lacks one of the keys.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint. Run the training that writes it first.")
    record = path.with_name(RECORD)
    if path.name == "checkpoint.pt" and record.is_file():
        advice = f"Restore it, or delete {path.parent} and run the stage again."
        verify_digest(path, str(read_record(record).get("checkpoint_sha256")), advice)
    content = load_tensors(path, "Delete it and run the stage again.")
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected a mapping. Run the stage again.")
    expected = {"model": dict, "backbone": str, "categories": list, "config": str}
    for key, kind in expected.items():
        if not isinstance(content.get(key), kind):
            found = type(content[key]).__name__ if key in content else "nothing"
            raise InputError(f"{path}: {key}: found {found}, expected {kind.__name__}; not a checkpoint of mssts.")
    for category in content["categories"]:
        if not isinstance(category, list | tuple) or [type(value) for value in category] != [int, str]:
            raise InputError(f"{path}: categories: found {shown(category)}, expected an id and a name.")
    check_weights(path, content["model"])
    return content


def load_tensors(path: Path, advice: str) -> Any:
    """Load a file of torch.save without executing code from it, its checksums verified.

    Args:
        path: The file.
        advice: What to do if it is damaged.

    Raises:
        InputError: If it is damaged or contains anything but tensors and plain values.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise InputError(f"{path}: damaged (the checksum of its part {damaged} is wrong). {advice}")
        with warnings.catch_warnings(action="ignore"):  # about kinds of tensors that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except (*_LOADING_ERRORS, zipfile.BadZipFile, NotImplementedError, zipfile.LargeZipFile) as error:
        text = " ".join(_CONTROL.sub("", str(error)).split())
        foreign = _UNSUPPORTED.search(text)
        if foreign:
            reason = f"it contains a {foreign[1]}, which is neither a tensor nor a plain value"
        else:
            reason = "damaged, or no file of torch.save"
            reason += f": {text[:120]}" if text and not isinstance(error, pickle.UnpicklingError) else ""
        raise InputError(f"{path}: cannot be loaded ({reason}). {advice}") from None


def _stored_numbers(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers that a tensor is a view of: a small file can hold a view that repeats them beyond all memory."""
    return torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())


def check_weights(path: Path, weights: Mapping[Any, Any]) -> None:
    """Check that every weight is a tensor of finite real numbers.

    Raises:
        InputError: With the first weight that is not.
    """
    for name, weight in weights.items():
        if not isinstance(name, str) or not isinstance(weight, torch.Tensor):
            found = f"{type(weight).__name__} under a name of {type(name).__name__}"
        elif weight.is_quantized or weight.layout != torch.strided or weight.is_complex() or weight.is_meta:
            found = f"a tensor of {weight.dtype}, {weight.layout}, on device {weight.device}"
        elif not _stored_numbers(weight).float().isfinite().all():
            found = "values that are not finite"
        else:
            continue
        raise InputError(
            f"{path}: weight {short(str(name))}: found {found}, expected a tensor of finite real numbers. Get or make "
            "the file again."
        )


def misfits(
    weights: Mapping[str, torch.Tensor], model: Mapping[str, torch.Tensor], initial: Collection[str] = ()
) -> str:
    """Compare weights with those of a model.

    Args:
        weights: Weights of a checkpoint.
        model: Parameters and buffers of the model, by name.
        initial: Names that may be missing, because the model keeps its own values.

    Returns:
        What is wrong, for a message; empty if all weights fit.
    """
    shared = sorted(weights.keys() & model.keys())
    problems = {
        "missing": sorted(model.keys() - weights.keys() - set(initial)),
        "not in this model": sorted(weights.keys() - model.keys()),
        "of another shape": [name for name in shared if weights[name].shape != model[name].shape],
        "of another type": [
            name for name in shared if weights[name].is_floating_point() != model[name].is_floating_point()
        ],
    }
    return "; ".join(f"{len(keys)} {what}, such as {keys[0]}" for what, keys in problems.items() if keys)
