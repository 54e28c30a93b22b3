"""Contrasts of a study's variants: effects of a factorial design, and differences to the baseline.

A contrast is a sum over variants of a weight times the variant's metric; the weights add up to zero. The factors of the
design are the contributions, each on or off [ours]:

- Main effect of A: the mean, over all settings of the other factors, of the metric with A minus that without A.
- Interaction A x B: the effect of A with B on minus that with B off, as a mean over the settings of the third factor.
- Interaction A x B x C: the interaction A x B with C on minus that with C off.

So every effect has the unit of a difference, and all interactions of an additive model are zero. With equal and
independent errors of the variants, a main effect of three factors has a quarter of the variance of a single difference,
an interaction of two of them the same variance, and that of three four times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal

import numpy as np

from mssts.config import MAPPING_KEYS, leaves
from mssts.study.resolve import BASELINE, ResolvedStudy

FACTORS = {
    "MS-STS": "model.encoder.ms_sts.enabled",
    "temporal": "model.decoder.temporal.enabled",
    "fg-bg": "loss.foreground_background.enabled",
}
"""The contributions, and the key that switches each."""

Kind = Literal["effect", "difference"]
KINDS: tuple[Kind, Kind] = ("effect", "difference")
_DECIMALS = 10  # of percentage points: in a sum of eight terms, rounding errors would remain where a contrast is zero


@dataclass(frozen=True)
class Contrast:
    """A linear contrast of variants.

    Attributes:
        kind: Effect of a factorial design, or difference to the baseline.
        name: Factors of the effect, or name of the variant.
        title: Name for readers.
        weights: {variant: weight}; they add up to zero.
        pairs: Number of pairs that an effect is the mean of: of a variant with and one without the contribution, or of
            two effects for an interaction. 1 for a difference.
    """

    kind: Kind
    name: str
    title: str
    weights: Mapping[str, float]
    pairs: int = 1

    def of(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The contrast of values in percent, which may have any one shape, of at least its variants."""
        total = sum(weight * values[variant] for variant, weight in self.weights.items())
        return np.round(np.asarray(total), _DECIMALS)


@dataclass(frozen=True)
class Factorial:
    """The factorial design that a study holds.

    Attributes:
        varied: The contributions that the study varies.
        factors: Those of them whose combinations are all among its variants; empty, or at least two.
        variants: {contributions that are on: variant} of these combinations.
        missing: Combinations of all varied contributions that are not among the variants.
    """

    varied: tuple[str, ...]
    factors: tuple[str, ...]
    variants: Mapping[frozenset[str], str]
    missing: tuple[frozenset[str], ...]

    def effects(self) -> list[Contrast]:
        """Main effects, then interactions."""
        effects = []
        for names in (names for count in range(len(self.factors)) for names in combinations(self.factors, count + 1)):
            pairs = 2 ** (len(self.factors) - len(names))
            weights = {variant: (-1) ** len(set(names) - on) / pairs for on, variant in self.variants.items()}
            effects.append(Contrast("effect", title := " x ".join(names), title, weights, pairs))
        return effects


def factorial(study: ResolvedStudy) -> Factorial:
    """Find the largest full factorial design of a study.

    A variant belongs to a design if its resolved configuration equals the baseline's but for the keys of `FACTORS`.
    Of designs with equally many factors that with the first in the order of `FACTORS` is taken; factors outside of it
    are as in the baseline. A design of one factor is a difference, and none.
    """
    baseline = _values(study, BASELINE)
    cells: dict[frozenset[str], str] = {}
    for variant in study.variants:
        values = _values(study, variant)
        if all(values[key] == value for key, value in baseline.items() if key not in FACTORS.values()):
            cells.setdefault(frozenset(name for name, key in FACTORS.items() if values[key]), variant)
    start = frozenset(name for name, key in FACTORS.items() if baseline[key])
    varied = tuple(name for name in FACTORS if any(name in cell ^ start for cell in cells))
    missing = tuple(cell for cell in _settings(varied, start) if cell not in cells)
    for factors in chain(*(combinations(varied, count) for count in range(len(varied), 1, -1))):
        wanted = list(_settings(factors, start))
        if all(cell in cells for cell in wanted):
            return Factorial(varied, factors, {cell: cells[cell] for cell in wanted}, missing)
    return Factorial(varied, (), {}, missing)


def contrasts(study: ResolvedStudy) -> list[Contrast]:
    """The effects of a study, then the difference of each variant to the baseline; empty without the baseline."""
    if BASELINE not in study.variants:
        return []
    others = (variant for variant in study.variants if variant != BASELINE)
    differences = [Contrast("difference", name, study.titles[name], {BASELINE: -1.0, name: 1.0}) for name in others]
    return [*factorial(study).effects(), *differences]


def _values(study: ResolvedStudy, variant: str) -> dict[str, object]:
    return leaves(study.configs[variant].model_dump(), MAPPING_KEYS)


def _settings(factors: Sequence[str], start: frozenset[str]) -> Iterator[frozenset[str]]:
    """All combinations of the factors, the others as at the start."""
    for chosen in chain(*(combinations(factors, count) for count in range(len(factors) + 1))):
        yield (start - set(factors)) | set(chosen)
