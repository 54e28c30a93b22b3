"""Registries of parts that a researcher adds, each in one file with its own section of the configuration.

See docs/adding-a-part.md for a worked example.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mssts.config import Parts, Section, validated
from mssts.core.errors import InputError, shown, suggestion

P = TypeVar("P")


@dataclass(frozen=True)
class Part(Generic[P]):
    """How to configure and build a part.

    Attributes:
        section: Class of its section of the configuration.
        build: Makes the part from its section and the section of the model or of the loss.
    """

    section: type[Section]
    build: Callable[..., P]


class Registry(Generic[P]):
    """The parts of one kind.

    Args:
        key: Configuration key of the mapping that names parts of this kind.
        built_in: Names that parts of the project itself have taken.
        parts: Parts by name.

    Raises:
        ValueError: A part has the name of a built-in one.
    """

    def __init__(self, key: str, built_in: Collection[str], parts: dict[str, Part[P]]) -> None:
        if taken := sorted(parts.keys() & set(built_in)):
            raise ValueError(f"{key}: the names {taken} belong to built-in parts; register yours under other names.")
        self.key = key
        self.built_in = built_in
        self.parts = parts

    def sections(self, named: Parts, source: Path | str = "configuration") -> dict[str, Section]:
        """Validated sections of the parts that a configuration names.

        Args:
            named: Value of `key` in the configuration.
            source: File of the configuration, for messages.

        Raises:
            InputError: A name is not registered, or a section has an unknown key or a bad value.
        """
        sections = {}
        for name, values in named.items():
            if name not in self.parts:
                close = suggestion(name, self.parts)
                raise InputError(f"{source}: {self.key}: found {shown(name)}, which is not registered; {close}")
            sections[name] = validated(self.parts[name].section, values, f"{source}: {self.key}.{name}")
        return sections

    def build(self, named: Parts, config: Section) -> dict[str, P]:
        """The parts that a configuration names.

        Args:
            named: Value of `key` in the configuration.
            config: Section of the model or of the loss.

        Raises:
            InputError: As `sections`.
        """
        return {name: self.parts[name].build(section, config) for name, section in self.sections(named).items()}
