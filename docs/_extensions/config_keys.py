"""Directive `config-keys`: a table of the keys of a section of the configuration, from its typed model.

The argument is a class of `mssts.config`. With the option `baseline`, whose value is the section's name, the table also
shows the value and the source that `ablations/baseline.yaml` gives for each key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mssts import config

BASELINE = Path(__file__).resolve().parents[2] / "ablations" / "baseline.yaml"
_TAG = re.compile(r"\[[a-z]+\]")
_LINE = re.compile(r"(?P<indent> *)(?P<key>[a-z0-9_]+):(?P<value>[^#]*)(?:#\s*(?P<comment>.*))?$")


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted key, field) of a section and of the sections in it, in their order."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{key}.")
        else:
            yield key, field


def type_words(field: FieldInfo) -> str:
    """Type and bounds of a field, e.g. `integer, > 0` or `step or cosine`."""
    words, bounds = _type(field.annotation), _bounds(field.metadata)
    return ", ".join([words, *bounds])


def _type(annotation: Any) -> str:
    names: dict[Any, str] = {int: "integer", float: "number", bool: "true or false", str: "text"}
    names |= {Any: "any value", JsonValue: "any value"}
    for known, words in names.items():
        if annotation is known:
            return words
    arguments = get_args(annotation)
    origin = str(getattr(get_origin(annotation), "__name__", get_origin(annotation)))
    if origin == "Annotated":
        return ", ".join([_type(arguments[0]), *_bounds(_constraints(arguments[1:]))])
    if origin == "Literal":
        return " or ".join(f"`{value}`" for value in arguments)
    if origin == "list":
        return f"list of {_plural(_type(arguments[0]))}"
    if origin == "dict":
        return f"mapping of {_plural(_type(arguments[0]))} to {_plural(_type(arguments[1]))}"
    if type(None) in arguments:  # X | None
        return f"{_type(next(one for one in arguments if one is not type(None)))}, or `null`"
    if origin in ("Union", "UnionType"):
        return ", or ".join(map(_type, arguments))
    return f"`{getattr(annotation, '__name__', annotation)}`"


def _plural(words: str) -> str:
    return re.sub(r"^(integer|number|text|any value|mapping)\b", r"\1s", words)


def _constraints(metadata: tuple[Any, ...]) -> list[Any]:
    return [part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])]


def _bounds(constraints: list[Any]) -> list[str]:
    """Bounds in words; of several lower or upper ones, such as those of a type and of a field, the tightest."""
    found = {
        name: [getattr(one, name) for one in constraints if getattr(one, name, None) is not None]
        for name in ("gt", "ge", "lt", "le", "multiple_of")
    }
    lower = [*((value, 0, "≥") for value in found["ge"]), *((value, 1, ">") for value in found["gt"])]
    upper = [*((value, 0, "<") for value in found["lt"]), *((value, 1, "≤") for value in found["le"])]
    tightest = [*sorted(lower)[-1:], *sorted(upper)[:1]]
    words = [f"{sign} {value:,}" for value, _, sign in tightest]
    return words + [f"multiple of {value}" for value in found["multiple_of"]]


@cache
def baseline_comments() -> dict[str, str]:
    """Comment of each line of the baseline's file by dotted key; keys written on one line share its comment."""
    comments: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in BASELINE.read_text(encoding="utf-8").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        indent = len(found["indent"])
        parents = [(depth, key) for depth, key in parents if depth < indent]
        parents.append((indent, found["key"]))
        if found["value"].strip():
            comments[".".join(key for _, key in parents)] = (found["comment"] or "").strip()
    return comments


def source_and_comment(key: str) -> tuple[str, str]:
    """Source tags of a dotted key in the baseline's file, and the rest of its comment; of the line that holds it."""
    comments = baseline_comments()
    while key and key not in comments:
        key = key.rpartition(".")[0]
    comment = comments.get(key, "")
    return " ".join(f"`{tag}`" for tag in _TAG.findall(comment)), _TAG.sub("", comment).strip()


def _value(tree: Any, key: str) -> str:
    for part in key.split("."):
        tree = tree[part]
    text = yaml.safe_dump(tree, default_flow_style=True, width=10**6).split("\n")[0]
    return f"`{text}`"


class ConfigKeys(SphinxDirective):
    """The table. Its text is parsed as Markdown, as the pages are."""

    required_arguments = 1
    option_spec = {"baseline": directives.unchanged}  # noqa: RUF012 - as docutils declares it

    def run(self) -> list[nodes.Node]:
        model = getattr(config, self.arguments[0])
        prefix = self.options.get("baseline")
        tree = yaml.safe_load(BASELINE.read_text(encoding="utf-8"))
        heads = ["Key", "Type", *(["Baseline", "Source"] if prefix else ["Default"]), "Meaning"]
        rows = []
        for key, field in fields_of(model, f"{prefix}." if prefix else ""):
            meaning = field.description or ""
            if prefix:
                source, comment = source_and_comment(key)
                given = [_value(tree, key), source]
                meaning = meaning or comment
            else:
                given = ["required" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"]
            rows.append([f"`{key}`", type_words(field), *given, meaning])
        lines = ["| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows]]
        self.env.note_dependency(str(BASELINE))
        self.env.note_dependency(str(config.__file__))
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("config-keys", ConfigKeys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
