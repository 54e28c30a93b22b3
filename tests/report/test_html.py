"""The HTML report: the tables of the PDF, whose numbers lead to their runs, and the masks of the videos."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mssts.core.errors import InputError
from mssts.core.files import sha256_file
from mssts.data.datasets import split_annotations
from mssts.report.document import report_data
from mssts.report.html import write_html
from mssts.report.html.tables import sort_value
from mssts.report.html.videos import ALPHA, EXTREMES, MOST_PAGES, choose, outlines
from tests.report.fake_runs import REPOSITORY, runs_of
from tests.report.fake_videos import DATA, FOUND_BY_BASELINE, QUESTION, TITLE

VENDOR = REPOSITORY / "mssts/report/html/vendor"
OPEN = {"meta", "link", "img", "input", "br"}  # elements without an end


class Page(HTMLParser):
    """The text, links and table rows of a page. rows: of each row, the text and the link of each cell."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.ids, self.loaded, self.links = "", set(), [], []
        self.rows: list[list[tuple[str, str | None]]] = []
        self.stack: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.stack, f"{path}: not closed: {self.stack}"

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.update([values["id"]] if "id" in values else [])
        self.loaded += [values[key] for key in ("src", "data-frames", "data-masks") if key in values]
        (self.loaded if tag == "link" else self.links).extend([values["href"]] if "href" in values else [])
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append(("", None))
        if tag == "a" and "td" in self.stack:
            self.rows[-1][-1] = ("", values["href"])
        if tag not in OPEN:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.stack and "sup" not in self.stack:
            text, link = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data, link)


@pytest.fixture
def pages(html_folder, monkeypatch) -> dict[str, Page]:
    """Every page by its address; the working directory is that of the study."""
    monkeypatch.chdir(html_folder.parents[2])
    return {path.relative_to(html_folder).as_posix(): Page(path) for path in sorted(html_folder.rglob("*.html"))}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_runs_give_the_same_bytes_and_measured_values_stand_on_one_page(html_folder, pages):
    first = contents(html_folder)
    assert "12.3" in pages["cost.html"].text and "457" in pages["cost.html"].text
    cost = runs_of().folder / "cost.csv"
    written = cost.read_text()
    cost.write_text(written.replace("12.3", "99.9"))
    write_html(runs_of())
    assert {name for name, content in contents(html_folder).items() if content != first[name]} == {"cost.html"}
    cost.write_text(written)
    write_html(runs_of())
    assert contents(html_folder) == first


def test_no_page_names_the_working_directory(html_folder):
    assert not [
        name for name, content in contents(html_folder).items() if str(html_folder.parents[2]).encode() in content
    ]


def test_the_first_page_has_every_cell_of_the_tables_of_the_pdf_and_every_figure(pages):
    data = report_data(runs_of())
    parts = [part for section in data["sections"] for part in section["parts"]]
    cells = [
        [cell["text"] if isinstance(cell, dict) else cell for cell in row]
        for part in parts
        if part["kind"] == "table"
        for block in part["blocks"]
        for row in block["rows"]
    ]
    shown = [[text for text, _ in row] for row in pages["index.html"].rows]
    assert cells and [row for row in cells if row not in shown] == []
    pictures = [part["path"] for part in [*data["answer"], *parts] if part.get("path")]
    assert pictures and {path.replace(".pdf", ".png") for path in pictures} <= set(pages["index.html"].loaded)
    sentences = [sentence for part in data["answer"] if part["kind"] == "sentences" for sentence in part["sentences"]]
    assert sentences and all(sentence in pages["index.html"].text for sentence in sentences)


def test_every_link_and_file_exists_and_nothing_comes_from_a_network(html_folder, pages):
    for name, page in pages.items():
        assert page.loaded
        for target in [*page.links, *page.loaded]:
            if target == "data:,":
                continue
            address, _, fragment = target.partition("#")
            path = (html_folder / name).parent / address if address else html_folder / name
            assert path.is_file(), f"{name}: {target}"
            assert (
                not fragment or fragment in pages[path.resolve().relative_to(html_folder.resolve()).as_posix()].ids
            ), target


def test_every_number_of_a_variant_leads_to_the_page_of_its_runs(pages):
    address = "runs/synthvis.tiny.ms_sts.html"
    rows = [row for row in pages["index.html"].rows if row and row[0][0] == TITLE]
    assert len(rows) >= 4
    assert all(link == address for row in rows for text, link in row if re.search(r"\d", text))
    record = runs_of().runs[2].record
    for expected in (
        record["commit"],
        record["config_digest"],
        record["data_fingerprint"],
        record["checkpoint_sha256"],
    ):
        assert expected in pages[address].text
    assert "ms_sts:\n" in pages[address].text and "seed1" in pages[address].ids
    [row] = [row for row in pages["runs.html"].rows if "ms_sts" in [text for text, _ in row]]
    assert {link for _, link in row} == {f"{address}#seed1"}


def test_titles_and_questions_are_text(html_folder, pages):
    for name in pages:
        assert (html_folder / name).read_text().count("<script") == 2, name
    assert QUESTION in pages["index.html"].text
    for name in ("index.html", "runs.html", "runs/synthvis.tiny.ms_sts.html", "videos.html", "videos/1.html"):
        assert TITLE in pages[name].text, name


def test_videos_are_ranked_by_the_difference_of_the_two_runs(pages):
    rows = [[text for text, _ in row] for row in pages["videos.html"].rows if row]
    assert len(rows) == 10
    differences = {int(row[0]): row[-1] for row in rows}
    assert differences == {key: "0" if key in FOUND_BY_BASELINE else "+100" for key in range(1, 11)}
    assert {int(row[0]) for row in rows[-2:]} == set(FOUND_BY_BASELINE)
    assert [row[5:7] for row in rows] == [["0 %", "100 %"]] * 8 + [["100 %", "100 %"]] * 2


def test_masks_are_those_of_the_ground_truth_in_one_colour_for_each_object(html_folder, pages):
    split = split_annotations("synthvis", DATA, "valid")
    for video in split.videos:
        tracks = split.annotations.tracks_of[video.id]
        with Image.open(html_folder / f"videos/{video.id}/truth.png") as truth:
            labels_HW, palette = np.asarray(truth), truth.getpalette()
            assert truth.info["transparency"] == bytes([0, *[ALPHA] * len(tracks), *[255] * len(tracks)])
            assert palette[3 : 3 + 3 * len(tracks)] == palette[3 + 3 * len(tracks) : 3 + 6 * len(tracks)]
        columns = labels_HW.shape[1] // video.width
        for number in range(video.length):
            top, left = number // columns * video.height, number % columns * video.width
            cell_HW = labels_HW[top : top + video.height, left : left + video.width]
            masks_NHW = np.stack([track.masks.decode([number])[0] for track in tracks])
            expected_HW = np.where(masks_NHW.any(0), masks_NHW.argmax(0) + 1, 0)
            np.testing.assert_array_equal(cell_HW, expected_HW + len(tracks) * outlines(expected_HW))
        found = contents(html_folder / f"videos/{video.id}")
        assert found["run-ms_sts.png"] == found["truth.png"]
        assert (found["run-baseline.png"] == found["truth.png"]) == (video.id in FOUND_BY_BASELINE)


def test_an_outline_is_where_an_object_ends():
    labels_HW = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 2], [0, 0, 0, 0]], np.uint8)
    assert outlines(labels_HW).astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]


def test_without_the_frames_the_first_page_says_why_there_are_no_videos(html_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(html_folder.parents[2], tmp_path / "copy"))
    frame = next(DATA.rglob("*.jpg"))
    frame.unlink()
    write_html(runs_of())
    page = Page(runs_of().folder / "html/index.html")
    assert "Pages of videos: not drawn" in page.text and frame.name in page.text
    assert "videos.html" not in page.links


def test_many_videos_have_pages_by_rule():
    rng = np.random.default_rng(0)
    for count in (MOST_PAGES, MOST_PAGES + 1, 240):
        one, other = (dict(enumerate((rng.integers(0, 11, count) / 10).tolist(), start=1)) for _ in range(2))
        one[count], other[count] = None, 0.5
        chosen = choose(one, other)
        if count == MOST_PAGES:
            assert chosen == dict.fromkeys(one, "all")
            continue
        reasons = list(chosen.values())
        assert count not in chosen and len(chosen) <= MOST_PAGES + 1
        assert reasons.count("gain") == reasons.count("loss") == EXTREMES
        gains = {key: other[key] - one[key] for key in range(1, count)}
        least = min(gains[key] for key, reason in chosen.items() if reason == "gain")
        assert all(gains[key] <= least for key in gains.keys() - chosen.keys()) and least > 0
        means = {key: one[key] + other[key] for key, reason in chosen.items() if reason not in ("gain", "loss")}
        by_reason = {reason: key for key, reason in chosen.items()}
        rest = [one[key] + other[key] for key in gains if chosen.get(key) not in ("gain", "loss")]
        assert means[by_reason["best"]] == max(rest) and means[by_reason["worst"]] == min(rest)


def test_equal_models_have_no_gain_and_no_loss():
    shares = dict.fromkeys(range(100), 0.5)
    assert set(choose(shares, shares).values()) == {"best", "median", "worst", "sample"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12.34 ± 0.56", "12.34"),
        ("\N{MINUS SIGN}0.42", "-0.42"),
        ("+1.5", "1.5"),
        ("[\N{MINUS SIGN}0.60, +3.54]", "-0.60"),
        ("739,617", "739617"),
        ("not run", ""),
        ("-", ""),
        ("1e-05 (0.5)", "1e-05"),
    ],
)
def test_cells_sort_by_the_number_at_their_beginning(cell, value):
    assert sort_value(cell) == value


def test_a_folder_that_mssts_did_not_write_is_left_alone(html_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(html_folder.parents[2])
    monkeypatch.setattr("mssts.report.html.HTML", "own")
    own = html_folder.parent / "own"
    own.mkdir()
    (own / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something else than a report that mssts wrote"):
        write_html(runs_of())
    assert [path.name for path in own.iterdir()] == ["notes.txt"]


def test_browser_libraries_are_unchanged():
    recorded = dict(re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})`", (VENDOR / "README.md").read_text(), re.M))
    found = {path.name: sha256_file(path) for path in VENDOR.iterdir() if path.name != "README.md"}
    assert found == recorded
