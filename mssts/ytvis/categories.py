"""Compares the categories of a file with those of the dataset that it should belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mssts.ytvis.json_input import shown

MAX_LISTED = 6


@dataclass(frozen=True)
class ExpectedCategories:
    """The categories that a dataset has.

    Attributes:
        dataset: Name of the dataset, for messages.
        names: {category id: name}.
        known: The categories of all known datasets by name; a message names the datasets that fit a file.
    """

    dataset: str
    names: Mapping[int, str]
    known: Mapping[str, Mapping[int, str]]

    def differences(self, found: Mapping[int, str]) -> list[str]:
        """Messages about the categories {id: name} of a file; the first six, and how many more there are."""
        wrong = list(self._differences(found))
        if len(wrong) > MAX_LISTED:
            fitting = [name for name, known in self.known.items() if found and found.items() <= known.items()]
            whose = f"; these are the categories of {' or '.join(fitting)}" if fitting else ""
            wrong[MAX_LISTED:] = [f"and {len(wrong) - MAX_LISTED} more{whose}"]
        return wrong

    def _differences(self, found: Mapping[int, str]) -> Iterator[str]:
        for key, name in self.names.items():
            if key not in found:
                yield f"id {key} is missing; expected {name!r} ({self.dataset})"
            elif found[key] != name:
                yield f"id {key} is {shown(found[key])}, expected {name!r} ({self.dataset})"
        for key, name in found.items():
            if key not in self.names:
                yield f"id {key} ({shown(name)}) does not belong to {self.dataset}"
