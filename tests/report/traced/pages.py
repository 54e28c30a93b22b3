"""The text of the HTML report as its reader sees it, page by page."""

from __future__ import annotations

from pathlib import Path

from bs4 import BeautifulSoup, Tag

from tests.report.traced.shown import Shown, Table


def read_page(path: Path) -> Shown:
    """Read a page: its tables, and all other text in paragraphs."""
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    shown = Shown()
    for unseen in page.select("head, header, script, label, noscript"):
        unseen.decompose()
    for table in page.select("table"):
        figure = table.find_parent("figure")
        caption = figure.find("figcaption").extract() if figure else None
        columns = tuple(_text(cell) for cell in table.select("thead th"))
        rows = [[_text(cell) for cell in row.select("td, th")] for row in table.select("tbody tr")]
        shown.tables.append(Table(_text(caption) if caption else "", columns, rows))
        table.decompose()
    for part in page.select("h1, h2, h3, p, li, dt, dd, figcaption, pre, output, summary, a"):
        if not part.find_parent(["p", "li", "figcaption", "h1", "output"]):
            shown.sentences.append(_text(part))
        part.extract()
    shown.sentences.append(_text(page))
    shown.sentences = [text for text in shown.sentences if text]
    return shown


def _text(part: Tag) -> str:
    return " ".join(part.get_text().split())
