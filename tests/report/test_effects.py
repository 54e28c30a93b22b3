"""Effects of a fake factorial study against values computed by hand, and what a report says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from mssts.core.errors import InputError
from mssts.evaluation.statistics import Interval, Intervals
from mssts.report.conclusions import answer, conclusions, design
from mssts.report.document import report_data, write_document
from mssts.report.figures import write_figures
from mssts.report.figures.answer import caption as answer_caption
from mssts.report.figures.answer import figure as answer_figure
from mssts.report.figures.effects import caption, figure
from mssts.report.tables import ablation, write_tables
from mssts.study.complexity import write_complexity
from mssts.study.complexity_file import FILE as COMPLEXITY
from mssts.study.contrasts import contrasts
from mssts.study.differences import Difference, Measure, differences
from mssts.study.differences_file import FILE, read_differences
from mssts.study.resolve import load_study
from tests.report import fake_runs
from tests.report.fake_runs import runs_of

FOUR = {"baseline": (2, 3, 2), "ms_sts": (4, 6, 4), "temporal": (3, 2), "ms_sts_temporal": (8, 6, 8)}
"""Objects found of 8 by each seed; the third one has no training of `temporal`."""


def write_factorial(root: Path, found: dict[str, tuple[int, ...]], variants: tuple[str, ...] = tuple(FOUR)) -> None:
    fake_runs.write_ablations(root, (1, 2, 3))
    path = root / "ablations/studies/fake.yaml"
    text = path.read_text().replace("[valid, control]", "[valid]")
    path.write_text(text.replace("[baseline, ms_sts, temporal]", f"[{', '.join(variants)}]"))
    for variant, counts in found.items():
        for seed, count in enumerate(counts, start=1):
            fake_runs.write_run(variant, seed, {"valid": count})


@pytest.fixture
def factorial_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_factorial(tmp_path, FOUR)
    return tmp_path


def in_ap(found: list[Difference]) -> dict[tuple[str, str], Difference]:
    return {(one.contrast.kind, one.contrast.name): one for one in found if one.measure == Measure("all", "AP")}


def test_effects_are_paired_over_the_seeds_that_all_variants_have(factorial_study: Path) -> None:
    found = in_ap(differences(runs_of()))
    # of 101 recall points the variants reach 26, 51, 38 and 101 with seed 1, and 38, 76, 26 and 76 with seed 2
    for name, points, p in (
        ("MS-STS", (44 + 44) / 2, 0.5),  # (51 - 26 + 101 - 38) / 2, (76 - 38 + 76 - 26) / 2
        ("temporal", (31 - 6) / 2, 1.0),
        ("MS-STS x temporal", (38 + 12) / 2, 0.5),
    ):
        one = found["effect", name]
        assert (one.seeds, one.p) == (2, p)
        assert one.mean == pytest.approx(100 * points / 101)
        assert one.intervals and one.intervals.simultaneous.low < one.intervals.pointwise.low < one.mean
    assert found["difference", "ms_sts"].seeds == 3
    assert found["difference", "ms_sts"].mean == pytest.approx(100 * (25 + 38 + 25) / 3 / 101)


def test_a_design_does_not_change_the_intervals_of_single_differences(factorial_study: Path) -> None:
    before = in_ap(differences(runs_of()))
    path = factorial_study / "ablations/variants/temporal.yaml"
    path.write_text(path.read_text() + "  model.decoder.temporal.width: 32\n")  # no part of a design any more
    for name in ("run.json", "valid/metrics.json"):
        for run in factorial_study.glob(f"results/smoke/synthvis/tiny/temporal/*/{name}"):
            run.unlink()
    for seed in (1, 2):
        fake_runs.write_run("temporal", seed, {"valid": FOUR["temporal"][seed - 1]})
    after = in_ap(differences(runs_of()))
    assert {kind for kind, _ in after} == {"difference"}
    assert {key: one.intervals for key, one in after.items()} == {
        key: one.intervals for key, one in before.items() if key[0] == "difference"
    }


def test_effects_come_first_on_the_first_page(factorial_study: Path) -> None:
    write_tables(runs_of())
    found = read_differences(runs_of())
    effects, finding, _, limits = answer(runs_of(), found)
    main, interactions = effects.split(" Interactions: ")
    assert main.startswith("On synthvis, valid split, main effects on AP in percentage points: above zero: “MS-STS” +")
    assert "“temporal” +" in main and interactions.startswith("above zero: “MS-STS x temporal” +24.75 [")
    wide = Intervals(Interval(-1, 50), Interval(-1, 50))
    undecided = [replace(one, intervals=wide) for one in found]
    assert answer(runs_of(), undecided)[0].endswith(" Interactions: undecided, as the interval includes zero: 1 of 1.")
    assert finding.startswith("On synthvis, valid split, differences in AP to the baseline")
    assert limits.index("of effects of contributions exclude") < limits.index("of differences to the baseline exclude")
    panels = [[label.get_text() for label in axis.get_yticklabels()] for axis in answer_figure(runs_of()).axes]
    variants = [runs_of().study.titles[name] for name in FOUR]
    assert panels == [["MS-STS", "temporal", "MS-STS x temporal"], variants, [""] * 4]
    assert answer_caption(runs_of()).startswith("Above: main effects and interactions")
    plt.close("all")


def test_effects_come_first_in_the_file_the_report_and_the_conclusions(factorial_study: Path) -> None:
    write_tables(runs_of())
    found = read_differences(runs_of())
    kinds = [one.contrast.kind for one in found]
    assert kinds == sorted(kinds, reverse=True) and set(kinds) == {"effect", "difference"}
    assert [one.contrast for one in found] == [one.contrast for one in differences(runs_of())]
    [sentence, effects, singles, conclusion] = ablation.parts(runs_of())
    assert sentence.sentences == ["4 variants combine MS-STS and temporal in a full factorial design."]
    assert list(effects.frame["Effect"][:3]) == ["MS-STS", "temporal", "MS-STS x temporal"]
    assert list(effects.frame["Pairs"][:3]) == ["2", "2", "1"]
    assert list(singles.frame["Variant"][:3]) == ["MS-STS", "temporal", "MS-STS + temporal"]
    kinds = ["effects of" in text for text in conclusion.sentences if text.startswith("On synthvis")]
    assert kinds == sorted(kinds, reverse=True) and True in kinds


def test_a_design_without_a_seed_that_all_variants_have_is_not_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_factorial(tmp_path, {name: counts for name, counts in FOUR.items() if name != "ms_sts_temporal"})
    write_tables(runs_of())
    [_, effects, singles, conclusion] = ablation.parts(runs_of())
    assert set(effects.frame["95 % interval"]) == {"not run"} and "0" in set(effects.frame["Seeds"])
    assert set(singles.frame["95 % interval"]) > {"not run"}
    text = "On synthvis, valid split, effects of contributions: not run, as no seed has all 4 variants."
    assert text in conclusion.sentences
    assert "effects of contributions exclude zero" not in " ".join(conclusion.sentences)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        (
            ("baseline", "ms_sts", "temporal"),
            "interactions of MS-STS and temporal the study would also need variants with: MS-STS + temporal.",
        ),
        (
            ("baseline", "ms_sts_temporal_fgbg"),
            "of MS-STS, temporal and fg-bg the study would also need variants with: "
            "MS-STS; temporal; fg-bg; MS-STS + temporal; MS-STS + fg-bg; temporal + fg-bg.",
        ),
        (
            ("baseline", "ms_sts", "ms_sts_intra"),
            "Single differences only: the study varies fewer than two contributions.",
        ),
        (
            (*FOUR, "fgbg"),
            "4 variants combine MS-STS and temporal in a full factorial design. That of MS-STS, temporal "
            "and fg-bg would also need variants with: MS-STS + fg-bg; temporal + fg-bg; MS-STS + temporal + fg-bg.",
        ),
    ],
)
def test_the_report_says_which_variants_a_full_design_would_need(tmp_path, monkeypatch, variants, said) -> None:
    monkeypatch.chdir(tmp_path)
    write_factorial(tmp_path, {}, variants)
    assert said in design(runs_of())
    write_tables(runs_of())
    sentence, *tables, conclusion = ablation.parts(runs_of())
    assert sentence.sentences == [design(runs_of())]
    assert len(tables) == 1 + ("combine" in said)
    assert "nothing can be concluded" in conclusion.sentences[0]


@pytest.mark.long
def test_the_document_shows_effects_only_of_a_design(factorial_study: Path) -> None:
    write_tables(runs_of())
    write_complexity(load_study("fake"), runs_of().folder / COMPLEXITY)
    write_figures(runs_of())
    [section] = [one for one in report_data(runs_of())["sections"] if one["title"].startswith("Effect")]
    assert [part["name"] for part in section["parts"]][-2:] == ["figures.effects", "figures.ablation"]
    panels = [axis for axis in figure(runs_of()).axes if axis.axison]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["MS-STS", "temporal", "MS-STS x temporal"]
    plt.close("all")
    write_document(runs_of(), factorial_study / "report.pdf")
    assert (factorial_study / "report.pdf").read_bytes().startswith(b"%PDF")
    study = factorial_study / "ablations/studies/fake.yaml"
    study.write_text(study.read_text().replace(", ms_sts_temporal]", "]"))
    write_tables(runs_of())
    write_figures(runs_of())
    write_complexity(load_study("fake"), runs_of().folder / COMPLEXITY)
    [section] = [one for one in report_data(runs_of())["sections"] if one["title"].startswith("Effect")]
    assert "figures.effects" not in [part["name"] for part in section["parts"]]
    assert caption(runs_of()) == ""
    assert [text.get_text() for text in figure(runs_of()).axes[0].texts] == ["no full factorial design"]
    plt.close("all")


def test_a_file_of_another_study_is_refused(factorial_study: Path) -> None:
    write_tables(runs_of())
    study = factorial_study / "ablations/studies/fake.yaml"
    study.write_text(study.read_text().replace(", ms_sts_temporal]", "]"))
    assert len(contrasts(load_study("fake"))) == 2
    with pytest.raises(InputError, match=rf"{FILE}: found effect 'MS-STS', .*Run mssts tables --study fake"):
        read_differences(runs_of())
    assert conclusions(runs_of(), [])[0].startswith("The study has no variant")
