"""Overrides: values that a study's file (`set`) or the command line (`--set`) puts in place of a scale's.

Runs with overrides lie in a folder of their own, named after the scale and a digest of what they change. Imports no
torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mssts.config import MAPPING_KEYS, RECORDED, Config, leaves
from mssts.core.errors import InputError, shown
from mssts.core.yaml_files import parse_yaml

OPTION = "--set"
_SPACE = re.compile(r"\s")


def read_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Read words of the command line such as "train.steps=10". The value is YAML: a number, a text, [..] or {..}.

    Returns:
        Dotted key of the configuration -> value.

    Raises:
        InputError: For a word without a key or a value, or a key that is given twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise InputError(f"{OPTION}: found {shown(word)}; expected KEY=VALUE, for example train.steps=10")
        if key in found:
            raise InputError(f"{OPTION}: {shown(key)}: found twice; keep one")
        found[key] = parse_yaml(value, f"{OPTION} {key}")
    return found


def values_of_section(section: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides without the name of their section. Raises InputError for a key of another section."""
    for key in overrides:
        if not key.startswith(f"{section}."):
            raise InputError(f"{OPTION}: {shown(key)}: found without --study; expected a key of {section}")
    return {key.removeprefix(f"{section}."): value for key, value in overrides.items()}


def as_words(overrides: Mapping[str, Any]) -> list[str]:
    """The words that `read_overrides` reads as these overrides, without spaces in them."""
    return [f"{key}={_SPACE.sub(_escape, _json(value))}" for key, value in overrides.items()]


def changed_values(plain: Config, config: Config) -> dict[str, Any]:
    """Values of the second configuration that differ from the first, by dotted key.

    Nothing of the section `execution` is among them: it changes results by rounding only.
    """
    before, after = (
        leaves(each.model_dump(mode="json", by_alias=True, include=set(RECORDED)), MAPPING_KEYS)
        for each in (plain, config)
    )
    return {key: value for key, value in after.items() if before.get(key) != value}


def folder_name(name: str, changes: Mapping[str, Any]) -> str:
    """A name, followed by a digest of the changes if there are any."""
    if not changes:
        return name
    return f"{name}-{hashlib.sha256(_json(changes).encode()).hexdigest()[:8]}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _escape(space: re.Match[str]) -> str:
    return f"\\u{ord(space[0]):04x}"
