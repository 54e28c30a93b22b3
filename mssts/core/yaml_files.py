"""YAML files of text, numbers, lists and mappings: what a reader may take for something else is refused.

Plain words are read by the core schema of YAML 1.2, in which `no`, `1:30`, `010` and `2024-01-01` are text.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from mssts.core.errors import InputError, shown, suggestion

MAX_BYTES = 2**17  # the largest file of the project has 6 KiB; reading this many bytes takes a second
MAX_DEPTH = 20
_MAX_DIGITS = 100
_TAG = "tag:yaml.org,2002:"
_WORDS = {
    "null": r"(?:~|null|Null|NULL|)",
    "bool": r"(?:true|True|TRUE|false|False|FALSE)",
    "int": r"[-+]?(?:0|[1-9][0-9]*)",
    "float": r"(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """Composes nodes without anchors, aliases and tags, up to `MAX_DEPTH` levels."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML declares it
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose the next node. Raises yaml.MarkedYAMLError."""
        event = self.peek_event()
        for kind in ("anchor", "tag"):  # an alias has an anchor too
            if name := getattr(event, kind, None):
                raise _refused(f"{kind} {shown(name)}: write the value itself", event.start_mark)
        if self._depth == MAX_DEPTH:
            raise _refused(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _pattern in _WORDS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"{_pattern}\Z"), None)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: The file is missing or no regular file, too large, not UTF-8, not YAML, or not a mapping; or it
            has a key twice, a key that is no text, an anchor, a tag, or a control character. With the line.
    """
    content = parse_yaml(_text(path), path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}.")
    return content


def parse_yaml(text: str, source: Path | str) -> Any:
    """Parse one value. Raises InputError as `read_yaml`; `source` begins the message."""
    try:
        node = _Loader(text).get_single_node()
        return None if node is None else _value(node)
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(filter(None, (error.context, error.problem)))
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InputError(f"{source}: not valid YAML: {problem}{where}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def _text(path: Path) -> str:
    if not path.is_file():
        if path.exists():
            raise InputError(f"{path}: is no regular file; expected a YAML file.")
        known = sorted(other.stem for other in path.parent.glob("*.yaml"))
        close = suggestion(path.stem, known)
        hint = f" {close.capitalize()}" if close.endswith("?") else ""
        raise InputError(f"{path}: no such file. Available: {', '.join(known) or 'none'}.{hint}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: found more than {MAX_BYTES // 1024} KiB, which no file of this kind needs.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: no UTF-8 text at byte {error.start}; save it as UTF-8.") from None


def _value(node: yaml.Node) -> Any:
    """The value of a node. Raises yaml.MarkedYAMLError."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node)
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind in ("int", "float"):
        return _number(kind, text, node)
    if found := _CONTROL.search(text):
        raise _refused(f"control character U+{ord(found[0]):04X} in a text", node.start_mark)
    return text


def _number(kind: str, text: str, node: yaml.Node) -> int | float:
    if len(text) > _MAX_DIGITS:
        raise _refused(f"a number of {len(text)} characters", node.start_mark)
    if kind == "int":
        return int(text)
    number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if math.isinf(number) and "inf" not in text:
        raise _refused(f"{text}: too large for a number", node.start_mark)
    return number


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    content: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key, mark = _value(key_node), key_node.start_mark
        if not isinstance(key, str):
            raise _refused(f"key {shown(key)}: is no text; put it in quotes", mark)
        if key in content:
            raise _refused(f"key {shown(key)}: found in lines {lines[key]} and {mark.line + 1}; keep one", mark)
        content[key], lines[key] = _value(value_node), mark.line + 1
    return content


def _refused(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
