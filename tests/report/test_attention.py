"""The attention figures: the rules that choose variants and cases, the figures on given maps, and the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from pycocotools import mask as run_length

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.core.files import read_record
from mssts.data.synthvis.covers import Covers
from mssts.evaluation.statistics import Interval
from mssts.report.attention import write_attention
from mssts.report.figures.attention import figure as encoder_figure
from mssts.report.figures.attention_drawing import MAX_HEIGHT
from mssts.report.figures.queries import figure as query_figure
from mssts.report.registry import files_of_step
from mssts.report.tables.attention import frame, parts
from mssts.study.attention_auroc import MeanAuroc
from mssts.study.attention_cases import (
    Case,
    Challenges,
    degraded_frames,
    found_instances,
    marked_pixel,
    read_challenges,
    select_cases,
    shown_frames,
)
from mssts.study.attention_comparison import AttentionComparison, EncoderPanel, Picture, QueryPanel, TemporalMap
from mssts.study.attention_measure import measure_auroc
from mssts.study.attention_panels import compare_attention
from mssts.study.attention_runs import further_results, select_results, select_variant
from mssts.study.differences import Size
from mssts.study.runs import Benchmark, Result, Run
from mssts.ytvis.annotations import Annotations, parse_annotations
from tests.report import fake_runs
from tests.report.fake_runs import runs_of


def _truth(boxes_of: dict[int, list[tuple[int, int, int, int]]]):
    annotations = []
    for identifier, boxes in boxes_of.items():
        segmentations = []
        for x, y, width, height in boxes:
            mask = np.zeros((40, 60), dtype=np.uint8, order="F")
            mask[y : y + height, x : x + width] = 1
            encoded = run_length.encode(mask)
            segmentations.append({"size": [40, 60], "counts": encoded["counts"].decode()})
        annotations.append({"id": identifier, "video_id": identifier, "category_id": 1, "segmentations": segmentations})
    return parse_annotations(
        {
            "videos": [{"id": i, "height": 40, "width": 60, "length": 2} for i in boxes_of],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": annotations,
        }
    )


def challenges_of(truth: Annotations) -> Challenges:
    return read_challenges(truth, "ytvis2019", "valid", resolve("smoke", "baseline").data.synthetic)


GROWING = {
    1: [(10, 10, 4, 4), (10, 10, 8, 8)],  # area x4
    2: [(10, 10, 4, 4), (10, 10, 12, 12)],  # area x9
    3: [(10, 10, 2, 2), (10, 10, 12, 12)],  # area x36, but the baseline missed it
    4: [(10, 10, 4, 4), (10, 10, 4, 4)],  # no change
}


def test_the_case_of_a_challenge_is_the_strongest_candidate_failures_included() -> None:
    truth = _truth(GROWING)
    baseline, variant = {1: 0, 2: 3, 4: 1}, {1: 0, 2: 5, 3: 0, 4: 0}
    of_all = select_cases(truth.tracks, challenges_of(truth), baseline, variant)
    assert [(case.challenge, case.instance.id, case.score, case.ranks) for case in of_all] == [
        ("scale_variation", 3, 36.0, (None, 0)),
        ("fast_motion", 2, pytest.approx(2**0.5), (3, 5)),
    ]
    found = [track for track in truth.tracks if track.id in baseline]
    of_found = select_cases(found, challenges_of(truth), baseline, variant)
    assert [(case.challenge, case.instance.id, case.score, case.ranks) for case in of_found] == [
        ("scale_variation", 2, 9.0, (3, 5))
    ]


def test_every_challenge_of_the_data_has_a_case_and_no_instance_has_two() -> None:
    truth = _truth(GROWING)
    flags = {track.id: {"scale_variation": True, "haze": track.id > 1, "fog": True} for track in truth.tracks}
    known = Challenges(["scale_variation", "fog", "haze"], flags, challenges_of(truth).measures, {})
    cases = select_cases(truth.tracks, known, {}, {})
    # fog and haze are recorded but not measured: the first instance that is left
    assert [(case.challenge, case.instance.id, case.score) for case in cases] == [
        ("scale_variation", 3, 36.0),
        ("fog", 1, None),
        ("haze", 2, None),
    ]


def test_challenges_of_the_poster_come_first() -> None:
    poster = ["scale_variation", "aspect_ratio_change", "partial_visibility", "occlusion"]
    assert challenges_of(_truth(GROWING)).names == [*poster, "fast_motion"]


def test_a_generated_split_that_the_generator_does_not_make_is_refused() -> None:
    synthetic = resolve("smoke", "baseline").data.synthetic
    with pytest.raises(InputError, match=r"video 1: is not what the generator makes\. Generate the data again"):
        read_challenges(_truth(GROWING), "synthvis", "valid", synthetic)


def test_a_frame_is_degraded_where_half_of_the_object_is_hidden_or_covered() -> None:
    (shrinking,) = _truth({1: [(10, 10, 8, 8), (10, 10, 8, 4)]}).tracks
    assert degraded_frames(shrinking, None).tolist() == [False, True]
    assert degraded_frames(shrinking, Covers(np.array([0.3, 0.0]), np.array([0.3, 0.0]))).tolist() == [True, True]
    assert degraded_frames(shrinking, Covers(np.array([0.3, 0.0]), np.array([0.1, 0.0]))).tolist() == [False, True]


def test_a_match_names_the_rank_of_its_prediction_within_the_video() -> None:
    records = fake_runs.records(3, attributes=False)
    records.pooled.annotation_TN[0, :3] = [7, 8, 9]
    # detection n of the fake records is prediction n; two predictions per video
    assert found_instances(records, [1, 1, 2, 2, 3, 3, 4, 4]) == {7: 0, 8: 1, 9: 0}


def test_shown_frames_and_the_marked_pixel_follow_the_rule() -> None:
    masks = np.zeros((9, 8, 8), dtype=bool)
    masks[[1, 2, 4, 5, 6, 7, 8], 2:7, 2:7] = True
    areas = masks.sum((1, 2))
    assert shown_frames(areas) == [1, 4, 6, 8]
    masks[4] = False
    masks[4, 4, 4:7] = True
    assert marked_pixel(masks[[1, 4, 6, 8]], [1, 4, 6, 8]) == (4, 5, 4)
    assert shown_frames(areas[:3]) == [1, 2]


def test_the_complete_variant_is_preferred(fake_study: Path) -> None:
    assert select_variant(runs_of()) == "ms_sts"
    assert select_variant(runs_of("ablation")) == "ms_sts_temporal_fgbg"


def test_missing_checkpoints_print_not_run(fake_study: Path) -> None:
    for folder in ("first", "second"):
        write_attention(compare_attention(runs_of()), measure_auroc(runs_of()), fake_study / folder)
    for name, text in (("cases", "Attention maps: not run."), ("queries", "Attention of queries: not run.")):
        assert read_record(fake_study / f"first/attention/{name}.json") == {"caption": text, "cases": []}
    names = files_of_step("attention")
    assert {path.name for path in (fake_study / "first/attention").iterdir()} == {Path(name).name for name in names}
    for name in names:
        assert (fake_study / "first" / name).read_bytes() == (fake_study / "second" / name).read_bytes()


def comparison_of(
    temporal: dict[str, TemporalMap],
    nothing_to_show: list[str],
    ranks: tuple[int | None, int | None] = (0, 0),
    size: tuple[int, int] = (40, 60),
    frames: int = 2,
) -> AttentionComparison:
    """A case with given maps of encoder branches."""
    masks = np.zeros((frames, *size), dtype=bool)
    masks[:, 10:20, 10:20] = True
    (instance,) = _truth({1: [(10, 10, 10, 10), (10, 10, 10, 10)]}).tracks
    case = Case("occlusion", 0.5, instance, ranks)
    degraded = np.arange(frames) == 1
    picture = Picture(case, list(range(frames)), np.full((frames, *size, 3), 0.5), masks, degraded)
    grid = size[0] // 8, size[1] // 8 + 1  # the last column extends beyond a frame that is 60 pixels wide
    maps = np.random.default_rng(1).random((2, frames, *grid))
    extent = 8.0 * grid[0], 8.0 * grid[1]
    encoder = EncoderPanel(picture, (maps[0], maps[1]), extent, (0.0, 1.0), (0.625, None))
    strength = np.full((frames, 10, 15), 0.5)
    query = QueryPanel(picture, 8, strength, strength, temporal, (frames - 1, 15, 15))
    run = Run("synthvis", "tiny", "own", 1, Path("run"), None)
    return AttentionComparison(
        Result("valid", None, run), "{Own}", ["occlusion", "fog"], [encoder], [query], nothing_to_show
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_the_figure_says_how_well_each_map_shows_the_instance_and_who_found_it(tmp_path: Path) -> None:
    comparison = comparison_of({}, [], ranks=(None, 2))
    figure = encoder_figure(comparison)
    shown = {"Occlusion", "frame 1", "frame 2, degraded"}
    assert shown | {"Baseline: AUROC 0.62, not found", "{Own}: AUROC -, found"} < set(texts(figure))
    plt.close(figure)
    write_attention(comparison, [], tmp_path)
    record = read_record(tmp_path / "attention/cases.json")
    assert record["cases"][0]["found"] == [False, True] and record["cases"][0]["auroc"] == [0.625, None]
    assert "No instance shows fog." in record["caption"]


def images(figure: Figure) -> list[AxesImage]:
    return [one for one in figure.findobj(AxesImage) if one.get_array().ndim == 2 and one.get_array().shape[0] > 1]


def test_both_models_share_the_colour_scale_of_a_case() -> None:
    figure = encoder_figure(comparison_of({}, []))
    assert [one.get_clim() for one in images(figure)] == [(0.0, 1.0)] * 4
    plt.close(figure)


@pytest.mark.parametrize("size", [(40, 60), (64, 40), (40, 200)])
def test_frames_and_maps_lie_within_the_page_at_the_shape_of_the_video(size: tuple[int, int]) -> None:
    figure = encoder_figure(comparison_of({}, [], size=size))
    width, height = figure.get_size_inches()
    for one in (one for one in figure.findobj(AxesImage) if one.get_array().ndim == 3):
        left, right, bottom, top = one.get_extent()
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert (bottom - top) / (right - left) == pytest.approx(size[0] / size[1])
    plt.close(figure)


def test_a_video_of_one_frame_is_drawn(tmp_path: Path) -> None:
    shown = {"ms_sts": TemporalMap(np.ones((1, 10, 15)), np.array([1.0]))}
    write_attention(comparison_of(shown, [], frames=1), [], tmp_path)
    assert (tmp_path / "attention/queries.png").stat().st_size > 0


def test_many_cases_fit_a_page() -> None:
    one = comparison_of({}, [])
    many = replace(one, encoder=10 * one.encoder, queries=10 * one.queries)
    for draw in (encoder_figure, query_figure):
        figure = draw(many)
        assert figure.get_size_inches()[1] <= MAX_HEIGHT + 1e-6
        plt.close(figure)


def test_each_branch_that_declares_attention_has_a_row_with_the_uniform_share() -> None:
    shown = {name: TemporalMap(np.ones((2, 10, 15)), np.array([0.25, 0.75])) for name in ("ms_sts", "own (Other)")}
    figure = query_figure(comparison_of(shown, []))
    found = texts(figure)
    assert {"ms_sts", "own (Other)", "frame 2, degraded"} < set(found)
    assert found.count("25 % (uniform 12 %)") == found.count("75 %") == 2
    assert not any("nothing to show" in text for text in found)
    plt.close(figure)


def test_parts_without_declared_attention_are_said_to_have_nothing_to_show(tmp_path: Path) -> None:
    comparison = comparison_of({}, ["own", "block (Other)"])
    figure = query_figure(comparison)
    assert "Encoder of {Own}: nothing to show" in texts(figure)
    plt.close(figure)
    write_attention(comparison, [], tmp_path)
    caption = read_record(tmp_path / "attention/queries.json")["caption"]
    assert "have nothing to show: own, block (Other)." in caption


def test_the_table_shows_means_with_intervals_and_differences(fake_study: Path) -> None:
    assert frame(runs_of()).empty  # before the step has run
    benchmark, interval = Benchmark("synthvis", "valid", "tiny"), Interval(0.6, 0.64)
    size, few = Size(40, 50), Size(8, 9)
    measured = [
        MeanAuroc(benchmark, "baseline", 2, "all", size, 0.62, interval),
        MeanAuroc(benchmark, "baseline", 2, "fog", few, 0.41),
        MeanAuroc(benchmark, "ms_sts", 2, "all", size, 0.6, interval, -0.02, Interval(-0.03, -0.01)),
        MeanAuroc(benchmark, "ms_sts", 2, "fog", few, 0.5, None, 0.09),
        MeanAuroc(benchmark, "temporal", 0, "all", size),
        MeanAuroc(benchmark, "temporal", 0, "fog", few),
    ]
    write_attention(None, measured, runs_of().folder)
    (table,) = parts(runs_of())
    measure, difference = table.document()["blocks"]
    assert table.document()["columns"] == ["Variant", "Seeds", "all", "fog"]
    assert measure["rows"] == [
        ["Baseline", "2", "62.0 ± 2.0", "41.0"],
        ["MS-STS", "2", "60.0 ± 2.0", "50.0"],
        ["temporal", "0", "not run", "not run"],
        ["(instances)", "", "50", "9"],
        ["(videos)", "", "40", "8"],
    ]
    assert difference["rows"] == [
        ["MS-STS", "2", "\N{MINUS SIGN}2.0 ± 1.0", "+9.0"],
        ["temporal", "0", "not run", "not run"],
    ]


def test_a_study_of_the_baseline_alone_has_no_variant_to_show(fake_study: Path) -> None:
    runs = runs_of()
    alone = replace(runs.study, variants={"baseline": runs.study.variants["baseline"]})
    assert select_variant(replace(runs, study=alone)) is None
    assert compare_attention(replace(runs, study=alone)) is None
    other = replace(runs.study, variants={name: runs.study.variants[name] for name in ("baseline", "temporal")})
    assert select_variant(replace(runs, study=other)) == "temporal"


def test_variants_with_registered_parts_are_shown(fake_study: Path) -> None:
    runs = runs_of()
    model = runs.study.configs["temporal"].model
    encoder = model.encoder.model_copy(update={"branches": {"own": {}}})
    config = runs.study.configs["temporal"].model_copy(update={"model": model.model_copy(update={"encoder": encoder})})
    with_parts = replace(runs, study=replace(runs.study, configs=runs.study.configs | {"temporal": config}))
    assert select_variant(with_parts) == "ms_sts"
    for run in runs.runs:
        for name in ("checkpoint.pt", "valid/predictions.json"):
            (run.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (run.directory / name).touch()
    assert further_results(runs, select_results(runs)[1]) == []
    (further,) = further_results(with_parts, select_results(with_parts)[1])
    assert (further.run.variant, further.run.seed, further.split) == ("temporal", 1, "valid")
    only_parts = dict.fromkeys(runs.study.configs, runs.study.configs["baseline"]) | {"temporal": config}
    assert select_variant(replace(runs, study=replace(runs.study, configs=only_parts))) == "temporal"
