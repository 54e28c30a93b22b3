"""The report as a folder of pages that a browser opens from the disk, without a server or a network.

Everything in it but `cost.html` has the same bytes each time. The tables are those of the PDF.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mssts.core.csv_files import read_csv
from mssts.core.errors import InputError
from mssts.core.files import write_bytes
from mssts.report.document import report_data
from mssts.report.formats import plain
from mssts.report.html.run_pages import LIST, RunPages
from mssts.report.html.tables import number_columns, points, sort_value
from mssts.report.html.videos import VideoPages
from mssts.report.not_drawn import NotDrawn, attempt
from mssts.report.tables import results
from mssts.report.tables.cost import COLUMNS as COST_COLUMNS
from mssts.study.paths import HTML
from mssts.study.runs import StudyRuns

_SOURCES = Path(__file__).parent
_STATIC = ("report.css", "report.js", "vendor/sortable.min.js", "vendor/LICENSE.sortable-tablesort")


def write_html(runs: StudyRuns) -> None:
    """Write `reports/<study>/html/`, in place of what an earlier call has written there.

    Pages of videos that cannot be made do not stop it: the first page says why.

    Raises:
        InputError: The tables are missing or older than the results, or something else lies where the folder goes.
    """
    target = runs.folder / HTML
    if target.is_symlink() or (target.exists() and not (target / "index.html").is_file()):
        raise InputError(f"{target}: found something else than a report that mssts wrote. Move it away.")
    with tempfile.TemporaryDirectory(prefix=".html.", dir=runs.folder.parent) as temporary:
        folder = Path(temporary, HTML)
        folder.mkdir()
        _Writer(runs, folder).write()
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)


class _Writer:
    """Writes the pages of a study into an empty folder."""

    def __init__(self, runs: StudyRuns, folder: Path) -> None:
        self._runs, self._folder = runs, folder
        self._pages = RunPages(runs)
        self._templates = Environment(
            loader=PackageLoader("mssts.report.html"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"sort_value": sort_value, "points": points}

    def write(self) -> None:
        for name in _STATIC:
            _copy(_SOURCES / name, self._folder / name)
        data = report_data(self._runs)
        videos = attempt("pages of videos", lambda: VideoPages(self._runs, self._pages).write(self._folder))
        if isinstance(videos, NotDrawn):
            data["warnings"].append(f"Pages of videos: {videos}")
            videos = []
        self._study = {"study": self._runs.study.name, "has_videos": bool(videos)}
        self._index(data)
        groups = {"groups": self._pages.groups(), "externals": self._pages.externals()}
        self._page(LIST, "runs.html", self._table(results.frame(self._runs)) | groups)
        for address, content in self._pages.contents():
            self._page(address, "run.html", content)
        cost = read_csv(self._runs.folder / "cost.csv", COST_COLUMNS, f"Run mssts tables {self._runs.study.options}.")
        self._page("cost.html", "cost.html", self._table(cost))
        for address, template, content in videos:
            self._page(address, template, content)

    def _index(self, data: dict[str, Any]) -> None:
        """The first page, with the figures of the PDF as PNG."""
        for part in [*data["answer"], *(part for section in data["sections"] for part in section["parts"])]:
            if part["kind"] == "table":
                self._pages.link(part)
            elif part.get("path"):
                picture = Path(part["path"]).with_suffix(".png")
                _copy(self._runs.folder / picture, self._folder / picture)
                part["path"] = picture.as_posix()
        self._page("index.html", "index.html", data)

    def _table(self, frame: Any) -> dict[str, Any]:
        """The rows of a CSV file, each with the page of its run."""
        rows = [{"cells": list(row.values()), "href": self._pages.of_row(row)} for row in frame.to_dict("records")]
        columns = list(frame.columns)
        return {"columns": columns, "rows": rows, "numbers": number_columns([row["cells"] for row in rows])}

    def _page(self, address: str, template: str, content: dict[str, Any]) -> None:
        root = "../" * address.count("/")
        text = self._templates.get_template(template).render(plain(content), root=root, **self._study)
        (self._folder / address).parent.mkdir(exist_ok=True)
        write_bytes(self._folder / address, text.encode())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
