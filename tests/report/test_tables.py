"""Tables of a fake study against values computed by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssts.core.csv_files import decimals
from mssts.core.errors import InputError
from mssts.core.files import read_record, sha256_file, write_record
from mssts.evaluation.attributes import attribute_metrics
from mssts.evaluation.average_precision import ap_metrics
from mssts.evaluation.matching import ATTRIBUTE_VIEW, MatchRecords
from mssts.evaluation.records_file import read_records, write_records
from mssts.evaluation.statistics import MIN_VIDEOS, Interval, Intervals
from mssts.report.conclusions import Verdict, answer, conclusions, verdict
from mssts.report.formats import escape_latex, markdown, mean_and_deviation, plural, signed
from mssts.report.parts import Table
from mssts.report.registry import files_of_step
from mssts.report.tables import ablation, limitations, provenance, results, write_tables
from mssts.report.tables.published import PUBLISHED, read_published
from mssts.study.contrasts import Contrast
from mssts.study.differences import Difference, Measure, Size, differences, restrict_to_subset
from mssts.study.differences_file import FILE, read_differences
from mssts.study.resolve import load_study
from mssts.study.runs import Benchmark, StudyRuns
from tests.report import fake_runs
from tests.report.fake_runs import runs_of

# found / 8 objects -> share of the 101 recall points 0, 0.01, ..., 1 that are reached, in percent
AP = {1: "12.87", 2: "25.74", 3: "37.62", 4: "50.50", 5: "62.38", 6: "75.25", 8: "100.00"}


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
    assert cell(frame, "AP_box", variant="ms_sts", seed="1", split="valid") == AP[5]
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
    found = {(d.benchmark.split, *d.measure, d.contrast.name): d for d in differences(runs_of())}
    whole = found["valid", "all", "AP", "ms_sts"]
    assert whole.mean == pytest.approx(100 * ((76 - 26) + (101 - 51)) / 2 / 101)
    assert all(interval.low <= whole.mean <= interval.high for interval in whole.intervals)
    assert (whole.seeds, whole.p) == (2, 0.5)
    # of the four occluded objects the baseline finds 2 (51 points) and 4 (101), MS-STS all
    assert found["valid", "occlusion", "AP", "ms_sts"].mean == pytest.approx(100 * (50 + 0) / 2 / 101)
    assert ("valid", "fog", "AP", "ms_sts") not in found
    # boxes find one object less: the baseline 1 (13 points) and 3 (38), MS-STS 5 (63) and 7 (88)
    boxes = found["valid", "all", "AP_box", "ms_sts"]
    assert boxes.mean == pytest.approx(100 * ((63 - 13) + (88 - 38)) / 2 / 101)
    assert (boxes.measure.title, boxes.size, boxes.announced, boxes.p) == ("box AP", whole.size, True, 0.5)
    assert all(interval.low <= boxes.mean <= interval.high for interval in boxes.intervals)
    single = found["valid", "all", "AP", "temporal"]
    assert (single.seeds, single.mean, single.p) == (1, pytest.approx(100 * (38 - 26) / 101), None)
    assert found["control", "all", "AP", "temporal"].seeds == 0
    constant = found["control", "all", "AP", "ms_sts"]
    assert (constant.mean, *constant.intervals) == (0, (0, 0), (0, 0))


def test_ap_of_an_attribute_is_that_of_the_evaluation_also_with_false_alarms_in_other_videos() -> None:
    records = fake_runs.records(3, attributes=True)
    # the best scored detection lies in the last video, which shows no occlusion, and hits nothing
    records.pooled.score_N[-1] = 1.0
    order = np.roll(np.arange(fake_runs.VIDEOS), 1)
    names = ("video_N", "rank_N", "score_N", "prediction_N", "matched_ATN", "ignored_ATN", "annotation_TN")
    group = replace(records.pooled, **{name: getattr(records.pooled, name)[..., order] for name in names})
    records = replace(records, categories=(group,), pooled=group)
    kept_V, occluded = restrict_to_subset(records, "occlusion")
    assert occluded.video_ids == tuple(range(1, fake_runs.VIDEOS // 2 + 1)) == tuple(np.flatnonzero(kept_V) + 1)
    own = ap_metrics(occluded, 0, np.ones((1, len(occluded.video_ids))))["AP"][0]
    assert own == attribute_metrics(records)["occlusion"]["AP"] == pytest.approx(76 / 101)
    weights = np.ones((1, fake_runs.VIDEOS))
    _, whole = restrict_to_subset(records, "all")
    assert ap_metrics(whole, 0, weights)["AP"] == ap_metrics(records, 0, weights)["AP"]


def write_study(root: Path, seeds: tuple[int, ...], found: dict[str, Callable[[int], int]]) -> None:
    """Runs of the study `fake` on the split `valid`; found: for each variant the number of objects found by a seed."""
    fake_runs.write_ablations(root, seeds)
    for variant, count in found.items():
        for seed in seeds:
            fake_runs.write_run(variant, seed, {"valid": count(seed)})


def test_the_p_over_seeds_is_not_corrected_and_beside_its_least_value(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts = {"baseline": lambda seed: 2, "ms_sts": lambda seed: 4, "temporal": lambda seed: 4 if seed > 1 else 1}
    write_study(tmp_path, (1, 2, 3, 4, 5, 6), counts)
    runs = runs_of()
    found = {(*d.measure, d.contrast.name): d for d in differences(runs) if d.benchmark.split == "valid"}
    # all six differences of one size and sign: 2 of 64 sign choices are as far out
    assert found["all", "AP", "ms_sts"].p == pytest.approx(2 / 64)
    # 5 x 25 points and 1 x -13: reached by all signs of one kind as well: 4 of 64
    assert found["all", "AP", "temporal"].p == pytest.approx(4 / 64)
    text = " ".join(conclusions(runs, list(found.values())))
    assert "With 6 seeds the sign-flip test over seeds can reach 5 %: its least p is 0.031." in text
    assert "seeds that start from one pre-training share its luck" in text
    write_tables(runs)
    [_, table, _] = ablation.parts(runs)
    assert cell(table.frame, "p (least)", Variant="MS-STS", Measure="AP", Split="valid") == "0.031 (0.031)"
    assert cell(table.frame, "p (least)", Variant="temporal", Measure="AP", Split="valid") == "0.062 (0.031)"


def test_first_page_and_limitations_count_the_pretrainings_of_all_variants(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake_runs.write_ablations(tmp_path, (1, 2, 3))
    with Path("ablations/variants/ms_sts.yaml").open("a") as file:
        file.write("  train.seeds_per_pretraining: 1\n")  # the baseline has 3
    for variant, seed in product(("baseline", "ms_sts"), (1, 2, 3)):
        fake_runs.write_run(variant, seed, {"valid": seed})
    runs = runs_of()
    assert "trained from 3 pre-trainings" in answer(runs, differences(runs))[1]
    [part] = limitations.parts(runs)
    assert "All trainings start from 3 pre-trainings of each backbone, whose luck they share." in part.sentences


def test_few_seeds_are_said_to_be_too_few(fake_study: Path) -> None:
    text = " ".join(conclusions(runs_of(), differences(runs_of())))
    assert "With 2 seeds the sign-flip test over seeds cannot reach 5 %: its least p is 0.5." in text
    assert "With 1 seed per variant nothing is known about other trainings" in text
    assert "negative control" in text


def test_every_difference_carries_its_number_of_videos_and_instances(fake_study: Path) -> None:
    write_tables(runs_of())
    written = pd.read_csv(runs_of().folder / FILE, dtype=str)
    for subset, count in (("all", fake_runs.VIDEOS), ("occlusion", fake_runs.VIDEOS // 2)):
        own = written[written["subset"] == subset]
        assert set(own["videos"]) == set(own["instances"]) == {str(count)}
    [_, table, sentences] = ablation.parts(runs_of())
    assert set(table.frame["Videos"]) == {"80", "40"}
    headings = [block["label"] for block in table.document()["blocks"]]
    assert all("80 videos, 80 instances" in text or "40 videos, 40 instances" in text for text in headings)
    assert any("AP on occlusion (announced, 40 videos, 40 instances)" in text for text in sentences.sentences)


def attribute_of(records: MatchRecords, name: str, videos: int, per_video: int = 1) -> MatchRecords:
    """The records with an attribute more, shown by so many of the first videos."""
    views = (*records.views, f"{ATTRIBUTE_VIEW}{name}")
    group = records.pooled
    positives_V = per_video * (np.arange(fake_runs.VIDEOS) < videos)
    shown_N = positives_V[group.video_N] > 0
    group = replace(
        group,
        positives_AV=np.concatenate([group.positives_AV, positives_V[None].astype(np.int32)]),
        matched_ATN=np.concatenate([group.matched_ATN, group.matched_ATN[:1] & shown_N]),
        ignored_ATN=np.concatenate([group.ignored_ATN, group.matched_ATN[:1] & ~shown_N]),
    )
    return replace(records, views=views, categories=(group,), pooled=group)


def replace_matches(path: Path, records: MatchRecords) -> None:
    """Write other match records, and what metrics.json says of them."""
    write_records(path, records)
    metrics = read_record(path.with_name("metrics.json"))
    metrics["attributes"] = attribute_metrics(records)
    metrics["produced_by"]["matches_sha256"] = sha256_file(path)
    write_record(path.with_name("metrics.json"), metrics)


def add_attributes(root: Path, sizes: dict[str, int]) -> None:
    """Add attributes to all results on the split `valid`."""
    for path in root.glob("results/*/*/*/*/*/valid/matches.npz"):
        records = read_records(path)
        for name, videos in sizes.items():
            records = attribute_of(records, name, videos)
        replace_matches(path, records)


def test_every_challenge_of_a_data_set_is_tested_and_those_announced_are_marked(fake_study: Path) -> None:
    add_attributes(fake_study, {"partial_visibility": 60, "my own challenge": 50})
    found = [d for d in differences(runs_of()) if d.benchmark.split == "valid" and d.contrast.name == "ms_sts"]
    challenges = {d.measure.subset: d.announced for d in found if d.measure.subset != "all"}
    assert challenges == {"occlusion": True, "my own challenge": False, "partial_visibility": False}
    assert list(challenges) == ["occlusion", "my own challenge", "partial_visibility"]  # announced first, then by name
    write_tables(runs_of())
    [_, table, sentences] = ablation.parts(runs_of())
    measures = set(table.frame["Measure"])
    assert {"AP on occlusion, announced", "AP on partial visibility, not announced"} < measures
    assert "Announced challenges that no instance shows: fog." in sentences.sentences


def test_the_announced_challenges_are_those_of_the_study_file(fake_study: Path) -> None:
    path = fake_study / "ablations/studies/fake.yaml"
    path.write_text(path.read_text() + "announced: [partial_visibility]\n")
    add_attributes(fake_study, {"partial_visibility": 60})
    announced = {d.measure.subset: d.announced for d in differences(runs_of())}
    assert announced == {"all": True, "occlusion": False, "partial_visibility": True}


def test_a_larger_family_widens_the_deciding_intervals_only(fake_study: Path) -> None:
    before = differences(runs_of())
    add_attributes(fake_study, {f"challenge {n}": 31 + 4 * n for n in range(6)})
    after = {(d.benchmark, d.measure, d.contrast.name): d.intervals for d in differences(runs_of())}
    for one in (one for one in before if one.intervals and one.benchmark.split == "valid"):
        known = after[one.benchmark, one.measure, one.contrast.name]
        assert known.pointwise == one.intervals.pointwise
        assert known.simultaneous.low < one.intervals.simultaneous.low


@pytest.mark.parametrize(("videos", "judged"), [(1, False), (MIN_VIDEOS - 1, False), (MIN_VIDEOS, True)])
def test_too_few_videos_get_no_interval_no_test_and_no_verdict(fake_study: Path, videos: int, judged: bool) -> None:
    intervals = {
        (d.measure, d.contrast.name): d.intervals for d in differences(runs_of()) if d.benchmark.split == "valid"
    }
    add_attributes(fake_study, {"blur": videos})
    write_tables(runs_of())
    found = {(d.measure, d.contrast.name): d for d in read_differences(runs_of()) if d.benchmark.split == "valid"}
    small = found[Measure("blur", "AP"), "ms_sts"]
    assert small.mean is not None
    assert (small.size, bool(small.intervals), small.p is not None) == ((videos, videos), judged, judged)
    [_, table, sentences] = ablation.parts(runs_of())
    keys = {"Variant": "MS-STS", "Measure": "AP on blur, not announced"}
    assert cell(table.frame, "Δ", **keys) == signed(small.mean)
    assert (cell(table.frame, "95 % interval", **keys) == "n too small") is not judged
    count = "1 video, 1 instance" if videos == 1 else f"{videos} videos, {videos} instances"
    none = f"no verdict, as fewer than {MIN_VIDEOS} videos are too few: AP on blur (not announced, {count})."
    assert any(none in text for text in sentences.sentences) is not judged
    if not judged:  # it is left out of the family, whose other intervals stay as they are
        for key in intervals:
            assert found[key].intervals == tuple(pytest.approx(one, abs=1e-6) for one in intervals[key])


def difference(variant: str, mean: float, reach: tuple[float, float] | None, **changes: Any) -> Difference:
    """A difference in AP; reach: of the pointwise and of the simultaneous interval."""
    intervals = reach and Intervals(*(Interval(mean - one, mean + one) for one in reach))
    contrast = Contrast("difference", variant, {"ms_sts": "MS-STS"}.get(variant, variant), {variant: 1, "baseline": -1})
    plain = Difference(Benchmark("synthvis", "valid", "tiny"), Measure("all", "AP"), Size(80, 90), contrast, 2, mean)
    return replace(plain, intervals=intervals, **changes)


def test_an_interval_is_called_above_below_or_undecided_by_its_ends(fake_study: Path) -> None:
    runs = runs_of()
    text = " ".join(conclusions(runs, [difference("ms_sts", 3, (1, 2)), difference("temporal", -3, (1, 2))]))
    assert "above the baseline, interval excludes zero: “MS-STS” +3.00 [+1.00, +5.00]" in text
    assert "below the baseline, interval excludes zero: “temporal” \N{MINUS SIGN}3.00" in text
    assert "2 of 2 intervals of differences to the baseline exclude zero" in text
    # the pointwise interval excludes zero, but does not decide
    undecided = " ".join(conclusions(runs, [difference("ms_sts", 3, (2, 4))]))
    assert "undecided, as every interval includes zero: AP (80 videos, 90 instances)." in undecided
    assert "0 of 1 intervals of differences to the baseline exclude zero" in undecided


@cache
def study_of_names() -> StudyRuns:
    """The repository's study `development` without a run: its titles are all that sentences need."""
    return StudyRuns(load_study("development", fake_runs.REPOSITORY / "ablations"), (), ())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_no_two_sentences_disagree(seed: int) -> None:
    """Each measure is decided, undecided or too small, in one sentence for each kind, as its intervals say."""
    rng, runs = np.random.default_rng(seed), study_of_names()
    families = {
        "effect": ("effects of contributions", "zero"),
        "difference": ("differences to the baseline", "the baseline"),
    }
    found = []
    for split, kind, subset in product(("valid", "control"), families, ("all", "occlusion", "fog", "blur")):
        size = Size(int(rng.integers(1, 2 * MIN_VIDEOS)), 70)
        where = {"benchmark": Benchmark("synthvis", split, "tiny"), "measure": Measure(subset, "AP"), "size": size}
        for variant in ("ms_sts", "temporal"):
            reach = (1.0, float(rng.uniform(1, 3))) if size.is_enough else None
            one = difference(variant, float(rng.normal(0, 2)), reach, seeds=int(rng.choice([1, 2, 6, 8])), **where)
            found.append(replace(one, contrast=replace(one.contrast, kind=kind)))
    sentences = conclusions(runs, found)
    for (benchmark, kind, measure), group in groupby(
        found, lambda one: (one.benchmark, one.contrast.kind, one.measure)
    ):
        name, reference = families[kind]
        own = [text for text in sentences if text.startswith(f"On synthvis, {benchmark.split} split") and name in text]
        own = [text for text in own if f"{measure.title} (" in text]
        assert len(own) == 1
        family = list(group)
        decided = [one for one in family if one.excludes_zero]
        small = not family[0].size.is_enough
        assert ("no verdict" in own[0]) == small
        assert ("undecided" in own[0]) == (not small and not decided)
        for one in family:
            side = "above" if one.mean > 0 else "below"
            named = f"“{one.contrast.title}” {signed(one.mean)}" in own[0]
            assert named == one.excludes_zero
            assert not named or f"{side} {reference}, interval excludes zero" in own[0]
    for kind, (name, _) in families.items():
        judged = [one for one in found if one.intervals and one.contrast.kind == kind]
        total = f"{sum(one.excludes_zero for one in judged)} of {len(judged)} intervals of {name} exclude zero."
        assert sum(total in text for text in sentences) == bool(judged)
    finding, basis, limits = answer(runs, found)[-3:]
    for one in found:
        if (one.benchmark.split, one.contrast.kind, one.measure.subset) == ("valid", "difference", "all"):
            side = finding.split(f"“{one.contrast.title}”")[0].rsplit(";")[-1]
            words = {"above the baseline": 1, "below the baseline": -1, "undecided, as": 0, "no verdict, as": 0}
            [said] = [sign for words, sign in words.items() if words in side]
            assert said == (np.sign(one.mean) if one.excludes_zero else 0)
            assert plural(one.size.videos, "video") in basis
        total = (
            f"{sum(one.excludes_zero for one in judged)} of {plural(len(judged), 'simultaneous interval')} of {name} "
        )
        assert (total in limits) == bool(judged)
    text = " ".join([*sentences, finding, basis, limits])
    assert not any(words in text for words in ("no difference", "no effect", "separated from", "significant"))


def test_first_page_counts_undecided_variants_where_they_are_many(fake_study: Path) -> None:
    many = [difference(f"variant {number}", 0.5, (1, 2)) for number in range(6)]
    found = [
        difference("ms_sts", 3, (1, 2), by_seed=(-1.0, 7.0)),
        *(replace(one, by_seed=(0.2, 0.8)) for one in many),
    ]
    finding, basis, _ = answer(runs_of(), found)
    assert "above the baseline: “MS-STS” +3.00 [+1.00, +5.00]; undecided, as" in finding
    assert finding.endswith("zero: 6 of 7.") and "“variant 0”" not in finding
    assert basis.endswith("the same sign in every seed for: 6 of 7 variants.")
    few = answer(runs_of(), found[:5])
    assert "“variant 3” +0.50" in few[0] and few[1].endswith("“variant 3”.")


def test_a_result_of_another_configuration_is_refused(fake_study: Path) -> None:
    path = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/valid/metrics.json"
    metrics = read_record(path)
    metrics["produced_by"]["run"]["config_digest"] = "000000000000"
    write_record(path, metrics)
    with pytest.raises(InputError, match=r"metrics.json: config_digest: found '0{12}', but study 'fake' resolves to"):
        runs_of()


def test_a_result_of_an_older_checkpoint_is_refused(fake_study: Path) -> None:
    path = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/run.json"
    write_record(path, read_record(path) | {"checkpoint_sha256": "ff" * 32})
    with pytest.raises(InputError, match=r"metrics\.json: checkpoint_sha256"):
        runs_of()


def test_match_records_of_other_metrics_are_refused(fake_study: Path) -> None:
    valid = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/valid"
    matches = valid / "matches.npz"
    matches.write_bytes((valid.parents[1] / "seed2/valid/matches.npz").read_bytes())
    with pytest.raises(InputError, match=r"matches\.npz: was changed after its digest was recorded"):
        differences(runs_of())
    metrics = read_record(valid / "metrics.json")
    metrics["produced_by"]["matches_sha256"] = sha256_file(matches)
    write_record(valid / "metrics.json", metrics)
    with pytest.raises(InputError, match=r"ms_sts/seed1/valid: all AP: match records and metrics\.json give different"):
        differences(runs_of())


def test_match_records_of_boxes_are_those_that_metrics_record(fake_study: Path) -> None:
    valid = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/valid"
    (valid / "box_matches.npz").write_bytes((valid / "matches.npz").read_bytes())
    with pytest.raises(InputError, match=r"box_matches\.npz: was changed after its digest was recorded"):
        differences(runs_of())
    metrics = read_record(valid / "metrics.json")
    metrics["produced_by"]["box_matches_sha256"] = sha256_file(valid / "box_matches.npz")
    write_record(valid / "metrics.json", metrics)
    with pytest.raises(InputError, match=r"all AP_box: match records and metrics\.json give different values"):
        differences(runs_of())


def test_runs_that_were_evaluated_on_other_instances_are_refused(fake_study: Path) -> None:
    path = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/valid/matches.npz"
    records = read_records(path)
    group = replace(records.pooled, positives_AV=2 * records.pooled.positives_AV)
    replace_matches(path, replace(records, categories=(group,), pooled=group))
    with pytest.raises(InputError, match=r"ms_sts/seed1/valid: evaluated on other videos, categories or"):
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
    header = "dataset,split,backbone,variant,seed,AP,AP50,AP75,AR1,AR10,AP_agnostic,AP_box\n"
    assert (fake_study / "first/table.csv").read_text().startswith(header)


def test_ablation_csv_is_read_back_as_written(fake_study: Path) -> None:
    write_tables(runs_of())
    written = differences(runs_of())
    read = read_differences(runs_of())
    for one, other in zip(read, written, strict=True):
        rounded = {"mean": None, "intervals": None, "by_seed": ()}
        assert replace(one, **rounded) == replace(other, **rounded)
        assert one.by_seed == pytest.approx(other.by_seed, abs=1e-6)
        assert one.mean == (other.mean and pytest.approx(other.mean, abs=1e-6))
        assert bool(one.intervals) == bool(other.intervals)
        for own, known in zip(one.intervals or (), other.intervals or (), strict=True):
            assert own == pytest.approx(known, abs=1e-6)


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
    frame = pd.DataFrame({"Split": ["valid"], "A_B": ["1 ± 2"], "C": ["ΔAP"]})
    text = Table(frame, "50 %", ("Split",), "split {}".format, bold=[(0, "C")]).latex("tab:x")
    assert r"A B & C \\" in text and r"1 $\pm$ 2 & \textbf{$\Delta$AP} \\" in text
    assert r"\caption{split valid. 50 \%}" in text and r"\begin{tabular}{lr}" in text
    assert r"\begin{table}" in text  # it fits a column
    assert text.endswith("\\end{table}\n") and text.isascii()


def test_latex_tables_have_headed_blocks_and_fit_a_page() -> None:
    rows = [[split, f"variant {n}", "1.00 ± 2.00"] for split in ("valid", "control") for n in range(30)]
    table = Table(pd.DataFrame(rows, columns=["Split", "Variant", "AP"]), by=("Split",), heading="split {}".format)
    text = table.latex("tab:x")
    assert text.count(r"\begin{tabular}") == 2 and r"\label{tab:x-2}" in text
    assert r"\multicolumn{2}{l}{\emph{split control}} \\" in text
    wide = pd.DataFrame([["m", *["12.34 ± 5.67"] * 9]], columns=[*"ABCDEFGHIJ"])
    assert r"\begin{table*}" in Table(wide, by=(), heading=str).latex("tab:y")
    assert Table(wide[:0], by=(), heading=str).latex("tab:y") == ""


def test_values_are_bold_only_where_the_interval_lies_above_the_baseline(fake_study: Path) -> None:
    write_tables(runs_of())
    [table] = results.parts(runs_of())
    singles = [one for one in read_differences(runs_of()) if one.contrast.kind == "difference"]
    found = [one for one in singles if one.measure.subset == "all"]
    above = {
        (one.benchmark.split, one.contrast.title, one.measure.metric) for one in found if verdict(one) is Verdict.ABOVE
    }
    rows = table.frame.to_dict("records")
    assert above and {(rows[n]["Split"], rows[n]["Variant"], metric) for n, metric in table.bold} == above
    document = table.document()["blocks"][0]["rows"]
    assert sum(isinstance(cell, dict) and cell["bold"] for row in document for cell in row) == len(above)
    assert (runs_of().folder / "table.md").read_text().count("**") == 2 * len(above)
    assert (runs_of().folder / "table.tex").read_text().count(r"\textbf") == len(above)


def test_markdown_escapes_bars() -> None:
    assert markdown(pd.DataFrame({"a": ["x|y"]})) == "| a |\n| --- |\n| x\\|y |\n"


def test_numbers_are_rounded_to_text_without_a_negative_zero() -> None:
    assert (decimals(-0.001), decimals(None), decimals(12.345678)) == ("0.00", "-", "12.35")
    assert (signed(-0.001), signed(1.0), signed(-1.0)) == ("0.00", "+1.00", "\N{MINUS SIGN}1.00")
    assert (mean_and_deviation([]), mean_and_deviation([1.0, None])) == ("not run", "-")
    assert mean_and_deviation([1.0, 3.0]) == "2.00 ± 1.41"
