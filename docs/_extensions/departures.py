"""Directive `departures`: every comment of the package that begins with "Differs:", with its file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
_MARK = re.compile(r"\s*# Differs: (.*)")
_CONTINUED = re.compile(r"\s*# (.*)")


def departures() -> Iterator[tuple[Path, str]]:
    """(file relative to the clone, text) of each mark, in the order of the files."""
    for path in sorted((ROOT / "mssts").rglob("*.py")):
        lines = iter(path.read_text(encoding="utf-8").splitlines())
        for line in lines:
            found = _MARK.match(line)
            words = []
            while found:
                words.append(found[1])
                found = _CONTINUED.match(next(lines, ""))
            if words:
                yield path.relative_to(ROOT), " ".join(words)


class Departures(SphinxDirective):
    """A bulleted list, by file."""

    def run(self) -> list[nodes.Node]:
        items = nodes.bullet_list()
        for path, text in departures():
            paragraph = nodes.paragraph("", "", nodes.literal("", path.as_posix()), nodes.Text(": "))
            for position, part in enumerate(text.split("`")):
                paragraph += nodes.literal("", part) if position % 2 else nodes.Text(part)
            items += nodes.list_item("", paragraph)
            self.env.note_dependency(str(ROOT / path))
        return [items]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("departures", Departures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
