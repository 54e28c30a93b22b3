"""The attention figure: the rule that chooses variants and cases, and the figure on given maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from pycocotools import mask as run_length

from mssts.core.files import read_record
from mssts.report.figures.attention import attention_figure, write_attention
from mssts.study.attention_cases import (
    AttentionComparison,
    Case,
    Panel,
    TemporalMap,
    found_instances,
    further_results,
    marked_pixel,
    select_cases,
    select_results,
    select_variant,
    shown_frames,
)
from mssts.study.attention_panels import compare_attention
from mssts.study.runs import Result, Run
from mssts.ytvis.annotations import parse_annotations
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


def test_the_case_of_a_challenge_is_its_strongest_that_both_models_found() -> None:
    truth = _truth(
        {
            1: [(10, 10, 4, 4), (10, 10, 8, 8)],  # area x4
            2: [(10, 10, 4, 4), (10, 10, 12, 12)],  # area x9
            3: [(10, 10, 2, 2), (10, 10, 12, 12)],  # area x36, but the baseline missed it
            4: [(10, 10, 4, 4), (10, 10, 4, 4)],  # no change
        }
    )
    cases = select_cases(truth, {1: 0, 2: 3, 4: 1}, {1: 0, 2: 5, 3: 0, 4: 0})
    assert [(case.challenge, case.instance.id, case.score, case.ranks) for case in cases] == [
        ("scale_variation", 2, 9.0, (3, 5))
    ]


def test_a_match_names_the_rank_of_its_prediction_within_the_video() -> None:
    records = fake_runs.records(3, attributes=False)
    records.pooled.annotation_TN[0, :3] = [7, 8, 9]
    # detection n of the fake records is prediction n; two predictions per video
    assert found_instances(records, [1, 1, 2, 2, 3, 3, 4, 4]) == {7: 0, 8: 1, 9: 0}


def test_shown_frames_and_the_marked_pixel_follow_the_rule() -> None:
    masks = np.zeros((9, 8, 8), dtype=bool)
    masks[[1, 2, 4, 5, 6, 7, 8], 2:7, 2:7] = True
    assert shown_frames(masks) == [1, 4, 6, 8]
    masks[4] = False
    masks[4, 4, 4:7] = True
    assert marked_pixel(masks, [1, 4, 6, 8]) == (4, 5, 4)
    assert shown_frames(masks[:3]) == [1, 2]


def test_the_complete_variant_is_preferred(fake_study: Path) -> None:
    assert select_variant(runs_of()) == "ms_sts"
    assert select_variant(runs_of("ablation")) == "ms_sts_temporal_fgbg"


def test_missing_checkpoints_print_not_run(fake_study: Path) -> None:
    write_attention(compare_attention(runs_of()), fake_study / "first")
    write_attention(compare_attention(runs_of()), fake_study / "second")
    assert read_record(fake_study / "first/attention/cases.json") == {
        "caption": "Attention maps: not run.",
        "cases": [],
    }
    for name in ("attention.pdf", "attention.png", "cases.json"):
        first, second = (fake_study / folder / "attention" / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def comparison_of(temporal: dict[str, TemporalMap], nothing_to_show: list[str]) -> AttentionComparison:
    """A case of two frames with given maps of encoder branches."""
    masks = np.zeros((2, 40, 60), dtype=bool)
    masks[:, 10:20, 10:20] = True
    (instance,) = _truth({1: [(10, 10, 10, 10), (10, 10, 10, 10)]}).tracks
    case = Case("occlusion", 0.5, instance, (0, 0))
    query = np.full((2, 10, 15), 0.5)
    images = np.full((2, 40, 60, 3), 0.5)
    panel = Panel(case, [0, 1], images, masks, query, query, temporal, (1, 15, 15))
    run = Run("synthvis", "tiny", "own", 1, Path("run"), None)
    return AttentionComparison(Result("valid", None, run), "{Own}", [panel], nothing_to_show)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_each_branch_that_declares_attention_has_a_row() -> None:
    shown = {name: TemporalMap(np.ones((2, 10, 15)), np.array([0.25, 0.75])) for name in ("ms_sts", "own (Other)")}
    figure = attention_figure(comparison_of(shown, []))
    assert len(figure.subfigs[0].axes) == 3 * 9
    assert {"ms_sts", "own (Other)", "25 %", "75 %"} < set(texts(figure))
    assert not any("nothing to show" in text for text in texts(figure))
    plt.close(figure)


def test_parts_without_declared_attention_are_said_to_have_nothing_to_show(tmp_path: Path) -> None:
    comparison = comparison_of({}, ["own", "block (Other)"])
    figure = attention_figure(comparison)
    assert "Encoder of {Own}: nothing to show" in texts(figure)
    plt.close(figure)
    write_attention(comparison, tmp_path)
    caption = read_record(tmp_path / "attention/cases.json")["caption"]
    assert "have nothing to show: own, block (Other)." in caption


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
