"""Results of other methods stand beside ours, marked as foreign, and every row says what it was computed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssts.config import load_study
from mssts.core.errors import InputError
from mssts.core.files import read_json, sha256_file, write_json
from mssts.evaluation.errors import KINDS
from mssts.report.document import report_data
from mssts.report.tables import errors, evaluation, summary, table, write_tables
from mssts.study.complexity import write_complexity
from mssts.study.paths import foreign_dir, run_dir, split_dir
from mssts.study.runs import collect

STUDY = Path("ablations/studies/fake.yaml")


@pytest.fixture
def foreign_study(fake_study: Path) -> Path:
    """Study `fake` with another method, whose metrics are those of a run that finds six of eight objects."""
    with STUDY.open("a") as file:
        file.write('foreign: {"Mask2Former VIS": other/results.json, "Not yet": other/later.json}\n')
    results = Path("other/results.json")
    results.parent.mkdir()
    results.write_text("[]")
    own = split_dir(run_dir("smoke", "synthvis", "tiny", "ms_sts", 1), "valid") / "metrics.json"
    metrics = read_json(own)
    metrics["produced_by"] |= {"run": None, "predictions_sha256": sha256_file(results)}
    metrics["warnings"] = [{"file": "predictions", "what": "x", "count": 3, "first": "[0]"}]
    write_json(foreign_dir("smoke", "synthvis", "Mask2Former VIS", "valid") / "metrics.json", metrics)
    return fake_study


def test_external_results_are_marked_and_tabled(foreign_study: Path) -> None:
    for frame, title in ((table(collect("fake")), "variant"), (summary(collect("fake")), "Variant")):
        rows = frame[frame[title].str.endswith("(foreign method)")]
        assert list(rows[title]) == ["Mask2Former VIS (foreign method)", "Not yet (foreign method)"]
        assert list(rows["AP"]) == ["75.25", "not run"]


def test_errors_are_averaged_over_seeds(foreign_study: Path) -> None:
    frame = errors(collect("fake"))
    assert list(frame.columns[-5:]) == list(KINDS)
    baseline = frame[(frame["Variant"] == "Baseline") & (frame["Split"] == "valid")].iloc[0]
    assert baseline["tracking"] == "3.00 ± 1.41"  # 2 and 4 percent points
    foreign = frame[frame["Variant"].str.startswith("Mask2Former")].iloc[0]
    assert foreign["missed"] == "6.00"


def test_every_row_carries_what_it_was_computed_from(foreign_study: Path) -> None:
    frame = evaluation(collect("fake")).set_index(["run", "split"])
    own = frame.loc["synthvis/tiny/baseline/seed1", "valid"]
    assert (own["annotations_sha256"], own["predictions_sha256"]) == ("ab" * 32, "cd" * 32)
    assert (own["settings"], own["warnings"]) == ('{"bootstrap_seed": 1, "lenient": false}', "0")
    foreign = frame.loc["Mask2Former VIS (foreign method)", "valid"]
    assert (foreign["predictions_sha256"], foreign["warnings"]) == (sha256_file(Path("other/results.json")), "3")
    assert set(frame.loc["synthvis/tiny/temporal/seed2", "valid"]) == {"not run"}


def test_changed_external_results_are_refused(foreign_study: Path) -> None:
    Path("other/results.json").write_text("[ ]")
    with pytest.raises(
        InputError, match=r"foreign/mask2former-vis.*other/results\.json.*Evaluate Mask2Former VIS again"
    ):
        collect("fake")


def test_the_report_says_that_a_method_is_external(foreign_study: Path) -> None:
    write_tables("fake", foreign_study / "reports/fake")
    write_complexity("fake", foreign_study / "reports/fake")
    data = report_data(collect("fake"), foreign_study / "reports/fake")
    labels = [block["label"] for block in data["summary"]["blocks"]]
    assert labels[-1] == "This study: dataset synthvis, local valid split, foreign methods"
    assert data["errors"]["columns"][-5:] == list(KINDS)


@pytest.mark.parametrize("titles", ['{"A b": x, "a-B": y}', '{"?": x}'])
def test_titles_without_a_directory_of_their_own_are_refused(fake_study: Path, titles: str) -> None:
    with STUDY.open("a") as file:
        file.write(f"foreign: {titles}\n")
    with pytest.raises(InputError, match="foreign: found the titles"):
        load_study("fake")
