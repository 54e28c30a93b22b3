"""The tables that a report must show, recomputed from the files of the runs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from tests.report.traced.evaluation import KINDS, Evaluation
from tests.report.traced.shown import Cell, Rows
from tests.report.traced.statistics import ANNOUNCED, CONTRASTS, FEWEST_VIDEOS, Estimate, Family, families
from tests.report.traced.study import (
    DATA,
    EXTERNAL,
    EXTERNAL_FILE,
    REPLICATES,
    RUNS,
    SEEDS,
    SPLITS,
    TITLES,
    VARIANTS,
)

METRICS = {
    "AP": {},
    "AP50": {"thresholds": [0]},
    "AP75": {"thresholds": [5]},
    "AR1": 1,
    "AR10": 10,
    "class-agn. AP": {"pooled": True},
    "box AP": {"boxes": True},
}
NO_VALUE = "-"


class Recomputed:
    """The numbers of the study in the working directory."""

    def __init__(self) -> None:
        self.evaluations = {
            (split, variant, seed): Evaluation(
                DATA / f"{split}.json", folder(variant, seed) / split / "predictions.json"
            )
            for split in SPLITS
            for variant, seeds in {"pretrain": SEEDS[:1], **dict.fromkeys(VARIANTS, SEEDS)}.items()
            for seed in seeds
        }
        self.external = Evaluation(DATA / "valid.json", EXTERNAL_FILE)

    def of(self, split: str, variant: str) -> list[Evaluation]:
        """A variant's evaluations, one for each seed."""
        return [one for (where, name, _), one in self.evaluations.items() if (where, name) == (split, variant)]

    @cached_property
    def families(self) -> dict[str, dict[str, Family]]:
        """For each split the effects and the differences."""
        chosen = {
            split: {run[1:]: one for run, one in self.evaluations.items() if run[0] == split and run[1] in VARIANTS}
            for split in SPLITS
        }
        return {split: families(of_split, REPLICATES, 0) for split, of_split in chosen.items()}

    @cached_property
    def tables(self) -> dict[tuple[str, ...], Rows]:
        """The rows of each table of results, by its columns."""
        return {
            ("Variant", "Seeds", *METRICS): self._results(),
            ("Effect", "Pairs", "Seeds", "Δ", "95 % interval", "pointwise", "p (least)"): self._contrasts("effect"),
            ("Variant", "Seeds", "Δ", "95 % interval", "pointwise", "p (least)"): self._contrasts("difference"),
            ("Variant", "Seeds", *(name.replace("_", " ") for name in self.challenges)): self._challenges(),
            ("Category", "Instances", *(TITLES[name] for name in VARIANTS)): self._categories(),
            ("Variant", "Seeds", *KINDS): self._errors(),
        }

    @cached_property
    def challenges(self) -> list[str]:
        """Names of the challenges."""
        return sorted(self.external.instances[0]["attributes"])

    def _rows(self, band: str) -> Iterable[tuple[tuple[str, str], str, list[Evaluation]]]:
        for split in SPLITS:
            for variant, title in TITLES.items():
                yield (
                    (f"{band}dataset synthvis, local {split} split, backbone tiny", title),
                    split,
                    self.of(split, variant),
                )

    def _results(self) -> Rows:
        rows: Rows = {
            key: [str(len(own)), *(spread(metric(one, name) for one in own) for name in METRICS)]
            for key, _, own in self._rows("This study: ")
        }
        cells = [(metric(self.external, name),) for name in METRICS if name != "box AP"]
        return rows | {_external("This study: "): [NO_VALUE, *cells, NO_VALUE]}

    def _challenges(self) -> Rows:
        rows: Rows = {}
        for (band, title), _, own in self._rows(""):
            sizes = [own[0].size(name)[1] for name in self.challenges]
            shown = zip(self.challenges, sizes, strict=True)
            cells = [spread(one.ap(name) for one in own) if count else NO_VALUE for name, count in shown]
            rows[band, title] = [str(len(own)), *cells]
            rows[band, "(instances)"] = ["", *map(str, sizes)]
        return rows

    def _categories(self) -> Rows:
        rows: Rows = {}
        for (band, _), split, own in self._rows(""):
            for number, (category, name) in enumerate(own[0].categories.items()):
                values = [spread(one.ap(category=category) for one in self.of(split, variant)) for variant in VARIANTS]
                rows[band, name] = [str(own[0].found_as()[number].sum()), *values]
        return rows

    def _errors(self) -> Rows:
        rows: Rows = {}
        for key, _, own in self._rows(""):
            gains = [one.error_gains() for one in own]
            rows[key] = [str(len(own)), *(spread(one[kind] for one in gains) for kind in KINDS)]
        gains = self.external.error_gains()
        return rows | {_external(""): [NO_VALUE, *((gains[kind],) for kind in KINDS)]}

    def _contrasts(self, kind: str) -> Rows:
        rows: Rows = {}
        for split in SPLITS:
            family = self.families[split][kind]
            for (measure, title), estimate in family.estimates.items():
                videos, instances = family.sizes[measure]
                size = f"{plural(videos, 'video')}, {plural(instances, 'instance')}"
                where = f"{measure}{announced(measure)}: {size}; dataset synthvis, local {split} split, backbone tiny"
                pairs = [str(sum(weight > 0 for weight in CONTRASTS[kind][title].values()))] if kind == "effect" else []
                pairs = ["1"] if pairs and " x " in title else pairs
                rows[where, title] = [*pairs, str(len(SEEDS)), *_estimate(estimate, videos)]
        return rows


def folder(variant: str, seed: int) -> Path:
    """Directory of a run."""
    return RUNS / variant / f"seed{seed}"


def metric(evaluation: Evaluation, name: str) -> float:
    """A column of the table of results, in percent."""
    how = METRICS[name]
    return evaluation.ar(how) if isinstance(how, int) else evaluation.ap(**how)


def spread(values: Iterable[float]) -> tuple[float, ...]:
    """Mean, and the sample standard deviation of several."""
    known = list(values)
    return (float(np.mean(known)), float(np.std(known, ddof=1))) if len(known) > 1 else tuple(known)


def plural(count: int, word: str) -> str:
    """A count with its noun."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def announced(measure: str) -> str:
    """What a heading says of a measure on a challenge."""
    _, on, challenge = measure.partition(" on ")
    return f", {'' if challenge in ANNOUNCED else 'not '}announced" if on else ""


def _external(band: str) -> tuple[str, str]:
    return f"{band}dataset synthvis, local valid split, external methods", f"{EXTERNAL} (external method)"


def _estimate(estimate: Estimate, videos: int) -> list[Cell]:
    if videos < FEWEST_VIDEOS:
        return [(estimate.mean,), "n too small", "n too small", NO_VALUE]
    return [(estimate.mean,), estimate.simultaneous, estimate.pointwise, (estimate.p, 2 / 2 ** len(SEEDS))]
