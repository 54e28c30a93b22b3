"""Figures and the typeset report: same bytes twice, everything in it, nothing stale."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from mssts.cli import attention
from mssts.config import resolve
from mssts.core.csv_files import write_csv
from mssts.core.errors import InputError
from mssts.core.files import read_record, sha256_file, write_record
from mssts.evaluation.statistics import Interval, Intervals
from mssts.models import build_model, count_parameters
from mssts.report import document
from mssts.report.attention import write_attention
from mssts.report.document import report_data, write_document
from mssts.report.figures import write_figures
from mssts.report.figures.ablation import figure as ablation_figure
from mssts.report.figures.answer import figure as answer_figure
from mssts.report.figures.challenges import figure as challenges_figure
from mssts.report.figures.dots import draw_differences
from mssts.report.figures.training_curves import read_logs, training_figure
from mssts.report.registry import files_of_step
from mssts.report.style import TEXT_WIDTH, empty_figure, paper_style, save
from mssts.report.tables import write_tables
from mssts.study.attention_measure import measure_auroc
from mssts.study.attention_panels import compare_attention
from mssts.study.complexity import write_complexity
from mssts.study.complexity_file import FILE, read_complexity
from mssts.study.contrasts import Contrast
from mssts.study.differences import Difference, Measure, Size
from mssts.study.resolve import load_study
from mssts.study.runs import Benchmark
from tests.report import fake_runs
from tests.report.fake_runs import runs_of, table_of


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the fake study, its tables and figures; not to be changed."""
    root = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        fake_runs.write_fake_study(root)
        write_tables(runs_of())
        write_complexity(load_study("fake"), root / "reports/fake" / FILE)
        write_figures(runs_of())
    return root


@pytest.fixture
def reported(written: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report directory of `written`, as seen from there."""
    monkeypatch.chdir(written)
    return written / "reports/fake"


@pytest.mark.long
def test_figures_and_pdf_repeat_byte_for_byte(reported: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in (reported / "figures").iterdir()}
    write_figures(runs_of())
    assert set(first) == {Path(file).name for file in files_of_step("figures")}
    assert first == {path.name: path.read_bytes() for path in (reported / "figures").iterdir()}
    write_document(runs_of(), tmp_path / "first.pdf")
    write_document(runs_of(), tmp_path / "second.pdf")
    content = (tmp_path / "first.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content == (tmp_path / "second.pdf").read_bytes()
    assert b"CreationDate" not in content
    for name, figure in first.items():
        assert b"CreationDate" not in figure and b"matplotlib.org" not in figure, name


def test_everything_that_the_pdf_shows_comes_from_the_files(reported: Path) -> None:
    data = report_data(runs_of())
    text = json.dumps(data, ensure_ascii=False)
    for expected in ("38.12 ± 17.50", "+49.50", "not run", fake_runs.COMMIT, "fedcba987654", "3 of 14 results"):
        assert expected in text
    assert data["question"] == load_study("fake").spec.question
    assert [block["label"] for block in table_of(data, "results")["blocks"]] == [
        "This study: dataset synthvis, local valid split, backbone tiny",
        "This study: dataset synthvis, local control split, backbone tiny",
    ]
    assert data["warnings"][1] == "1 run made at another commit: synthvis/tiny/temporal/seed1."


def test_parameters_and_flops_are_those_of_the_models(reported: Path) -> None:
    block = table_of(report_data(runs_of()), "complexity")["blocks"][0]
    assert block["label"] == "dataset synthvis, backbone tiny, clip of 3 frames of 64 x 96 px"
    baseline, ms_sts = (
        count_parameters(build_model(resolve("smoke", v).model, "tiny", 5)) for v in ("baseline", "ms_sts")
    )
    assert block["rows"][0][:4] == ["Baseline", f"{baseline:,}", "0", "0.0"]
    assert block["rows"][1][:3] == ["MS-STS", f"{ms_sts:,}", f"+{ms_sts - baseline:,}"]
    flops = [float(row[4]) for row in block["rows"]]
    assert 0.05 < flops[0] < flops[1] < 0.2
    assert float(block["rows"][1][5]) == pytest.approx(100 * (flops[1] / flops[0] - 1), abs=1)


def test_sizes_of_other_models_than_the_runs_are_refused(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(written, tmp_path / "copy"))
    path = runs_of().folder / FILE
    frame = read_complexity(runs_of())
    write_csv(path, frame.assign(parameters=frame["parameters"] + 1))
    with pytest.raises(InputError, match="does not match the study's runs"):
        report_data(runs_of())
    path.unlink()
    with pytest.raises(InputError, match=r"complexity\.csv: no such file"):
        report_data(runs_of())


def test_a_report_on_another_dataset_quotes_no_published_result(reported: Path) -> None:
    sections = report_data(runs_of())["sections"]
    assert "tables.published" not in {part["name"] for section in sections for part in section["parts"]}
    assert "MS-STS VIS" not in (runs_of().folder / "published.csv").read_text()


def test_the_template_itself_holds_no_result() -> None:
    """Digits in the template are sizes and colours: no line of text that is typeset has a decimal number."""
    lines = document.TEMPLATE.read_text().splitlines()
    prose = [line for line in lines if line.startswith(("=", "*"))]
    assert prose and not any(character.isdigit() for line in prose for character in line)
    assert "data.json" in document.TEMPLATE.read_text()


def test_a_table_older_than_the_results_is_refused(fake_study: Path) -> None:
    write_tables(runs_of())
    fake_runs.write_run("temporal", 2, {"valid": 5, "control": 5})
    with pytest.raises(InputError, match=r"table\.csv: does not match the results"):
        write_document(runs_of(), fake_study / "table.pdf")


def is_text(path: Path, text: str) -> bool:
    """Whether a figure holds nothing but a text."""
    with paper_style():
        save(empty_figure(text), path.with_name("expected.pdf"))
    return path.read_bytes() == path.with_name("expected.pdf").read_bytes()


@pytest.mark.long
def test_a_figure_that_cannot_be_drawn_says_why_and_the_others_are_drawn(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(written, tmp_path / "copy"))
    folder = runs_of().folder / "figures"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    log = Path("results/smoke/synthvis/tiny/ms_sts/seed1/log.jsonl")
    log.write_text('{"step": 1\n')

    def no_figure(*_: object) -> None:
        raise ValueError("a fault with $\nmathematics$")

    monkeypatch.setattr("mssts.report.figures.ablation.draw_panels", no_figure)
    write_figures(runs_of())
    printed = capsys.readouterr().err
    warnings = [line.split(": ", 2)[1:] for line in printed.splitlines() if line.startswith("warning: ")]
    (first, fault), (second, bad_input) = warnings
    assert (first, second) == ("reports/fake/figures/ablation.pdf", "reports/fake/figures/training_curves.pdf")
    assert fault == "not drawn: ValueError: a fault with $ mathematics$"
    assert bad_input.startswith(f"not drawn: {log}: was changed after its digest was recorded")
    assert is_text(folder / "ablation.pdf", fault) and is_text(folder / "training_curves.pdf", bad_input)
    assert (folder / "effects.pdf").read_bytes() == before["effects.pdf"]
    assert "in no_figure" in printed and printed.count("Traceback") == 1  # bad input has no stack trace
    write_document(runs_of(), tmp_path / "table.pdf")
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")


def _attention_parts() -> list[dict[str, Any]]:
    (section,) = (one for one in report_data(runs_of())["sections"] if one["title"] == "Attention maps")
    return section["parts"]


def test_attention_maps_that_could_not_be_drawn_say_why_in_the_report(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(written, tmp_path / "copy"))
    attention("fake", "killed twice,\nlogs/fake_attention.log")
    folder, said = runs_of().folder, "not drawn: killed twice, logs/fake_attention.log"
    assert {path.relative_to(folder).as_posix() for path in (folder / "attention").iterdir()} == set(
        files_of_step("attention")
    )
    assert is_text(folder / "attention/attention.pdf", said) and is_text(folder / "attention/queries.pdf", said)
    table, *figures = _attention_parts()
    assert table["sentences"] == [said]
    assert [part["caption"] for part in figures] == ["Attention maps: not drawn.", "Attention of queries: not drawn."]
    write_document(runs_of(), tmp_path / "table.pdf")
    (folder / "attention/cases.json").write_text("{}")
    (part,) = (part for part in _attention_parts() if part["name"] == "figures.attention")
    assert part["sentences"][0].startswith("not drawn: reports/fake/attention/cases.json: ")


@pytest.mark.long
def test_missing_tables_are_named(fake_study: Path) -> None:
    write_figures(runs_of())
    path = runs_of().folder / "figures/ablation.pdf"
    why = "reports/fake/ablation.csv: no such file. Run mssts tables --study fake."
    assert is_text(path, f"not drawn: {why}")
    with pytest.raises(InputError, match=r"table\.csv: no such file\. Run mssts tables"):
        write_document(runs_of(), fake_study / "table.pdf")


def test_a_study_without_results_still_gives_a_pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fake_runs.write_ablations(tmp_path)
    folder = tmp_path / "reports/fake"
    write_tables(runs_of())
    write_complexity(load_study("fake"), folder / FILE)
    write_figures(runs_of())
    write_attention(compare_attention(runs_of()), measure_auroc(runs_of()), folder)
    write_document(runs_of(), tmp_path / "table.pdf")
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")


def test_training_figures_show_the_mean_over_seeds_of_each_variant(fake_study: Path) -> None:
    runs = runs_of()
    logs = read_logs(runs)
    assert set(logs["variant"]) == {"baseline", "ms_sts", "temporal"}
    axis = training_figure(runs, logs).axes[0]
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert set(lines) == {"Baseline", "MS-STS", "temporal"}
    # a running mean over a tenth of 50 records: at the first of them over it and the next two
    expected = logs[(logs["variant"] == "ms_sts") & (logs["step"] <= 60)]["loss"].mean()
    assert lines["MS-STS"].get_ydata()[0] == pytest.approx(expected)
    plt.close("all")


def test_every_logged_loss_has_a_panel(fake_study: Path) -> None:
    runs = runs_of()
    logs = read_logs(runs)
    axes = training_figure(runs, logs.assign(loss_of_ones_own=logs["loss"])).axes
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == [*titles[:5], "mask (dice)", "of ones own", ""]
    plt.close("all")


def test_a_damaged_log_is_named(fake_study: Path) -> None:
    path = fake_study / "results/smoke/synthvis/tiny/ms_sts/seed1/log.jsonl"
    path.write_text('{"step": 1\n')
    with pytest.raises(InputError, match=r"log\.jsonl: was changed after its digest was recorded"):
        read_logs(runs_of())
    record = path.with_name("run.json")
    write_record(record, read_record(record) | {"log_sha256": sha256_file(path)})
    with pytest.raises(InputError, match=r"log\.jsonl: not a training log"):
        read_logs(runs_of())


def test_every_measure_of_a_benchmark_has_a_panel_with_its_size(reported: Path) -> None:
    panels = [axis for axis in ablation_figure(runs_of()).axes if axis.axison]
    titles = [axis.get_title(loc="left").strip() for axis in panels]
    overall = ["AP", "AP75", "class-agnostic AP", "box AP"]
    assert titles == [*overall, "AP on\nocclusion*", *overall]
    sizes = [axis.get_xlabel() for axis in panels]
    assert sizes == ["80 videos, 80 instances"] * 4 + ["40 videos, 40 instances"] + ["80 videos, 80 instances"] * 4
    plt.close("all")


def test_a_dot_is_filled_only_if_the_interval_excludes_zero() -> None:
    where = (Benchmark("synthvis", "valid", "tiny"), Measure("all", "AP"), Size(50, 50))
    a, b, c = (Contrast("difference", name, name.upper(), {name: 1, "baseline": -1}) for name in "abc")
    family = [
        Difference(*where, a, 2, 3.0, Intervals(Interval(2.0, 4.0), Interval(1.0, 5.0))),
        Difference(*where, b, 2, 1.0, Intervals(Interval(0.5, 1.5), Interval(-1.0, 3.0))),
        Difference(*where, c, 0),
        replace(Difference(*where, c, 2, 1.0), size=Size(3, 4)),
    ]
    _, axis = plt.subplots()
    assert draw_differences(axis, family) is axis
    dots = [line for line in axis.get_lines() if line.get_marker() == "o" and line.get_markersize() > 4]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True]
    assert [text.get_text() for text in axis.texts] == ["not run", "only 3 videos"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["A", "B", "C", "C"]
    plt.close("all")


def test_no_text_of_a_figure_is_smaller_than_six_points_on_the_page(reported: Path) -> None:
    figures = sorted(reported.rglob("*.pdf"))
    assert len(figures) >= 10
    for figure in figures:
        content = figure.read_bytes()
        width = float(re.search(rb"/MediaBox \[ *0 0 ([\d.]+)", content)[1])
        streams = (
            zlib.decompress(found[1])
            for found in re.finditer(rb"/FlateDecode.*?stream\n(.*?)\nendstream", content, re.S)
        )
        sizes = [float(size) for stream in streams for size in re.findall(rb"/F\d+ ([\d.]+) Tf", stream)]
        assert min(sizes) * TEXT_WIDTH * 72 / width >= 6, figure.name


def test_every_seed_is_a_dot(reported: Path) -> None:
    values, differences = answer_figure(runs_of()).axes
    dots = [line.get_xdata().tolist() for line in values.get_lines() if line.get_marker() == "o"]
    assert dots == [
        pytest.approx([2600 / 101, 5100 / 101]),
        pytest.approx([7600 / 101, 100.0]),
        [pytest.approx(3800 / 101)],
    ]
    small = [line for line in differences.get_lines() if line.get_marker() == "o" and line.get_markersize() < 4]
    assert [sorted(line.get_xdata()) for line in small] == [pytest.approx([5000 / 101] * 2, abs=1e-6)]
    panels = [axis.get_title(loc="left") for axis in challenges_figure(runs_of()).axes if axis.axison]
    assert panels == ["all instances", "occlusion\n40 instances"]
    plt.close("all")


@pytest.mark.long
@pytest.mark.parametrize(
    ("variants", "runs"),
    [
        ("[baseline]", {"baseline": 4}),
        ("[ms_sts, temporal]", {"ms_sts": 4}),
        ("[baseline, ms_sts]", {"ms_sts": 4}),
    ],
)
def test_a_study_of_one_run_or_without_a_baseline_has_its_whole_report(tmp_path, monkeypatch, variants, runs) -> None:
    monkeypatch.chdir(tmp_path)
    fake_runs.write_ablations(tmp_path)
    study = tmp_path / "ablations/studies/fake.yaml"
    study.write_text(study.read_text().replace("[baseline, ms_sts, temporal]", variants))
    for variant, count in runs.items():
        fake_runs.write_run(variant, 1, {"valid": count, "control": count})
    write_tables(runs_of())
    write_complexity(load_study("fake"), tmp_path / "reports/fake" / FILE)
    failures: list[str] = []
    monkeypatch.setattr(
        "mssts.report.not_drawn.empty_figure", lambda text="": failures.append(text) or empty_figure(text)
    )
    write_figures(runs_of())
    write_document(runs_of(), tmp_path / "table.pdf")
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF") and not failures
