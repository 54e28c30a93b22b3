"""Attention maps: the splat by hand, and what is recorded of real models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.inference.attention_maps import (
    attention_weights,
    cell_footprint,
    declared_attention,
    encoder_map,
    query_map,
    run_and_record,
    splat,
    temporal_maps,
    temporal_weights,
    token_indices,
)
from mssts.models import build_model
from mssts.models.observable import ObservableAttention
from mssts.ops.attention import DeformableSampling, ScaledDotProduct

FRAMES = 3
TOKEN = (1, (0.3, 0.6))  # frame and point of the token that is shown


def small_model(variant: str):
    """A model of the smallest scale with random values in place of the zeros that new modules start with."""
    model = build_model(resolve("smoke", variant).model, "tiny", 3).eval()
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
    values = torch.rand(1, 1, 5 * 7, 1, generator=generator)
    locations = torch.rand(1, 1, 1, 1, 1, 6, 2, generator=generator)
    weights = torch.rand(1, 1, 1, 1, 1, 6, generator=generator)
    sampled = DeformableSampling()(values, locations, weights, shapes=((5, 7),)).item()
    written = (splat(locations.view(-1, 2), weights.flatten(), (5, 7)) * values.view(5, 7)).sum()
    assert written == pytest.approx(sampled, rel=1e-5)


def test_recorded_attention_gives_the_modules_own_output() -> None:
    generator = torch.Generator().manual_seed(5)
    queries, keys, values = (torch.randn(2, 3, 4, 8, generator=generator) for _ in range(3))
    weights = attention_weights(queries, keys)
    assert torch.allclose(weights @ values, ScaledDotProduct()(queries, keys, values), atol=1e-5)
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    assert torch.allclose(
        attention_weights(queries, keys, mask=mask) @ values, ScaledDotProduct()(queries, keys, values, mask), atol=1e-5
    )


@pytest.mark.parametrize("variant", ["baseline", "ms_sts_temporal_fgbg"])
@pytest.mark.parametrize("frames", [1, FRAMES])
def test_the_encoder_map_is_the_largest_channel_at_stride_8(variant: str, frames: int, frames_T3HW: Tensor) -> None:
    with torch.inference_mode():
        output = small_model(variant)(frames_T3HW[None, :frames, :, :60, :90])
    maps = encoder_map(output)
    assert maps.shape == (frames, 8, 12)
    assert torch.equal(maps, output.memory[0][0].max(dim=1).values)
    # behind a LayerNorm the mean over channels would be almost the same everywhere
    assert maps.std() > 10 * output.memory[0][0].mean(1).std() or variant != "baseline"


def test_query_map_sums_to_one_over_the_clip_and_hooks_are_gone_afterwards(frames_T3HW: torch.Tensor) -> None:
    model = small_model("baseline")
    _, record = run_and_record(model, frames_T3HW, *TOKEN)
    maps = query_map(record, 2, (16, 24))
    assert maps.shape == (FRAMES, 16, 24) and (maps >= 0).all()
    assert maps.sum() == pytest.approx(1.0, abs=1e-5)
    assert len(record.samplings) == 2
    assert not any(module._forward_hooks for module in model.modules())


def test_two_queries_look_at_different_places(frames_T3HW: torch.Tensor) -> None:
    _, record = run_and_record(small_model("baseline"), frames_T3HW, *TOKEN)
    assert not torch.allclose(query_map(record, 0, (16, 24)), query_map(record, 1, (16, 24)), atol=1e-3)


@pytest.mark.parametrize("variant", ["ms_sts", "ms_sts_intra", "ms_sts_inter", "ms_sts_temporal_fgbg"])
def test_temporal_weights_are_shares_of_frames(variant: str, frames_T3HW: torch.Tensor) -> None:
    _, record = run_and_record(small_model(variant), frames_T3HW, *TOKEN)
    levels = temporal_weights(record.branches["ms_sts"])
    assert len(levels) == 3
    for own, coarser in levels.values():
        assert own.sum() + coarser.sum() == pytest.approx(1.0, abs=1e-5)
    assert levels[2][1].sum() == 0  # nothing is coarser than the coarsest
    assert (levels[0][1].sum() > 0) == (variant != "ms_sts_intra")
    maps = temporal_maps(record, (64, 96))["ms_sts"]
    assert maps.shape == (FRAMES, 64, 96) and maps.sum() == pytest.approx(1.0, abs=1e-4)
    assert maps[:, int(0.6 * 64), int(0.3 * 96)].min() > 0


@pytest.mark.parametrize("variant", ["ms_sts", "ms_sts_two_way", "ms_sts_cascade"])
def test_the_kept_rows_are_those_of_the_attention_of_all_tokens(variant: str, frames_T3HW: torch.Tensor) -> None:
    model, weights = small_model(variant), list[tuple[ObservableAttention, Tensor]]()
    for layer in model.encoder.layers:
        for declared in declared_attention(layer.branches["ms_sts"]):
            declared.attend.register_forward_hook(
                lambda _, inputs, __, declared=declared: weights.append((declared, attention_weights(*inputs)))
            )
    _, record = run_and_record(model, frames_T3HW, *TOKEN)
    starts, expected = (0, 96, 120), dict[int, list[Tensor]]()  # of the levels of 8x12, 4x6 and 2x3 tokens
    for declared, weights_SMTK in weights:
        for level in range(3)[declared.levels]:
            token = token_indices(record.shapes, TOKEN[1])[level] - starts[range(3)[declared.levels].start]
            row = weights_SMTK[token, :, TOKEN[0]].mean(0)
            expected.setdefault(level, []).append(torch.nn.functional.pad(row, (0, 2 * FRAMES - len(row))))
    assert set(record.branches["ms_sts"]) == set(expected) == {0, 1, 2}
    for level, rows in expected.items():
        torch.testing.assert_close(torch.stack(record.branches["ms_sts"][level]), torch.stack(rows))


def test_a_masked_frame_gets_no_attention_in_the_kept_rows(frames_T3HW: torch.Tensor) -> None:
    class Masked(Uniform):
        def forward(self, tokens_BTSC: Tensor, layout: object) -> Tensor:
            zeros = torch.zeros_like(tokens_BTSC).transpose(1, 2).flatten(0, 1)[:, None]
            self.attend(zeros, zeros, zeros, mask=torch.tensor([[True, True, False]]))
            return torch.zeros_like(tokens_BTSC)

    _, record = run_and_record(with_branch("baseline", Masked()), frames_T3HW, *TOKEN)
    own, _ = temporal_weights(record.branches["own"])[0]
    torch.testing.assert_close(own, torch.tensor([0.5, 0.5, 0.0]))


def test_a_model_without_the_module_has_no_temporal_map(frames_T3HW: torch.Tensor) -> None:
    _, record = run_and_record(small_model("temporal"), frames_T3HW, *TOKEN)
    assert temporal_maps(record, (64, 96)) == {}


def test_places_are_found_in_the_tokens_of_each_level() -> None:
    assert token_indices(((4, 6), (2, 3)), (0.0, 0.0)) == [0, 24]
    assert token_indices(((4, 6), (2, 3)), (0.99, 0.99)) == [23, 29]
    assert token_indices(((4, 6), (2, 3)), (0.5, 0.3)) == [6 + 3, 24 + 1]
    footprint = cell_footprint((2, 3), (0.5, 0.3), (4, 6))
    expected = torch.zeros(4, 6)
    expected[0:2, 2:4] = 0.25
    assert torch.equal(footprint, expected)


class Silent(nn.Module):
    """A branch with attention of a shape of its own, zero output, and nothing to show."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = ScaledDotProduct()

    def forward(self, tokens_BTSC: Tensor, layout: object) -> Tensor:
        over_tokens = tokens_BTSC.flatten(1, 2)[:, None]
        return 0 * self.attend(over_tokens, over_tokens, over_tokens).view(tokens_BTSC.shape)


class Uniform(Silent):
    """A branch with the same attention to every frame, which it declares."""

    levels: slice = slice(None)

    def forward(self, tokens_BTSC: Tensor, layout: object) -> Tensor:
        zeros = torch.zeros_like(tokens_BTSC).transpose(1, 2).flatten(0, 1)[:, None]
        self.attend(zeros, keys=zeros, values=zeros)
        return torch.zeros_like(tokens_BTSC)

    def observable_attention(self) -> list[ObservableAttention]:
        return [ObservableAttention(self.attend, levels=self.levels)]


def with_branch(variant: str, branch: nn.Module) -> nn.Module:
    model = small_model(variant)
    for layer in model.encoder.layers:
        layer.branches["own"] = branch
    return model


def test_a_branch_without_declaration_leaves_the_maps_unchanged(frames_T3HW: torch.Tensor) -> None:
    _, before = run_and_record(small_model("ms_sts"), frames_T3HW, *TOKEN)
    _, after = run_and_record(with_branch("ms_sts", Silent()), frames_T3HW, *TOKEN)
    assert set(temporal_maps(after, (64, 96))) == {"ms_sts"}
    assert torch.equal(temporal_maps(after, (64, 96))["ms_sts"], temporal_maps(before, (64, 96))["ms_sts"])
    assert torch.equal(query_map(after, 2, (16, 24)), query_map(before, 2, (16, 24)))


def test_a_branch_that_declares_attention_has_a_map_of_its_own(frames_T3HW: torch.Tensor) -> None:
    _, before = run_and_record(small_model("ms_sts"), frames_T3HW, *TOKEN)
    _, record = run_and_record(with_branch("ms_sts", Uniform()), frames_T3HW, *TOKEN)
    maps = temporal_maps(record, (64, 96))
    assert torch.equal(maps["ms_sts"], temporal_maps(before, (64, 96))["ms_sts"])
    torch.testing.assert_close(maps["own"].sum((1, 2)), torch.full((FRAMES,), 1 / FRAMES))


def test_attention_confined_to_its_own_frame_has_nothing_to_show(frames_T3HW: torch.Tensor) -> None:
    _, record = run_and_record(small_model("ms_sts_own_frame"), frames_T3HW, *TOKEN)
    assert record.branches == {}


def test_a_declaration_of_another_shape_is_named(frames_T3HW: torch.Tensor) -> None:
    branch = Uniform()
    branch.levels = slice(-1, None)
    expected = r"encoder branch own: .*\(126, 1, 3, 3\).*\(6, heads, 3, 3\)"
    with pytest.raises(InputError, match=expected):
        run_and_record(with_branch("baseline", branch), frames_T3HW, *TOKEN)
