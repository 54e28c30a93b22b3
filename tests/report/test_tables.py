"""Tables of a fake study against values computed by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mssts.core.csv_files import decimals
from mssts.core.errors import InputError
from mssts.core.files import read_json, write_json
from mssts.evaluation.attributes import attribute_metrics
from mssts.evaluation.average_precision import ap_metrics
from mssts.report.conclusions import conclusions
from mssts.report.formats import escape_latex, latex, markdown, mean_and_deviation, signed
from mssts.report.parts import Table
from mssts.report.registry import files_of_step
from mssts.report.tables import ablation, provenance, results, write_tables
from mssts.report.tables.published import PUBLISHED, read_published
from mssts.study.differences import Difference, Interval, Measure, differences, read_differences, restrict_to_subset
from mssts.study.runs import Benchmark
from tests.report import fake_runs
from tests.report.fake_runs import runs_of

# found / 8 objects -> share of the 101 recall points 0, 0.01, ..., 1 that are reached, in percent
AP = {1: "12.87", 2: "25.74", 3: "37.62", 4: "50.50", 6: "75.25", 8: "100.00"}


def cell(frame: pd.DataFrame, column: str, **keys: str) -> str:
    for key, value in keys.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame.iloc[0][column]


def test_table_prints_each_run_in_percent_and_missing_ones_as_not_run(fake_study: Path) -> None:
    frame = results.frame(runs_of())
    assert cell(frame, "AP", variant="ms_sts", seed="1", split="valid") == AP[6]
    assert cell(frame, "AP_agnostic", variant="baseline", seed="2", split="valid") == AP[4]
    assert cell(frame, "AR10", variant="pretrain", seed="1", split="valid") == "12.50"
    assert cell(frame, "AP", variant="temporal", seed="1", split="control") == "not run"
    assert cell(frame, "AP75", variant="temporal", seed="2", split="valid") == "not run"
    assert len(frame) == (1 + 3 * 2) * 2


def test_summary_averages_over_the_seeds_that_were_run(fake_study: Path) -> None:
    [table] = results.parts(runs_of())
    frame = table.frame
    # 25.7426 and 50.4950: mean 38.1188, deviation 24.7525 / sqrt(2) = 17.5026
    assert cell(frame, "AP", Variant="Baseline", Split="valid") == "38.12 ± 17.50"
    assert cell(frame, "Seeds", Variant="temporal", Split="valid") == "1 of 2"
    assert cell(frame, "AP", Variant="temporal", Split="valid") == AP[3]
    assert cell(frame, "AP", Variant="temporal", Split="control") == "not run"


def test_differences_are_paired_by_seed_and_attributes_have_their_own(fake_study: Path) -> None:
    found = {(d.benchmark.split, *d.measure, d.variant): d for d in differences(runs_of())}
    whole = found["valid", "all", "AP", "ms_sts"]
    assert whole.interval.mean == pytest.approx(100 * ((76 - 26) + (101 - 51)) / 2 / 101)
    assert whole.interval.low <= whole.interval.mean <= whole.interval.high
    assert (whole.seeds, whole.p, whole.p_holm) == (2, None, None)
    # of the four occluded objects the baseline finds 2 (51 points) and 4 (101), MS-STS all
    assert found["valid", "occlusion", "AP", "ms_sts"].interval.mean == pytest.approx(100 * (50 + 0) / 2 / 101)
    assert found["valid", "fog", "AP", "ms_sts"].interval is None
    single = found["valid", "all", "AP", "temporal"]
    assert (single.seeds, single.interval.mean) == (1, pytest.approx(100 * (38 - 26) / 101))
    assert found["control", "all", "AP", "temporal"].seeds == 0
    constant = found["control", "all", "AP", "ms_sts"]
    assert constant.interval == (0, 0, 0)


def test_ap_of_an_attribute_is_that_of_the_evaluation_also_with_false_alarms_in_other_videos() -> None:
    records = fake_runs.records(3, attributes=True)
    # the best scored detection lies in video 7, which shows no occlusion, and hits nothing
    records.pooled.score_N[7] = 1.0
    order = [7, 0, 1, 2, 3, 4, 5, 6]
    names = ("video_N", "rank_N", "score_N", "prediction_N", "matched_ATN", "ignored_ATN", "annotation_TN")
    group = replace(records.pooled, **{name: getattr(records.pooled, name)[..., order] for name in names})
    records = replace(records, categories=(group,), pooled=group)
    occluded = restrict_to_subset(records, "occlusion")
    assert occluded.video_ids == (1, 2, 3, 4)
    own = ap_metrics(occluded, 0, np.ones((1, 4)))["AP"][0]
    assert own == attribute_metrics(records)["occlusion"]["AP"] == pytest.approx(76 / 101)
    weights = np.ones((1, fake_runs.VIDEOS))
    whole = restrict_to_subset(records, "all")
    assert ap_metrics(whole, 0, weights)["AP"] == ap_metrics(records, 0, weights)["AP"]
    assert restrict_to_subset(records, "fog") is None


def test_six_seeds_get_a_sign_flip_test_with_holms_correction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = (1, 2, 3, 4, 5, 6)
    fake_runs.write_ablations(tmp_path, seeds)
    for seed in seeds:
        fake_runs.write_run("baseline", seed, {"valid": 2})
        fake_runs.write_run("ms_sts", seed, {"valid": 4})
        fake_runs.write_run("temporal", seed, {"valid": 4 if seed > 1 else 1})
    runs = runs_of()
    found = {(*d.measure, d.variant): d for d in differences(runs) if d.benchmark.split == "valid"}
    # all six differences of one size and sign: 2 of 64 sign choices are as far out; Holm over two variants doubles it
    assert found["all", "AP", "ms_sts"].p == pytest.approx(2 / 64)
    assert found["all", "AP", "ms_sts"].p_holm == pytest.approx(4 / 64)
    # 5 x 25 points and 1 x -13: reached by all signs of one kind as well: 4 of 64
    assert found["all", "AP", "temporal"].p == pytest.approx(4 / 64)
    assert found["all", "AP", "temporal"].p_holm == pytest.approx(4 / 64)
    text = " ".join(conclusions(runs, list(found.values())))
    assert "With 6 seeds the smallest p of a two-sided sign-flip test is 0.031" in text
    assert "over 2 comparisons 0.062: one variant alone cannot reach 5 %" in text
    write_tables(runs)
    tests = [part for part in ablation.parts(runs) if isinstance(part, Table)][1]
    assert "0.031, 0.062" in set(tests.frame["ΔAP"])


def test_few_seeds_are_said_to_be_too_few(fake_study: Path) -> None:
    text = " ".join(conclusions(runs_of(), differences(runs_of())))
    assert "With 2 seeds per variant a two-sided sign-flip test over seeds cannot reach 5 %" in text
    assert "its smallest p is 0.5" in text
    assert "negative control" in text


def test_an_interval_is_called_better_worse_or_eitherby_its_ends(fake_study: Path) -> None:
    runs = runs_of()
    where = (Benchmark("synthvis", "valid", "tiny"), Measure("all", "AP"))
    better = Difference(*where, "ms_sts", 2, Interval(3.0, 1.0, 5.0))
    worse = Difference(*where, "temporal", 2, Interval(-3.0, -5.0, -1.0))
    text = " ".join(conclusions(runs, [better, worse]))
    assert "above the baseline, interval excludes zero: “MS-STS” +3.00 [+1.00, +5.00]" in text
    assert "below the baseline, interval excludes zero: “temporal” \N{MINUS SIGN}3.00" in text
    assert "2 of 2 intervals exclude zero; without any effect, about 0.1 would by chance" in text
    either = Difference(*where, "ms_sts", 2, Interval(3.0, -1.0, 5.0))
    undecided = " ".join(conclusions(runs, [either]))
    assert "AP: no interval excludes zero" in undecided


def test_a_result_of_another_configuration_is_refused(fake_study: Path) -> None:
    path = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/valid/metrics.json"
    metrics = read_json(path)
    metrics["produced_by"]["run"]["config_digest"] = "000000000000"
    write_json(path, metrics)
    with pytest.raises(InputError, match=r"metrics.json: config_digest: found '0{12}', but study 'fake' resolves to"):
        runs_of()


def test_a_result_of_an_older_checkpoint_is_refused(fake_study: Path) -> None:
    path = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/run.json"
    write_json(path, read_json(path) | {"checkpoint_sha256": "ff" * 32})
    with pytest.raises(InputError, match=r"metrics\.json: checkpoint_sha256"):
        runs_of()


def test_match_records_of_other_metrics_are_refused(fake_study: Path) -> None:
    valid = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/valid"
    (valid / "matches.npz").write_bytes((valid.parent / "control/matches.npz").read_bytes())
    with pytest.raises(InputError, match=r"matches\.npz and metrics\.json give different values"):
        differences(runs_of())


def test_runs_of_another_commit_are_flagged(fake_study: Path) -> None:
    frame = provenance.frame(runs_of())
    assert cell(frame, "note", run="synthvis/tiny/temporal/seed1") == f"another commit than most ({fake_runs.COMMIT})"
    assert cell(frame, "note", run="synthvis/tiny/ms_sts/seed1") == ""
    assert cell(frame, "commit", run="synthvis/tiny/temporal/seed2") == "not run"


def test_all_files_are_written_with_the_same_bytes_twice(fake_study: Path) -> None:
    folder, first = runs_of().folder, fake_study / "first"
    write_tables(runs_of())
    folder.rename(first)
    write_tables(runs_of())
    assert {path.name for path in first.iterdir()} == set(files_of_step("tables"))
    for name in files_of_step("tables"):
        assert (first / name).read_bytes() == (folder / name).read_bytes()
    header = "dataset,split,backbone,variant,seed,AP,AP50,AP75,AR1,AR10,AP_agnostic\n"
    assert (fake_study / "first/table.csv").read_text().startswith(header)


def test_ablation_csv_is_read_back_as_written(fake_study: Path) -> None:
    write_tables(runs_of())
    written = differences(runs_of())
    read = read_differences(runs_of())
    assert [(d.benchmark.split, d.measure.subset, d.variant, d.seeds) for d in read] == [
        (d.benchmark.split, d.measure.subset, d.variant, d.seeds) for d in written
    ]
    assert [d.interval for d in read] == [d.interval and pytest.approx(d.interval, abs=1e-6) for d in written]


def test_a_study_without_results_prints_not_run_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake_runs.write_ablations(tmp_path)
    write_tables(runs_of())
    assert set(pd.read_csv(tmp_path / "reports/fake/table.csv")["AP"]) == {"not run"}
    assert "nothing can be concluded" in (tmp_path / "reports/fake/ablation.md").read_text()


def test_published_rows_keep_their_numbers_and_unverified_ones_are_left_out() -> None:
    published = read_published()
    poster = published[published["source"] == "poster"]
    assert poster["dataset"].value_counts().to_dict() == {"YouTube-VIS 2019": 27, "YouTube-VIS 2021": 7}
    rows = poster[poster["method"] == "MS-STS VIS"]
    assert list(rows["AP"]) == ["50.1", "51.1", "61.0", "42.2"]
    assert "CAVIS" not in set(published["method"])
    assert not published["note"].str.contains("NOT VERIFIED").any()
    assert published[["method", "backbone", "source"]].ne("").all().all()


def test_conflicts_between_sources_become_notes() -> None:
    published = read_published()
    poster = published[published["source"] == "poster"].set_index(["dataset", "method", "backbone"])["note"]
    assert "AP75 39.3" in poster["YouTube-VIS 2021", "IFC", "ResNet-50"]
    assert poster["YouTube-VIS 2021", "SeqFormer", "ResNet-50"] == ""
    poster = poster["YouTube-VIS 2019"]
    assert "AP75 66.4" in poster["SeqFormer", "Swin-L"]
    assert "AP 36.2" in poster["VisTR", "ResNet-50"]
    assert "twice" in poster["SipMask-VIS", "ResNet-50"].iloc[0]
    assert poster["MS-STS VIS", "ResNet-50"] == ""


def test_a_published_value_that_is_no_percentage_is_refused(tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "poster_ytvis2019.csv").write_text(
        "method,venue,backbone,type,AP,AP50,AP75,AR1,AR10\nA,B,C,D,12.0,x,,,\n"
    )
    with pytest.raises(InputError, match="line 2: AP50: found 'x'"):
        read_published(tmp_path)


def test_latex_escapes_what_latex_would_read_as_a_command() -> None:
    assert escape_latex("AP_agnostic & 95 % #1 {x} a\\b") == r"AP\_agnostic \& 95 \% \#1 \{x\} a\textbackslash{}b"
    text = latex(pd.DataFrame({"A_B": ["1 ± 2"], "C": ["ΔAP"]}), "50 %", "tab:x", text_columns=1)
    assert r"A\_B & C \\" in text and r"1 $\pm$ 2 & $\Delta$AP \\" in text and r"\caption{50 \%}" in text
    assert r"\begin{tabular}{lr}" in text
    assert text.isascii()


def test_markdown_escapes_bars() -> None:
    assert markdown(pd.DataFrame({"a": ["x|y"]})) == "| a |\n| --- |\n| x\\|y |\n"


def test_numbers_are_rounded_to_text_without_a_negative_zero() -> None:
    assert (decimals(-0.001), decimals(None), decimals(12.345678)) == ("0.00", "-", "12.35")
    assert (signed(-0.001), signed(1.0), signed(-1.0)) == ("0.00", "+1.00", "\N{MINUS SIGN}1.00")
    assert (mean_and_deviation([]), mean_and_deviation([1.0, None])) == ("not run", "-")
    assert mean_and_deviation([1.0, 3.0]) == "2.00 ± 1.41"
