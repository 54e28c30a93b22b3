"""Results of other methods stand beside ours, marked as external, and every row says what it was computed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mssts.core.errors import InputError
from mssts.core.files import read_record, sha256_file, write_record
from mssts.evaluation.errors import KINDS
from mssts.report.document import report_data
from mssts.report.tables import errors, evaluation, results, write_tables
from mssts.study.complexity import write_complexity
from mssts.study.complexity_file import FILE
from mssts.study.paths import external_dir, external_name, run_dir
from mssts.study.resolve import load_study
from tests.report.fake_runs import runs_of, table_of

STUDY = Path("ablations/studies/fake.yaml")


@pytest.fixture
def external_study(fake_study: Path) -> Path:
    """Study `fake` with another method, whose metrics are those of a run that finds six of eight objects."""
    with STUDY.open("a") as file:
        file.write('external: {"Mask2Former VIS": other/results.json, "Not yet": other/later.json}\n')
    results = Path("other/results.json")
    results.parent.mkdir()
    results.write_text("[]")
    own = run_dir("smoke", "synthvis", "tiny", "ms_sts", 1) / "valid" / "metrics.json"
    metrics = read_record(own)
    metrics.pop("boxes")
    metrics["produced_by"] |= {"run": None, "predictions_sha256": sha256_file(results)}
    metrics["warnings"] = [{"file": "predictions", "what": "x", "count": 3, "first": "[0]"}]
    write_record(external_dir("smoke", "synthvis", external_name("Mask2Former VIS"), "valid") / "metrics.json", metrics)
    return fake_study


def test_external_results_are_marked_and_tabled(external_study: Path) -> None:
    found = runs_of()
    [table] = results.parts(found)
    for frame, title in ((results.frame(found), "variant"), (table.frame, "Variant")):
        rows = frame[frame[title].str.endswith("(external method)")]
        assert list(rows[title]) == ["Mask2Former VIS (external method)", "Not yet (external method)"]
        assert list(rows["AP"]) == ["75.25", "not run"]
        assert list(rows["AP_box"]) == ["-", "not run"]


def test_errors_are_averaged_over_seeds(external_study: Path) -> None:
    frame = errors.frame(runs_of())
    assert list(frame.columns[-5:]) == list(KINDS)
    baseline = frame[(frame["Variant"] == "Baseline") & (frame["Split"] == "valid")].iloc[0]
    assert baseline["tracking"] == "3.00 ± 1.41"  # 2 and 4 percent points
    external = frame[frame["Variant"].str.startswith("Mask2Former")].iloc[0]
    assert external["missed"] == "6.00"


def test_every_row_carries_what_it_was_computed_from(external_study: Path) -> None:
    frame = evaluation.frame(runs_of()).set_index(["run", "split"])
    own = frame.loc["synthvis/tiny/baseline/seed1", "valid"]
    assert (own["annotations_sha256"], own["predictions_sha256"]) == ("ab" * 32, "cd" * 32)
    assert (own["settings"], own["warnings"]) == ('{"bootstrap_seed": 1, "lenient": false}', "0")
    external = frame.loc["Mask2Former VIS (external method)", "valid"]
    assert (external["predictions_sha256"], external["warnings"]) == (sha256_file(Path("other/results.json")), "3")
    assert set(frame.loc["synthvis/tiny/temporal/seed2", "valid"]) == {"not run"}


def test_changed_external_results_are_refused(external_study: Path) -> None:
    Path("other/results.json").write_text("[ ]")
    with pytest.raises(
        InputError, match=r"other/results\.json: was changed.*external/mask2former-vis.*Evaluate Mask2Former VIS again"
    ):
        runs_of()


def test_the_report_says_that_a_method_is_external(external_study: Path) -> None:
    folder = external_study / "reports/fake"
    write_tables(runs_of())
    write_complexity(load_study("fake"), folder / FILE)
    data = report_data(runs_of())
    labels = [block["label"] for block in table_of(data, "results")["blocks"]]
    assert labels[-1] == "This study: dataset synthvis, local valid split, external methods"
    assert table_of(data, "errors")["columns"][-5:] == list(KINDS)


@pytest.mark.parametrize("titles", ['{"A b": x, "a-B": y}', '{"?": x}'])
def test_titles_without_a_directory_of_their_own_are_refused(fake_study: Path, titles: str) -> None:
    with STUDY.open("a") as file:
        file.write(f"external: {titles}\n")
    with pytest.raises(InputError, match=r"external: the titles .* must differ"):
        load_study("fake")
