"""Each number of the HTML report leads to its runs, and these to their commit, configuration, data and checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests.report.traced.expected import METRICS, metric
from tests.report.traced.pages import read_page
from tests.report.traced.provenance import name_of, sha256
from tests.report.traced.run_pages import expected_pairs, read_run_page, wrong_values
from tests.report.traced.shown import agrees
from tests.report.traced.study import (
    DATA,
    EXTERNAL,
    EXTERNAL_FILE,
    HTML,
    RUNS,
    SEEDS,
    SHOWN,
    SPLITS,
    TITLES,
    VARIANTS,
    run_folders,
)

pytestmark = pytest.mark.long
PAGES = [f"runs/synthvis.tiny.{variant}.html" for variant in TITLES]


def test_the_page_of_a_run_names_the_real_files_by_their_digests(traced):
    found = []
    for variant, page in zip(TITLES, PAGES, strict=True):
        sections, config = read_run_page(HTML / page)
        for anchor, section in sections.items():
            run = RUNS / variant / anchor
            found.append(run)
            assert Path(section.folder) == run
            assert section.pairs == expected_pairs(run)
            assert wrong_values(config, run) == []
    assert found == run_folders()


def test_the_metrics_on_the_page_of_a_run_are_its_own(traced, recomputed):
    named = {"AP agnostic": "class-agn. AP", "AP box": "box AP"}
    for variant, page in zip(TITLES, PAGES, strict=True):
        for anchor, section in read_run_page(HTML / page)[0].items():
            for split in SPLITS:
                own = recomputed.evaluations[split, variant, int(anchor.removeprefix("seed"))]
                shown = section.metrics[split]
                assert {named.get(name, name) for name in shown} == METRICS.keys()
                for name, text in shown.items():
                    assert agrees(text, (metric(own, named.get(name, name)),)), (page, anchor, split, name)


def test_the_list_of_runs_has_every_result(traced, recomputed):
    [table] = read_page(HTML / "runs.html").tables
    rows = {tuple(row[:5]): row[5:] for row in table.rows}
    expected = {
        ("synthvis", split, "tiny", variant, str(seed)): [(metric(own, name),) for name in METRICS]
        for (split, variant, seed), own in recomputed.evaluations.items()
    }
    other = [(metric(recomputed.external, name),) for name in METRICS if name != "box AP"]
    expected["synthvis", "valid", "-", f"{EXTERNAL} (external method)", "-"] = [*other, "-"]
    assert rows.keys() == expected.keys()
    for key, cells in expected.items():
        assert all(agrees(text, cell) for text, cell in zip(rows[key], cells, strict=True)), key


def test_every_row_leads_to_the_runs_that_it_names(traced):
    page = BeautifulSoup((HTML / "index.html").read_text(), "html.parser")
    of_title = dict(zip(TITLES.values(), PAGES, strict=True)) | {f"{EXTERNAL} (external method)": "runs.html#external"}
    of_name = {name_of(run): f"runs/synthvis.tiny.{run.parts[-2]}.html#{run.parts[-1]}" for run in run_folders()}
    led = 0
    for table in page.select("figure.table table"):
        columns = [cell.get_text() for cell in table.select("thead th")]
        for row in table.select("tbody:not(.label) tr"):
            for column, cell in zip(columns, row.select("td"), strict=True):
                first = row.td.get_text()
                target = {"Effect": "runs.html", "Run": of_name.get(first)}.get(columns[0], of_title.get(first))
                if expected := of_title.get(column, target):
                    assert not cell.get_text() or cell.a["href"] == expected, (columns, cell)
                    led += 1
    assert led > 500


def test_numbers_of_another_method_lead_to_its_file(traced):
    page = BeautifulSoup((HTML / "runs.html").read_text(), "html.parser")
    pairs = page.find(id="external").find_next("dl")
    shown = dict(zip(*([part.get_text() for part in pairs.select(kind)] for kind in ("dt", "dd")), strict=True))
    folder = Path("results/traced/synthvis/external/another-method/valid")
    digests = {"annotations": DATA / "valid.json", "predictions": EXTERNAL_FILE, "matches": folder / "matches.npz"}
    assert {name: shown[f"{name} sha256"] for name in digests} == {name: sha256(path) for name, path in digests.items()}


def test_time_and_memory_are_those_that_the_trainings_recorded(traced):
    [table] = read_page(HTML / "cost.html").tables
    assert [row[0] for row in table.rows] == [name_of(run) for run in run_folders()]
    for run, row in zip(run_folders(), table.rows, strict=True):
        cost = json.loads((run / "cost.json").read_text())
        assert agrees(row[1], (cost["seconds"],)) and agrees(row[2], (cost["peak_memory_mb"],))


def test_the_list_of_videos_shows_what_each_run_finds(traced, recomputed):
    shown = read_page(HTML / "videos.html")
    [table] = shown.tables
    titles = [TITLES[variant] for variant in VARIANTS]
    assert list(table.columns) == ["Video", "Name", "Chosen as", "Frames", "Instances", *titles, "Difference"]
    truth = recomputed.external
    assert sorted(int(row[0]) for row in table.rows) == [video["id"] for video in truth.videos]
    for row in table.rows:
        v, shares = shares_of(recomputed, int(row[0]))
        assert row[3:5] == [str(truth.videos[v]["length"]), str(truth.ranking(None).instances_V[v])]
        for text, share in zip(row[5:-1], shares, strict=True):
            assert agrees(text, "-" if share is None else (100 * share,))
        assert agrees(row[-1], difference(shares))


def test_the_page_of_a_video_shows_what_each_run_finds_in_it(traced, recomputed):
    pages = sorted((HTML / "videos").glob("*.html"))
    assert len(pages) > 30
    for path in pages:
        page = BeautifulSoup(path.read_text(), "html.parser")
        v, shares = shares_of(recomputed, int(path.stem))
        found = [part.get_text() for part in page.select("figcaption .where")]
        assert all(agrees(text, (100 * share,)) for text, share in zip(found, shares, strict=True)), path
        said = page.find("p", string=lambda text: text and "share of instances found" in text).get_text()
        assert agrees(said.partition(":")[2], difference(shares))
        for panel, variant in zip(page.select(".panels > figure")[1:], VARIANTS, strict=True):
            own = recomputed.evaluations[SPLITS[0], variant, SEEDS[0]]
            entries = [own.entries[n] for n in own.overlaps[v].entries if own.entries[n]["score"] >= 0.3]
            labels = sorted(f"{own.categories[one['category_id']]} {one['score']:.2f}" for one in entries)
            assert sorted(part.get_text() for part in panel.select("li")) == (labels or ["no objects"]), path
            assert panel.a["href"] == f"../runs/synthvis.tiny.{variant}.html#seed{SEEDS[0]}"


def shares_of(recomputed, video: int) -> tuple[int, list[float | None]]:
    """Position of a video, and the share of its instances that the first seed of each variant finds."""
    v = [one["id"] for one in recomputed.external.videos].index(video)
    return v, [recomputed.evaluations[SPLITS[0], variant, SEEDS[0]].found_share(v) for variant in VARIANTS]


def difference(shares: list[float | None]) -> str | tuple[float]:
    """What the variant of the figures finds more than the baseline, in percentage points."""
    baseline, variant = (shares[VARIANTS.index(name)] for name in SHOWN)
    return "-" if baseline is None or variant is None else (100 * (variant - baseline),)
