"""The numbers that are written in the figures of the PDF; what is left must be the ticks of axes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from tests.report.traced.challenges import shown_most
from tests.report.traced.expected import Recomputed, plural
from tests.report.traced.maps import Maps
from tests.report.traced.shown import NUMBER, numbers_in, rounds_to
from tests.report.traced.statistics import FEWEST_VIDEOS
from tests.report.traced.study import SEEDS, SHOWN, SPLITS, TITLES, VARIANTS

Pattern = list[str | float]
"""Strings that follow each other in a figure; a number stands for a string that it rounds to."""
NOT_RESULTS = re.compile(
    r"precision at IoU 0\.7?5|frame \d+(, degraded)?|.* \(percentage points\), 95 % intervals over videos"
    r"|\d+ %(?: \(uniform \d+ %\))?"  # attention to single frames, which only the model can tell
)
_STEPS = (1, 2, 2.5, 5)  # between ticks, times a power of ten


def wrong_figures(figures: list[list[str]], patterns: list[Pattern], labels: set[str]) -> list[object]:
    """What figures lack, and their numbers that are not explained."""
    left, wrong = explained(figures, patterns)
    for rest in left:
        wrong += [text for text in rest if numbers_in(text) and not NUMBER.fullmatch(text) and text not in labels]
        for bare, own in groupby(rest, key=lambda text: bool(NUMBER.fullmatch(text))):
            wrong += _no_ticks([float(numbers_in(text)[0]) for text in own]) if bare else []
    return wrong


def explained(figures: list[list[str]], patterns: list[Pattern]) -> tuple[list[list[str]], list[object]]:
    """The strings of figures without the patterns and what is no result, and the patterns that are missing."""
    left, missing = [list(strings) for strings in figures], []
    for pattern in patterns:
        if not any(_taken(strings, pattern) for strings in left):
            missing.append(("missing", pattern))
    return [[text for text in strings if not NOT_RESULTS.fullmatch(text)] for strings in left], missing


def _taken(strings: list[str], pattern: Pattern) -> bool:
    """Take a pattern out of the strings of a figure, if it is there."""
    for start in range(len(strings) - len(pattern) + 1):
        own = strings[start : start + len(pattern)]
        if all(map(_is, own, pattern)):
            strings[start : start + len(pattern)] = [""]
            return True
    return False


def _is(text: str, expected: str | float) -> bool:
    if isinstance(expected, str):
        return text == expected
    return bool(NUMBER.fullmatch(text)) and rounds_to(expected, numbers_in(text)[0])


def _no_ticks(values: list[float]) -> list[object]:
    """Numbers in a sequence that are not in evenly spaced runs, as the ticks of axes are."""
    single, start = [], 0
    while start < len(values):
        end = start + 2
        while end < len(values) and np.isclose(values[end] - values[end - 1], values[start + 1] - values[start]):
            end += 1
        step = values[start + 1] - values[start] if end <= len(values) else 0.0
        if step <= 0 or not np.isclose(step / 10 ** np.floor(np.log10(step) + 1e-6), _STEPS).any():
            single.append(values[start])
        start = end
    return single


def patterns_of(recomputed: Recomputed, maps: Maps) -> Iterator[Pattern]:
    """What must be written in some figure."""
    valid = {variant: recomputed.of(SPLITS[0], variant) for variant in VARIANTS}
    means = [float(np.mean([one.ap() for one in own])) for own in valid.values()]
    yield [TITLES[VARIANTS[-1]], *means]
    yield [*means, "all instances"]
    for name in recomputed.challenges:
        values = [float(np.mean([one.ap(name) for one in own])) for own in valid.values()]
        size = plural(recomputed.external.size(name)[1], "instance")
        yield [*values, name.replace("_", " "), size]
    yield from _confusion(recomputed)
    for split in SPLITS:
        for family in recomputed.families[split].values():
            for videos, instances in family.sizes.values():
                yield [f"{plural(videos, 'video')}, {plural(instances, 'instance')}"]
                yield from [[f"only {plural(videos, 'video')}"]] * (3 if videos < FEWEST_VIDEOS else 0)
    yield from _chosen(recomputed)
    pair = [recomputed.evaluations[SPLITS[0], variant, SEEDS[0]] for variant in SHOWN]
    found = [set(one.ranking(None).matched_TN[0].tolist()) for one in pair]
    for _, _, n in shown_most(recomputed.external, []):
        for variant, own in zip(SHOWN, found, strict=True):
            share = maps.of[variant, SEEDS[0]][n]
            yield [f"{TITLES[variant]}: AUROC {share:.2f}, {'found' if n in own else 'not found'}"]


def _confusion(recomputed: Recomputed) -> Iterator[Pattern]:
    for variant in SHOWN:
        own = recomputed.of(SPLITS[0], variant)
        names = list(own[0].categories.values())
        order = [names.index(name) for name in sorted(names)]
        counts_KC = sum(one.found_as() for one in own)[order][:, [*order, len(order)]]
        shares_KC = 100 * counts_KC / counts_KC.sum(axis=1, keepdims=True)
        yield [*shares_KC.ravel().tolist(), f"{TITLES[variant]}, {plural(len(own), 'seed')}"]
        if variant == SHOWN[0]:
            sizes = counts_KC.sum(axis=1) // len(own)
            yield [f"{name} ({size})" for name, size in zip(sorted(names), sizes, strict=True)]


def _chosen(recomputed: Recomputed) -> Iterator[Pattern]:
    """Headings of the videos that the rules choose."""
    for rule, video in _videos(recomputed).items():
        shares = [100 * share for share in _shares(recomputed, video)]
        number = recomputed.external.videos[video]["id"]
        yield [f"{rule}: video {number}; found: B {shares[0]:.0f} %, V {shares[1]:.0f} %"]


def _shares(recomputed: Recomputed, video: int) -> list[float]:
    return [recomputed.evaluations[SPLITS[0], variant, SEEDS[0]].found_share(video) or 0.0 for variant in SHOWN]


def _videos(recomputed: Recomputed) -> dict[str, int]:
    truth = recomputed.external
    shares = {v: _shares(recomputed, v) for v in range(len(truth.videos)) if truth.ranking(None).instances_V[v]}
    gains = {v: round(variant - baseline, 6) for v, (baseline, variant) in shares.items()}
    chosen = {"Largest gain of the variant": max(gains, key=lambda v: gains[v])}
    chosen["Largest loss of the variant"] = min(gains, key=lambda v: gains[v])
    for rule in ("Best", "Median", "Worst"):
        left = [v for v in shares if v not in chosen.values()]
        ordered = sorted(left, key=lambda v: round(sum(shares[v]), 6))
        best = max(left, key=lambda v: round(sum(shares[v]), 6))
        chosen[rule] = {"Best": best, "Median": ordered[(len(left) - 1) // 2], "Worst": ordered[0]}[rule]
    return chosen


def labels_of(recomputed: Recomputed) -> set[str]:
    """Category and score of each prediction in the videos that the rules choose."""
    own = [recomputed.evaluations[SPLITS[0], variant, SEEDS[0]] for variant in SHOWN]
    return {
        f"{one.categories[entry['category_id']]} {entry['score']:.2f}"
        for one in own
        for video in _videos(recomputed).values()
        for entry in (one.entries[n] for n in one.overlaps[video].entries)
        if entry["score"] >= 0.3
    }
