"""Attention maps: the splat by hand, what the hooks see in a real model, and the rule that chooses cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as run_length

from mssts.config import resolve
from mssts.core.files import read_json
from mssts.inference.attention_maps import (
    attention_weights,
    cell_footprint,
    look,
    query_map,
    splat,
    temporal_map,
    temporal_weights,
    token_indices,
)
from mssts.models import build_model
from mssts.ops.attention import DeformableSampling, ScaledDotProduct
from mssts.report.attention import write_attention
from mssts.study.attention_cases import choose_cases, chosen_variant, found_instances, looking_pixel, shown_frames
from mssts.ytvis.ground_truth import parse_ground_truth
from tests.report import fake_runs
from tests.report.fake_runs import runs_of

ROOT = fake_runs.REPOSITORY / "ablations"
FRAMES = 3


def small_model(variant: str):
    """A model of the smallest scale with random values in place of the zeros that new modules start with."""
    model = build_model(resolve("smoke", variant, ROOT).model, "tiny", 3).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def frames_T3HW() -> torch.Tensor:
    return torch.randn(FRAMES, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_a_sample_in_the_middle_of_four_pixels_puts_a_quarter_on_each() -> None:
    result = splat(torch.tensor([[2 / 4, 1 / 3]]), torch.tensor([1.0]), (3, 4))
    expected = torch.zeros(3, 4)
    expected[0:2, 1:3] = 0.25
    assert torch.allclose(result, expected, atol=1e-6)


def test_a_sample_on_a_pixel_centre_stays_there() -> None:
    result = splat(torch.tensor([[2.5 / 4, 0.5 / 3]]), torch.tensor([0.7]), (3, 4))
    assert result[0, 2] == pytest.approx(0.7) and result.sum() == pytest.approx(0.7)


def test_mass_inside_is_kept_and_mass_outside_is_lost() -> None:
    generator = torch.Generator().manual_seed(3)
    inside = 0.2 + 0.6 * torch.rand(500, 2, generator=generator)
    weights = torch.rand(500, generator=generator)
    assert splat(inside, weights, (8, 12)).sum() == pytest.approx(float(weights.sum()), rel=1e-5)
    assert splat(inside + 2, weights, (8, 12)).sum() == 0
    edge = splat(torch.tensor([[0.0, 0.5]]), torch.tensor([1.0]), (1, 2))
    assert edge.tolist() == [[0.5, 0.0]]


def test_the_splat_is_the_adjoint_of_the_models_sampling() -> None:
    """Weights of the pixels that grid_sample reads at a location are those that the splat writes."""
    generator = torch.Generator().manual_seed(4)
    value = torch.rand(1, 1, 5, 7, generator=generator)
    locations = torch.rand(1, 1, 1, 1, 1, 6, 2, generator=generator)
    weights = torch.rand(1, 1, 1, 1, 1, 6, generator=generator)
    sampled = DeformableSampling()((value,), locations, weights).item()
    written = (splat(locations.view(-1, 2), weights.flatten(), (5, 7)) * value[0, 0]).sum()
    assert written == pytest.approx(sampled, rel=1e-5)


def test_recorded_attention_gives_the_modules_own_output() -> None:
    generator = torch.Generator().manual_seed(5)
    queries, keys, values = (torch.randn(2, 3, 4, 8, generator=generator) for _ in range(3))
    weights = attention_weights(queries, keys)
    assert torch.allclose(weights @ values, ScaledDotProduct()(queries, keys, values), atol=1e-5)
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    assert torch.allclose(
        attention_weights(queries, keys, mask) @ values, ScaledDotProduct()(queries, keys, values, mask), atol=1e-5
    )


def test_query_map_sums_to_one_over_the_clip_and_hooks_are_gone_afterwards(frames_T3HW: torch.Tensor) -> None:
    model = small_model("baseline")
    _, seen = look(model, frames_T3HW)
    maps = query_map(seen, 2, (16, 24))
    assert maps.shape == (FRAMES, 16, 24) and (maps >= 0).all()
    assert maps.sum() == pytest.approx(1.0, abs=1e-5)
    assert sum(name.startswith("decoder.") for name in seen.samplings) == 2
    assert not any(module._forward_hooks for module in model.modules())


def test_two_queries_look_at_different_places(frames_T3HW: torch.Tensor) -> None:
    _, seen = look(small_model("baseline"), frames_T3HW)
    assert not torch.allclose(query_map(seen, 0, (16, 24)), query_map(seen, 1, (16, 24)), atol=1e-3)


@pytest.mark.parametrize("variant", ["ms_sts", "ms_sts_intra", "ms_sts_inter", "ms_sts_temporal_fgbg"])
def test_temporal_weights_are_shares_of_frames(variant: str, frames_T3HW: torch.Tensor) -> None:
    _, seen = look(small_model(variant), frames_T3HW)
    levels = temporal_weights(seen, 1, (0.3, 0.6))
    assert len(levels) == 3
    for own, coarser in levels:
        assert own.sum() + coarser.sum() == pytest.approx(1.0, abs=1e-5)
    assert levels[-1][1].sum() == 0  # nothing is coarser than the coarsest
    assert (levels[0][1].sum() > 0) == (variant != "ms_sts_intra")
    maps = temporal_map(seen, 1, (0.3, 0.6), (64, 96))
    assert maps.shape == (FRAMES, 64, 96) and maps.sum() == pytest.approx(1.0, abs=1e-4)
    assert maps[:, int(0.6 * 64), int(0.3 * 96)].min() > 0


def test_a_model_without_the_module_has_no_temporal_map(frames_T3HW: torch.Tensor) -> None:
    _, seen = look(small_model("temporal"), frames_T3HW)
    assert temporal_map(seen, 0, (0.5, 0.5), (64, 96)) is None


def test_places_are_found_in_the_tokens_of_each_level() -> None:
    assert token_indices(((4, 6), (2, 3)), (0.0, 0.0)) == [0, 24]
    assert token_indices(((4, 6), (2, 3)), (0.99, 0.99)) == [23, 29]
    assert token_indices(((4, 6), (2, 3)), (0.5, 0.3)) == [6 + 3, 24 + 1]
    footprint = cell_footprint((2, 3), (0.5, 0.3), (4, 6))
    expected = torch.zeros(4, 6)
    expected[0:2, 2:4] = 0.25
    assert torch.equal(footprint, expected)


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


def test_shown_frames_and_the_looking_pixel_follow_the_rule() -> None:
    masks = np.zeros((9, 8, 8), dtype=bool)
    masks[[1, 2, 4, 5, 6, 7, 8], 2:7, 2:7] = True
    assert shown_frames(masks) == [1, 4, 6, 8]
    masks[4] = False
    masks[4, 4, 4:7] = True
    assert looking_pixel(masks, [1, 4, 6, 8]) == (4, 5, 4)
    assert shown_frames(masks[:3]) == [1, 2]


def test_the_complete_variant_is_preferred(fake_study: Path) -> None:
    assert chosen_variant(runs_of()) == "ms_sts"
    assert chosen_variant(runs_of("ablation")) == "ms_sts_temporal_fgbg"


def test_missing_checkpoints_print_not_run(fake_study: Path) -> None:
    write_attention(runs_of(), fake_study / "first")
    write_attention(runs_of(), fake_study / "second")
    assert read_json(fake_study / "first/attention/cases.json") == {"caption": "Attention maps: not run.", "cases": []}
    for name in ("attention.pdf", "attention.png", "cases.json"):
        first, second = (fake_study / folder / "attention" / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
