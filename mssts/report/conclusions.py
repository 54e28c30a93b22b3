"""What may be concluded from the effects and differences of a study, in sentences computed from the numbers.

One rule, `verdict`, decides what sentences, figures and bold cells may say of a difference: they cannot disagree.
"""

from __future__ import annotations

from enum import Enum
from itertools import groupby

from mssts.evaluation.statistics import MIN_SEEDS, MIN_VIDEOS, least_p
from mssts.report.formats import interval_text, plural, signed
from mssts.study.contrasts import FACTORS, KINDS, Kind, factorial
from mssts.study.differences import Difference, Measure
from mssts.study.matrix import pretrain_seeds
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns

CONTROL_SPLIT = "control"
_MOST_MEASURES = 4  # that a sentence names with their variants
_MOST_NAMED = 5  # variants that a sentence on the first page names where it does not have to
_FAMILIES: dict[Kind, str] = {"effect": "effects of contributions", "difference": "differences to the baseline"}
_SIDES: dict[Kind, tuple[str, str]] = {
    "effect": ("above zero", "below zero"),
    "difference": ("above the baseline", "below the baseline"),
}


class Verdict(Enum):
    """What may be said of an effect or a difference."""

    NOT_RUN = "not run"
    TOO_FEW_VIDEOS = "no verdict"
    UNDECIDED = "undecided"
    ABOVE = "above"
    BELOW = "below"


DECIDED = (Verdict.ABOVE, Verdict.BELOW)


def verdict(one: Difference) -> Verdict:
    """The rule: only a simultaneous interval decides, by the side of zero on which it lies."""
    if one.mean is None:
        return Verdict.NOT_RUN
    if one.intervals is None:
        return Verdict.TOO_FEW_VIDEOS
    low, high = one.intervals.simultaneous
    return Verdict.ABOVE if low > 0 else Verdict.BELOW if high < 0 else Verdict.UNDECIDED


def answer(runs: StudyRuns, found: list[Difference]) -> list[str]:
    """Lines for the first page: what AP says on the first benchmark, effects first, on how much that rests, limits."""
    benchmark = runs.benchmarks()[0] if runs.study.spec.splits else None
    own = [one for one in found if one.benchmark == benchmark and one.measure == Measure(ALL_INSTANCES, "AP")]
    effects, in_ap = ([one for one in own if one.contrast.kind == kind] for kind in KINDS)
    measured = [one for one in in_ap if one.mean is not None]
    if benchmark is None or not measured:
        return conclusions(runs, found)[:1]
    where = _where(runs, benchmark)
    lines = [f"{where}, differences in AP to the baseline, in percentage points: {_found(in_ap, _MOST_NAMED)}."]
    if main := [one for one in effects if one.contrast.name in FACTORS]:
        interactions = [one for one in effects if one not in main]
        text = f"{where}, main effects on AP in percentage points: {_found(main, len(main))}."
        lines.insert(0, f"{text} Interactions: {_found(interactions, 0)}.")
    return [*lines, _basis(runs, measured), _limits([one for one in found if one.intervals])]


def _found(family: list[Difference], most_named: int) -> str:
    """What the intervals of one measure say; undecided ones are named if they are few, else counted."""
    named: dict[Verdict, list[str]] = {}
    for one in family:
        text = f"“{one.contrast.title}”"
        if one.mean is not None:
            text += f" {signed(one.mean)}" + (f" {interval_text(one.intervals.simultaneous)}" if one.intervals else "")
        named.setdefault(verdict(one), []).append(text)
    above, below = _SIDES[family[0].contrast.kind]
    openings = {
        Verdict.ABOVE: above,
        Verdict.BELOW: below,
        Verdict.UNDECIDED: "undecided, as the interval includes zero",
        Verdict.TOO_FEW_VIDEOS: f"no verdict, as fewer than {MIN_VIDEOS} videos are too few",
        Verdict.NOT_RUN: "not run",
    }
    total = str(len(family))
    shown = {key: _few(named[key], len(family) if key in DECIDED else most_named, total) for key in named}
    return "; ".join(f"{openings[key]}: {shown[key]}" for key in openings if key in shown)


def _few(names: list[str], most: int, total: str) -> str:
    """The names, or how many of the total they are if a sentence cannot hold them."""
    return ", ".join(names) if len(names) <= most else f"{len(names)} of {total}"


def _basis(runs: StudyRuns, measured: list[Difference]) -> str:
    size, seeds = measured[0].size, sorted({one.seeds for one in measured})
    count = plural(seeds[-1], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    text = (
        f"This rests on {plural(size.videos, 'video')} with {plural(size.instances, 'instance')}, and on {count} of "
        "each variant"
    )
    if starts := len(pretrain_seeds(runs.study, measured[0].benchmark.backbone)):
        text += f", trained from {plural(starts, 'pre-training')}"
    if seeds[-1] == 1:
        return f"{text}: it compares these trained models, and tells nothing about other trainings of the variants."
    same = [one for one in measured if one.mean and all(value * one.mean > 0 for value in one.by_seed)]
    names = [f"“{one.contrast.title}”" for one in same] or ["no variant"]
    agree = _few(names, _MOST_NAMED, plural(len(measured), "variant"))
    return f"{text}. The difference to the baseline has the same sign in every seed for: {agree}."


def _limits(judged: list[Difference]) -> str:
    texts = []
    for kind in KINDS:
        if own := [one for one in judged if one.contrast.kind == kind]:
            outside = sum(one.excludes_zero for one in own)
            where = f"Over all splits, measures and challenges {_share(outside, len(own))}"
            texts.append(f"{where} of {_FAMILIES[kind]} exclude zero{_which(own)}.")
    control = [one for one in judged if one.benchmark.split == CONTROL_SPLIT]
    if control:
        outside = sum(one.excludes_zero for one in control)
        texts.append(f"On the control split, which should show no gain, {_share(outside, len(control))} do.")
    texts.append("Nothing here is about other data, other sizes of model, or the official benchmark.")
    return " ".join(texts)


def _which(judged: list[Difference]) -> str:
    """The measures whose intervals exclude zero, with side and variants unless there are too many for a sentence."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in judged:
        if (said := verdict(one)) is not Verdict.UNDECIDED:
            found.setdefault((one.measure.title, said.value), []).append(f"“{one.contrast.title}”")
    if not found:
        return ""
    if len(found) > _MOST_MEASURES:
        return f": {', '.join(dict.fromkeys(title for title, _ in found))}"
    return ": " + "; ".join(
        f"{title} ({side}: {', '.join(dict.fromkeys(names))})" for (title, side), names in found.items()
    )


def _share(count: int, total: int) -> str:
    return f"{count} of {plural(total, 'simultaneous interval')}"


def design(runs: StudyRuns) -> str:
    """Which contributions have main effects and interactions, and which variants the others would need."""
    found = factorial(runs.study)
    missing = "; ".join(" + ".join(name for name in FACTORS if name in cell) or "none" for cell in found.missing)
    if found.factors:
        further = f" That of {_listed(found.varied)} would also need variants with: {missing}." if missing else ""
        combined = f"{len(found.variants)} variants combine {_listed(found.factors)} in a full factorial design."
        return combined + further
    if len(found.varied) < 2:
        return "Single differences only: the study varies fewer than two contributions."
    return (
        f"Single differences only: for main effects and interactions of {_listed(found.varied)} the study would also "
        f"need variants with: {missing}."
    )


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def conclusions(runs: StudyRuns, found: list[Difference]) -> list[str]:
    """Sentences on the seeds, on every measure of each benchmark, effects first, and on what the intervals mean."""
    if not found:
        return ["The study has no variant beside a baseline: there is no difference to judge."]
    measured = [difference for difference in found if difference.mean is not None]
    if not measured:
        return ["No pair of a variant and the baseline has been run: nothing can be concluded."]
    judged = [difference for difference in measured if difference.intervals]
    return [
        *_seed_sentences(judged),
        *(
            sentence
            for (benchmark, kind), own in groupby(found, lambda one: (one.benchmark, one.contrast.kind))
            for sentence in _verdicts(runs, benchmark, kind, list(own))
        ),
        *_absent_sentence(runs, found),
        *([_meaning(judged)] if judged else []),
    ]


def _seed_sentences(judged: list[Difference]) -> list[str]:
    sentences = []
    for seeds in sorted({difference.seeds for difference in judged}):
        if seeds == 1:
            sentences.append("With 1 seed per variant nothing is known about other trainings of a variant.")
            continue
        reach = "cannot reach 5 %" if seeds < MIN_SEEDS else "can reach 5 %"
        sentences.append(
            f"With {plural(seeds, 'seed')} the sign-flip test over seeds {reach}: its least p is {least_p(seeds):.2g}. "
            "Its p describes these seeds only: it is not corrected for the number of comparisons, and seeds that start "
            "from one pre-training share its luck."
        )
    return sentences


def _verdicts(runs: StudyRuns, benchmark: Benchmark, kind: Kind, own: list[Difference]) -> list[str]:
    """A sentence for each measure in which one differs, one for the other measures, one for too small ones."""
    where = f"{_where(runs, benchmark)}, {_FAMILIES[kind]}"
    measured = [one for one in own if one.mean is not None]
    if kind == "effect" and not measured:
        return [f"{where}: not run, as no seed has all {len(own[0].contrast.weights)} variants."]
    sentences, undecided, small = [], [], []
    for _, group in groupby(measured, lambda one: one.measure):
        family = list(group)
        title = _title(family[0])
        found = {verdict(one) for one in family}
        if Verdict.TOO_FEW_VIDEOS in found:
            small.append(title)
        elif found & set(DECIDED):
            sentences.append(f"{where}, {title}: {_decided(kind, family)}.")
        else:
            undecided.append(title)
    if undecided:
        sentences.append(f"{where}, undecided, as every interval includes zero: {'; '.join(undecided)}.")
    if small:
        sentences.append(f"{where}, no verdict, as fewer than {MIN_VIDEOS} videos are too few: {'; '.join(small)}.")
    return sentences


def _where(runs: StudyRuns, benchmark: Benchmark) -> str:
    control = " (negative control: other frames hold no information)" if benchmark.split == CONTROL_SPLIT else ""
    backbone = f", {benchmark.backbone}" if len(runs.study.spec.backbones) > 1 else ""
    return f"On {benchmark.dataset}, {benchmark.split} split{control}{backbone}"


def _title(one: Difference) -> str:
    announced = [] if one.measure.subset == ALL_INSTANCES else ["announced" if one.announced else "not announced"]
    size = [plural(one.size.videos, "video"), plural(one.size.instances, "instance")]
    return f"{one.measure.title} ({', '.join(announced + size)})"


def _decided(kind: Kind, family: list[Difference]) -> str:
    """The contrasts whose interval excludes zero, and the number of the others."""
    sides: dict[str, list[str]] = {side: [] for side in _SIDES[kind]}
    for one in family:
        if one.intervals and one.mean is not None and (said := verdict(one)) is not Verdict.UNDECIDED:
            text = f"“{one.contrast.title}” {signed(one.mean)} {interval_text(one.intervals.simultaneous)}"
            sides[_SIDES[kind][said is Verdict.BELOW]].append(text)
    parts = [f"{side}, interval excludes zero: {', '.join(own)}" for side, own in sides.items() if own]
    rest = len(family) - sum(map(len, sides.values()))
    return "; ".join([*parts, *([f"interval includes zero: {rest} of {len(family)}"] if rest else [])])


def _absent_sentence(runs: StudyRuns, found: list[Difference]) -> list[str]:
    shown = {difference.measure.subset for difference in found}
    absent = [name for name in runs.study.spec.announced if name not in shown]
    return [f"Announced challenges that no instance shows: {', '.join(absent)}."] if absent else []


def _meaning(judged: list[Difference]) -> str:
    counts = []
    for kind in KINDS:
        if own := [one for one in judged if one.contrast.kind == kind]:
            outside = sum(one.excludes_zero for one in own)
            counts.append(f"{outside} of {len(own)} intervals of {_FAMILIES[kind]} exclude zero.")
    return (
        f"{' '.join(counts)} Intervals of one kind on a dataset, split and backbone are simultaneous: if no variant "
        "had an effect, the probability that any of them excludes zero would be about 5 %. "
        "An interval describes how the trained models would compare on other videos of the same kind; it says nothing "
        "about other trainings, other data or the official benchmark."
    )
