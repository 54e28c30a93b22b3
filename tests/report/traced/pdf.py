"""The text of a report as its reader sees it in the PDF: tables by the tags of the PDF, sentences, text in figures.

It reads what typst and matplotlib write, and no other PDF: objects in no streams, fonts with two bytes per glyph and a
map of these to Unicode, and a tagged structure.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tests.report.traced.shown import Shown, Table

_OBJECT = re.compile(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
_PLAIN = rb"(?:\\.|[^\\()])"
_STRING = rb"(?:%b|\((?:%b|\(%b*\))*\))*" % (_PLAIN, _PLAIN, _PLAIN)  # with parentheses in pairs
_MARK = re.compile(
    rb"/(\w+)\s*(?:<<(.*?)>>\s*BDC|BMC)"  # begin of marked content
    rb"|(EMC)|/(\w+) [-\d.]+ Tf|(BT)\b|/(\w+) Do\b"
    rb"|\((" + _STRING + rb")\)|<([0-9A-Fa-f]+)>",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def read_pdf(path: Path) -> Shown:
    """Read a report. Raises AssertionError for text that no tag of the structure names."""
    return _Pdf(path.read_bytes()).shown()


class _Pdf:
    def __init__(self, content: bytes) -> None:
        self._objects = {int(found[1]): found[2] for found in _OBJECT.finditer(content)}
        self._read: set[tuple[int, int]] = set()

    def shown(self) -> Shown:
        [root] = [number for number, content in self._objects.items() if b"/S/Document/" in content]
        shown = Shown()
        self._walk(root, shown)
        left = {(page, mark): text for page in self._text for mark, text in self._text[page].items() if text.strip()}
        assert not [text for place, text in left.items() if place not in self._read]
        shown.figures = [texts for number in self._forms if (texts := [*self._of_form(number)])]
        return shown

    def _walk(self, number: int, shown: Shown) -> None:
        kind = self._kind(number)
        if kind == "Table":
            table = self._table(number)
            if not table.caption:  # that of a table which breaks stands before it
                table.caption = shown.sentences.pop()
            shown.tables.append(table)
        elif kind in ("Document", "Part", "Div", "Sect", "L", "TOC"):
            for child in self._children(number):
                self._walk(child, shown)
        elif text := self._text_of(number).strip():
            shown.sentences.append(text)

    def _table(self, number: int) -> Table:
        caption, columns, rows = "", (), []
        for part in self._children(number):
            kind = self._kind(part)
            if kind == "Caption":
                caption = self._text_of(part).strip()
                continue
            for row in self._children(part):
                cells = [(self._text_of(cell).strip(), self._objects[cell]) for cell in self._children(row)]
                texts = [text for text, content in cells if b"/RowSpan" not in content]
                texts = texts[1:] if texts[:1] == [""] else texts  # the column that keeps blocks on one page
                columns, rows = (tuple(texts), rows) if kind == "THead" else (columns, [*rows, texts])
        return Table(caption, columns, rows)

    def _kind(self, number: int) -> str:
        return re.search(rb"/S/(\w+)", self._objects[number])[1].decode()

    def _kids(self, number: int) -> list[bytes]:
        """References to elements, and marked contents: their numbers, or dictionaries for those on another page."""
        found = re.search(rb"/K(\[[^\]]*\]|<<.*?>>|\d+ 0 R|\d+)(?=/|>>|$)", self._objects[number])
        return re.findall(rb"<<.*?>>|\d+ 0 R|\d+", found[1]) if found else []

    def _children(self, number: int) -> list[int]:
        return [int(kid.split()[0]) for kid in self._kids(number) if kid.endswith(b"R")]

    def _text_of(self, number: int) -> str:
        pages = re.findall(rb"/Pg (\d+) 0 R", self._objects[number])  # the last is that of the element itself
        return "".join(self._kid(kid, pages) for kid in self._kids(number))

    def _kid(self, kid: bytes, pages: list[bytes]) -> str:
        if kid.endswith(b"R"):
            return self._text_of(int(kid.split()[0]))
        if kid.startswith(b"<<"):
            place = int(re.search(rb"/Pg (\d+)", kid)[1]), int(re.search(rb"/MCID (\d+)", kid)[1])
        else:
            place = int(pages[-1]), int(kid)
        self._read.add(place)
        return self._text[place[0]].get(place[1], "")

    @cached_property
    def _text(self) -> dict[int, dict[int, str]]:
        """For each page the text of its marked contents."""
        pages = [number for number, content in self._objects.items() if re.search(rb"/Type/Page\b(?!s)", content)]
        found: dict[int, dict[int, str]] = {}
        for page in pages:
            contents = int(re.search(rb"/Contents (\d+) 0 R", self._objects[page])[1])
            found[page] = texts = {}
            for mark, text in self._strings(self._stream(contents), self._fonts(page)):
                texts[mark] = texts.get(mark, "") + text
            texts.pop(-1, None)  # outside of the structure: numbers of pages, repeated headings
        return found

    @cached_property
    def _forms(self) -> list[int]:
        return [number for number, content in self._objects.items() if b"/Subtype/Form" in content]

    def _of_form(self, number: int) -> Iterator[str]:
        """The strings of a figure; those on one line that follow each other are one."""
        line = ""
        for _, text in self._strings(self._stream(number), self._fonts(number), blocks=True):
            if text == "\0":
                if line:
                    yield line
                line = ""
            else:
                line += text
        if line:
            yield line

    def _strings(
        self, content: bytes, fonts: dict[str, dict[int, str]], blocks: bool = False
    ) -> Iterator[tuple[int, str]]:
        marks, font = [-1], {}
        for found in _MARK.finditer(content):
            tag, properties, end, name, block, _, string, digits = found.groups()
            if tag:
                mark = re.search(rb"/MCID (\d+)", properties or b"")
                marks.append(int(mark[1]) if mark else -1 if tag == b"Artifact" else marks[-1])
            elif end:
                marks.pop()
            elif name:
                font = fonts[name.decode()]
            elif block and blocks:
                yield marks[-1], "\0"
            elif font and (string is not None or digits):
                plain = bytes.fromhex(digits.decode()) if digits else _ESCAPE.sub(_unescaped, string)
                codes = [int.from_bytes(plain[at : at + 2]) for at in range(0, len(plain), 2)]
                yield marks[-1], "".join(font.get(code, "") for code in codes)

    def _fonts(self, owner: int) -> dict[str, dict[int, str]]:
        """The maps to Unicode of the fonts that a page or form uses."""
        content = self._objects[owner].partition(b"stream\n")[0]
        if found := re.search(rb"/Resources (\d+) 0 R", content):
            content = self._objects[int(found[1])]
        found = re.search(rb"/Font<<(.*?)>>", content, re.DOTALL)
        named = re.findall(rb"/(\w+) (\d+) 0 R", found[1]) if found else []
        return {name.decode(): self._unicode(int(number)) for name, number in named}

    def _unicode(self, font: int) -> dict[int, str]:
        found = re.search(rb"/ToUnicode (\d+) 0 R", self._objects[font])
        text = self._stream(int(found[1])).decode("latin-1")
        chars: dict[int, str] = {}
        for block in re.findall(r"beginbfchar(.*?)endbfchar", text, re.DOTALL):
            for code, value in re.findall(r"<(\w+)>\s*<(\w+)>", block):
                chars[int(code, 16)] = bytes.fromhex(value).decode("utf-16-be")
        for block in re.findall(r"beginbfrange(.*?)endbfrange", text, re.DOTALL):
            for first, last, values in re.findall(r"<(\w+)>\s*<(\w+)>\s*(<\w+>|\[[^\]]*\])", block):
                given = [bytes.fromhex(value).decode("utf-16-be") for value in re.findall(r"<(\w+)>", values)]
                for step in range(int(last, 16) - int(first, 16) + 1):
                    value = given[step] if step < len(given) else chr(ord(given[0]) + step)
                    chars[int(first, 16) + step] = value
        return chars

    def _stream(self, number: int) -> bytes:
        head, _, rest = self._objects[number].partition(b"stream\n")
        content = rest[: int(re.search(rb"/Length (\d+)", head)[1])]
        return zlib.decompress(content) if b"/FlateDecode" in head else content


def _unescaped(found: re.Match[bytes]) -> bytes:
    character = found[1]
    return bytes([int(character, 8)]) if character[:1].isdigit() else _ESCAPES.get(character, character)
