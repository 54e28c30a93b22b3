"""Contrasts of variants against effects computed by hand."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssts.study.contrasts import FACTORS, Contrast, contrasts, factorial
from mssts.study.resolve import ResolvedStudy, load_study

ABLATIONS = Path(__file__).resolve().parents[2] / "ablations"
EIGHT = (
    *("baseline", "ms_sts", "temporal", "fgbg"),
    *("ms_sts_temporal", "ms_sts_fgbg", "temporal_fgbg", "ms_sts_temporal_fgbg"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return shutil.copytree(ABLATIONS, tmp_path / "ablations")


def study(root: Path, *variants: str) -> ResolvedStudy:
    """A study of these variants."""
    text = (root / "studies/smoke.yaml").read_text()
    listed = text.replace("[baseline, ms_sts_temporal_fgbg]", f"[{', '.join(variants)}]")
    (root / "studies/own.yaml").write_text(listed)
    return load_study("own", root)


def effects(root: Path, values: dict[str, float]) -> dict[str, float]:
    """Effects of a study whose variants have these values."""
    found = factorial(study(root, *values)).effects()
    return {
        effect.name: float(effect.of({name: np.float64(value) for name, value in values.items()})) for effect in found
    }


def test_effects_of_a_2x2_design_are_those_by_hand(root: Path) -> None:
    # MS-STS: (15 - 10 + 14 - 12) / 2; temporal: (12 - 10 + 14 - 15) / 2; interaction: (14 - 12) - (15 - 10)
    values = {"baseline": 10, "ms_sts": 15, "temporal": 12, "ms_sts_temporal": 14}
    assert effects(root, values) == {"MS-STS": 3.5, "temporal": 0.5, "MS-STS x temporal": -3}


def test_effects_of_a_2x2x2_design_are_those_by_hand(root: Path) -> None:
    values = dict(zip(EIGHT, (20, 23, 19, 18, 25, 20, 16, 30), strict=True))
    assert effects(root, values) == {
        "MS-STS": (3 + 6 + 2 + 14) / 4,  # alone, with temporal, with fg-bg, with both
        "temporal": (-1 + 2 - 2 + 10) / 4,
        "fg-bg": (-2 - 3 - 3 + 5) / 4,
        "MS-STS x temporal": ((6 - 3) + (14 - 2)) / 2,  # without and with fg-bg
        "MS-STS x fg-bg": ((2 - 3) + (14 - 6)) / 2,
        "temporal x fg-bg": ((-2 + 1) + (10 - 2)) / 2,
        "MS-STS x temporal x fg-bg": (14 - 2) - (6 - 3),
    }


def test_pairs_are_those_that_an_effect_is_the_mean_of(root: Path) -> None:
    pairs = {one.name: one.pairs for one in contrasts(study(root, *EIGHT))}
    assert (pairs["MS-STS"], pairs["MS-STS x fg-bg"], pairs["MS-STS x temporal x fg-bg"], pairs["ms_sts"]) == (
        4,
        2,
        1,
        1,
    )


@pytest.mark.long
@given(st.tuples(*[st.floats(-50, 50)] * 4))
def test_an_additive_model_has_its_terms_as_main_effects_and_exactly_no_interaction(terms: tuple[float, ...]) -> None:
    base, *gains = terms
    design = factorial(load_study("ablation", ABLATIONS))
    gain = dict(zip(FACTORS, gains, strict=True))
    values = {variant: np.float64(base + sum(gain[name] for name in on)) for on, variant in design.variants.items()}
    found = {effect.name: float(effect.of(values)) for effect in design.effects()}
    for name in FACTORS:
        assert found.pop(name) == pytest.approx(gain[name], abs=1e-9)
    assert set(found.values()) == {0.0}  # not 1e-15, of which a bootstrap would make an interval without zero


def test_weights_sum_to_zero_and_effects_are_orthogonal(root: Path) -> None:
    own = study(root, *EIGHT, "ms_sts_own_frame")
    found = contrasts(own)
    assert [one.kind for one in found] == ["effect"] * 7 + ["difference"] * 8
    assert all(sum(one.weights.values()) == 0 for one in found)
    for one, other in itertools.combinations(factorial(own).effects(), 2):
        assert sum(one.weights[variant] * other.weights[variant] for variant in EIGHT) == 0


def test_a_difference_is_a_contrast_of_two(root: Path) -> None:
    [only] = contrasts(study(root, "baseline", "ms_sts"))
    assert only == Contrast("difference", "ms_sts", "MS-STS", {"ms_sts": 1, "baseline": -1})
    assert only.of({"baseline": np.array([1.0, 2.0]), "ms_sts": np.array([4.0, np.nan])}).tolist()[0] == 3


def test_levels_follow_from_the_configuration_and_not_from_the_name(root: Path) -> None:
    shutil.move(root / "variants/ms_sts_temporal.yaml", root / "variants/both.yaml")
    shutil.copy(root / "variants/ms_sts_own_frame.yaml", root / "variants/ms_sts_temporal.yaml")
    assert factorial(study(root, "baseline", "ms_sts", "temporal", "ms_sts_temporal")).factors == ()
    design = factorial(study(root, "baseline", "ms_sts", "ms_sts_temporal", "both", "temporal"))
    assert design.factors == ("MS-STS", "temporal")
    assert design.variants[frozenset({"MS-STS", "temporal"})] == "both"
    assert "ms_sts_temporal" not in design.variants.values()


def test_a_change_that_repeats_the_value_of_the_scale_changes_nothing(root: Path) -> None:
    variant = root / "variants/temporal.yaml"
    variant.write_text(variant.read_text() + "  model.decoder.temporal.width: 16\n")
    design = ("baseline", "ms_sts", "temporal", "ms_sts_temporal")
    assert "temporal: {width: 16" in (root / "scales/smoke.yaml").read_text()
    assert factorial(study(root, *design)).factors == ("MS-STS", "temporal")
    variant.write_text(variant.read_text().replace("width: 16", "width: 32"))
    assert factorial(study(root, *design)).factors == ()


def test_a_contribution_that_the_scale_turns_on_is_no_factor_until_a_variant_turns_it_off(root: Path) -> None:
    scale = root / "scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("temporal: {", "temporal: {enabled: true, "))
    for name in ("ms_sts", "fgbg", "ms_sts_fgbg"):
        assert (root / f"variants/{name}.yaml").is_file()
    design = factorial(study(root, "baseline", "ms_sts", "fgbg", "ms_sts_fgbg"))
    assert design.factors == ("MS-STS", "fg-bg") == design.varied
    assert design.variants[frozenset({"temporal"})] == "baseline"


def test_the_largest_design_is_taken_and_what_it_leaves_out_is_named(root: Path) -> None:
    two = factorial(study(root, "baseline", "ms_sts", "temporal", "fgbg", "ms_sts_fgbg", "ms_sts_temporal"))
    assert two.factors == ("MS-STS", "temporal")  # of two designs with two factors the first
    assert two.varied == ("MS-STS", "temporal", "fg-bg")
    assert set(two.missing) == {frozenset({"temporal", "fg-bg"}), frozenset(FACTORS)}
    whole = factorial(study(root, *reversed(EIGHT), "ms_sts_intra"))
    assert (whole.factors, whole.missing, len(whole.variants)) == (tuple(FACTORS), (), 8)
    chain = factorial(study(root, "baseline", "ms_sts", "ms_sts_temporal", "ms_sts_temporal_fgbg"))
    assert (chain.factors, chain.effects(), len(chain.missing)) == ((), [], 4)
    one = factorial(study(root, "baseline", "ms_sts", "ms_sts_inter", "ms_sts_cascade"))
    assert (one.factors, one.varied, one.missing) == ((), ("MS-STS",), ())


def test_without_the_baseline_there_is_no_contrast(root: Path) -> None:
    assert contrasts(study(root, *EIGHT[1:])) == []
