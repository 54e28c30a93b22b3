"""Directive `package-modules`: the reference of a package and of all its public modules, from their docstrings."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_BARS = re.compile(r"(?<![\w`|])\|([^\s|](?:[^|`]*[^\s|`])?)\|(?!\w)")


def modules_of(package: str) -> list[str]:
    """Dotted names of a package and of all public modules below it; of a plain module its own name."""
    names = [package]
    for found in pkgutil.iter_modules(getattr(import_module(package), "__path__", [])):
        if not found.name.startswith("_"):
            names += modules_of(f"{package}.{found.name}")
    return names


class PackageModules(SphinxDirective):
    """A section for each module; the argument is the package's dotted name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = []
        for name in modules_of(self.arguments[0]):
            lines += [f"``{name}``", "-" * 80, "", f".. automodule:: {name}", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def hide_generated_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Leave out the signature that pydantic makes: it repeats every field with all its constraints."""
    if what == "class" and issubclass(obj, BaseModel):
        return "", returns
    return None


def skip_fields(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out fields of named tuples, and fields whose default is a function: their class describes them."""
    is_field = type(obj).__name__ == "_tuplegetter" or (inspect.isfunction(obj) and obj.__name__ != name)
    return True if is_field else None


def escape_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep the bars of `|x|`, which reStructuredText takes for a substitution."""
    lines[:] = [_BARS.sub(r"\|\1\|", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the hooks."""
    app.add_directive("package-modules", PackageModules)
    app.connect("autodoc-process-signature", hide_generated_signature)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", escape_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
