"""What may be concluded from the differences of a study, in sentences computed from the numbers."""

from __future__ import annotations

from mssts.evaluation.statistics import LEAST_SEEDS
from mssts.report.formats import interval_text, plural
from mssts.study.differences import WHOLE, Difference, Measure
from mssts.study.results import StudyResults
from mssts.study.runs import Benchmark

LEVEL = 0.05
CONTROL_SPLIT = "control"


def conclusions(results: StudyResults) -> list[str]:
    """Sentences on the seeds, on the AP of each split, on the challenges, and on what chance alone would give."""
    if not results.differences:
        return ["The study has no variant beside a baseline, so there is no difference to judge."]
    found = [difference for difference in results.differences if difference.interval]
    if not found:
        return ["No pair of a variant and the baseline has been run: nothing can be concluded."]
    return [*_on_seeds(results, found), *_on_benchmarks(results, found), _on_chance(found)]


def _on_seeds(results: StudyResults, found: list[Difference]) -> list[str]:
    sentences = []
    for seeds in sorted({difference.seeds for difference in found}):
        least = min(1.0, 2 / 2**seeds)
        if seeds < LEAST_SEEDS:
            sentences.append(
                f"With {plural(seeds, 'seed')} per variant a two-sided sign-flip test over seeds cannot reach 5 % "
                f"(its smallest p is {least:.2g}), so no difference here can be told from the luck of a training run; "
                "the intervals cover the choice of videos only."
            )
            continue
        tested = [(d.benchmark, d.measure) for d in found if d.p is not None]
        family = max(map(tested.count, tested), default=0)
        corrected = min(1.0, least * family)
        reach = "can reach 5 %" if corrected <= LEVEL else "cannot reach 5 %"
        sentences.append(
            f"With {plural(seeds, 'seed')} the smallest p of a two-sided sign-flip test is {least:.2g}, after Holm's "
            f"correction over {plural(family, 'comparison')} {corrected:.2g}: one variant alone {reach} corrected."
        )
        significant = [d for d in found if d.p_holm is not None and d.p_holm <= LEVEL]
        if corrected <= LEVEL:
            names = ", ".join(f"{_title(results, d)} ({d.split}, {_name(d.measure)})" for d in significant) or "none"
            sentences.append(f"Below 5 % over seeds after correction: {names}.")
    return sentences


def _name(measure: Measure) -> str:
    metric = measure.metric.replace("AP_agnostic", "class-agnostic AP")
    return metric if measure.subset == WHOLE else f"{metric} on {measure.subset}"


def _title(results: StudyResults, difference: Difference) -> str:
    return f"“{results.study.titles[difference.variant]}”"


def _on_benchmarks(results: StudyResults, found: list[Difference]) -> list[str]:
    """For each benchmark a sentence per measure that tells variants from the baseline, and one for the rest."""
    by_measure: dict[Benchmark, dict[Measure, list[Difference]]] = {}
    for difference in found:
        by_measure.setdefault(difference.benchmark, {}).setdefault(difference.measure, []).append(difference)
    sentences = []
    for benchmark, families in by_measure.items():
        where = _where(results, benchmark)
        undecided = []
        for measure, family in families.items():
            if distinguished := _distinguished(results, family):
                sentences.append(f"{where}, {_name(measure)}: {distinguished}.")
            else:
                undecided.append(_name(measure))
        if undecided:
            sentences.append(f"{where}, {', '.join(undecided)}: no variant can be told from the baseline.")
    return sentences


def _where(results: StudyResults, benchmark: Benchmark) -> str:
    control = " (negative control: other frames hold no information)" if benchmark.split == CONTROL_SPLIT else ""
    backbone = f", {benchmark.backbone}" if len(results.study.spec.backbones) > 1 else ""
    return f"On {benchmark.dataset}, {benchmark.split} split{control}{backbone}"


def _distinguished(results: StudyResults, family: list[Difference]) -> str:
    """The variants whose interval excludes zero, in words; empty if there is none."""
    sides: dict[str, list[str]] = {"above": [], "below": []}
    for difference in family:
        if (interval := difference.interval) and interval.excludes_zero:
            text = f"{_title(results, difference)} {interval_text(interval)}"
            sides["above" if interval.low > 0 else "below"].append(text)
    parts = [f"{side} the baseline, interval excludes zero: {', '.join(own)}" for side, own in sides.items() if own]
    rest = len(family) - sum(map(len, sides.values()))
    if parts and rest:
        parts.append(f"not to be told from it: {rest} of {len(family)}")
    return "; ".join(parts)


def _on_chance(found: list[Difference]) -> str:
    outside = sum(bool(difference.interval and difference.interval.excludes_zero) for difference in found)
    return (
        f"{outside} of {plural(len(found), 'interval')} exclude zero; if nothing had an effect, about "
        f"{LEVEL * len(found):.1f} would by chance. An interval speaks of the models trained here on other videos "
        "of this kind, not of other trainings, other data or the official benchmark."
    )
