"""The attention figure: the rule that chooses variants and cases, and the figure on given maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pycocotools import mask as run_length

from mssts.core.files import read_json
from mssts.report.attention import write_attention
from mssts.study.attention_cases import choose_cases, chosen_variant, found_instances, marked_pixel, shown_frames
from mssts.study.attention_panels import compare_attention
from mssts.ytvis.ground_truth import parse_ground_truth
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
    return parse_ground_truth(
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
    cases = choose_cases(truth, {1: 0, 2: 3, 4: 1}, {1: 0, 2: 5, 3: 0, 4: 0})
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
    assert chosen_variant(runs_of()) == "ms_sts"
    assert chosen_variant(runs_of("ablation")) == "ms_sts_temporal_fgbg"


def test_missing_checkpoints_print_not_run(fake_study: Path) -> None:
    write_attention(compare_attention(runs_of()), fake_study / "first")
    write_attention(compare_attention(runs_of()), fake_study / "second")
    assert read_json(fake_study / "first/attention/cases.json") == {"caption": "Attention maps: not run.", "cases": []}
    for name in ("attention.pdf", "attention.png", "cases.json"):
        first, second = (fake_study / folder / "attention" / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
