"""What may be concluded from the differences of a study, in sentences computed from the numbers."""

from __future__ import annotations

from mssts.evaluation.statistics import MIN_SEEDS
from mssts.report.formats import plural, signed
from mssts.study.differences import WHOLE, Difference
from mssts.study.runs import StudyRuns

LEVEL = 0.05
CONTROL_SPLIT = "control"


def conclusions(runs: StudyRuns, found: list[Difference]) -> list[str]:
    """Sentences on the seeds, on the AP of each split, on the challenges, and on what chance alone would give."""
    measured = [difference for difference in found if difference.mean is not None]
    if not found:
        return ["The study has no variant beside a baseline, so there is no difference to judge."]
    if not measured:
        return ["No pair of a variant and the baseline has been run: nothing can be concluded."]
    return [*_on_seeds(runs, measured), *_on_places(runs, measured), _on_chance(measured)]


def _on_seeds(runs: StudyRuns, measured: list[Difference]) -> list[str]:
    sentences = []
    for seeds in sorted({difference.seeds for difference in measured}):
        least = min(1.0, 2 / 2**seeds)
        if seeds < MIN_SEEDS:
            sentences.append(
                f"With {plural(seeds, 'seed')} per variant a two-sided sign-flip test over seeds cannot reach 5 % "
                f"(its smallest p is {least:.2g}), so no difference here can be told from the luck of a training run; "
                "the intervals cover the choice of videos only."
            )
            continue
        family = max(
            sum(1 for other in measured if _measure(other) == _measure(difference) and other.p is not None)
            for difference in measured
        )
        corrected = min(1.0, least * family)
        reach = "can reach 5 %" if corrected <= LEVEL else "cannot reach 5 %"
        sentences.append(
            f"With {plural(seeds, 'seed')} the smallest p of a two-sided sign-flip test is {least:.2g}, after Holm's "
            f"correction over {plural(family, 'comparison')} {corrected:.2g}: one variant alone {reach} corrected."
        )
        significant = [d for d in measured if d.p_holm is not None and d.p_holm <= LEVEL]
        if corrected <= LEVEL:
            names = ", ".join(f"{_label(runs, d)} ({d.split}, {_name(d)})" for d in significant) or "none"
            sentences.append(f"Below 5 % over seeds after correction: {names}.")
    return sentences


def _measure(difference: Difference) -> tuple[str, ...]:
    return (difference.dataset, difference.split, difference.backbone, difference.subset, difference.metric)


def _name(difference: Difference) -> str:
    metric = difference.metric.replace("AP_agnostic", "class-agnostic AP")
    return metric if difference.subset == WHOLE else f"{metric} on {difference.subset}"


def _label(runs: StudyRuns, difference: Difference) -> str:
    return f"“{runs.titles[difference.variant]}”"


def _interval(runs: StudyRuns, difference: Difference) -> str:
    numbers = f"{signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]"
    return f"{_label(runs, difference)} {numbers}"


def _on_places(runs: StudyRuns, measured: list[Difference]) -> list[str]:
    """For each dataset, split and backbone a sentence per measure that tells variants apart, and one for the rest."""
    sentences = []
    for place in dict.fromkeys(_measure(difference)[:3] for difference in measured):
        words = _place_words(runs, place)
        undecided = []
        for measure in dict.fromkeys(_measure(d) for d in measured if _measure(d)[:3] == place):
            family = [difference for difference in measured if _measure(difference) == measure]
            told_apart = _told_apart(runs, family)
            if told_apart:
                sentences.append(f"{words}, {_name(family[0])}: {told_apart}.")
            else:
                undecided.append(_name(family[0]))
        if undecided:
            sentences.append(f"{words}, {', '.join(undecided)}: no variant can be told from the baseline.")
    return sentences


def _place_words(runs: StudyRuns, place: tuple[str, ...]) -> str:
    dataset, split, backbone = place
    words = f"On {dataset}, {split} split"
    if split == CONTROL_SPLIT:
        words += " (negative control: other frames hold no information)"
    return words + (f", {backbone}" if len(runs.study.backbones) > 1 else "")


def _told_apart(runs: StudyRuns, family: list[Difference]) -> str:
    """The variants whose interval excludes zero, in words; empty if there is none."""
    above = [_interval(runs, d) for d in family if d.low > 0]
    below = [_interval(runs, d) for d in family if d.high < 0]
    rest = len(family) - len(above) - len(below)
    parts = []
    if above:
        parts.append(f"above the baseline, interval excludes zero: {', '.join(above)}")
    if below:
        parts.append(f"below the baseline, interval excludes zero: {', '.join(below)}")
    if parts and rest:
        parts.append(f"not to be told from it: {rest} of {len(family)}")
    return "; ".join(parts)


def _on_chance(measured: list[Difference]) -> str:
    outside = sum(difference.low > 0 or difference.high < 0 for difference in measured)
    return (
        f"{outside} of {plural(len(measured), 'interval')} exclude zero; if nothing had an effect, about "
        f"{LEVEL * len(measured):.1f} would by chance. An interval speaks of the models trained here on other videos "
        "of this kind, not of other trainings, other data or the official benchmark."
    )
