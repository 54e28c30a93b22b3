"""What may be concluded from the differences of a study, in sentences computed from the numbers."""

from __future__ import annotations

from itertools import groupby

from mssts.evaluation.statistics import MIN_SEEDS
from mssts.report.formats import interval_text, plural
from mssts.study.differences import Difference
from mssts.study.runs import Benchmark, StudyRuns

SIGNIFICANCE_LEVEL = 0.05
CONTROL_SPLIT = "control"


def conclusions(runs: StudyRuns, found: list[Difference]) -> list[str]:
    """Sentences on the seeds, on the AP of each split, on the challenges, and on what chance alone would give."""
    if not found:
        return ["The study has no variant beside a baseline, so there is no difference to judge."]
    found = [difference for difference in found if difference.interval]
    if not found:
        return ["No pair of a variant and the baseline has been run: nothing can be concluded."]
    return [*_seed_sentences(runs, found), *_benchmark_sentences(runs, found), _chance_sentence(found)]


def _seed_sentences(runs: StudyRuns, found: list[Difference]) -> list[str]:
    sentences = []
    for seeds in sorted({difference.seeds for difference in found}):
        least = min(1.0, 2 / 2**seeds)
        if seeds < MIN_SEEDS:
            sentences.append(
                f"With {plural(seeds, 'seed')} per variant a two-sided sign-flip test over seeds cannot reach 5 % "
                f"(its smallest p is {least:.2g}), so no difference here can be separated from the variation between "
                "training runs; the intervals cover the choice of videos only."
            )
            continue
        tested = [(d.benchmark, d.measure) for d in found if d.p is not None]
        family = max(map(tested.count, tested), default=0)
        corrected = min(1.0, least * family)
        reach = "can reach 5 %" if corrected <= SIGNIFICANCE_LEVEL else "cannot reach 5 %"
        sentences.append(
            f"With {plural(seeds, 'seed')} the smallest p of a two-sided sign-flip test is {least:.2g}, after Holm's "
            f"correction over {plural(family, 'comparison')} {corrected:.2g}: one variant alone {reach} corrected."
        )
        significant = [d for d in found if d.p_holm is not None and d.p_holm <= SIGNIFICANCE_LEVEL]
        if corrected <= SIGNIFICANCE_LEVEL:
            names = [f"{_title(runs, d)} ({d.benchmark.split}, {d.measure.title})" for d in significant]
            sentences.append(f"Significant at 5 % over seeds after correction: {', '.join(names) or 'none'}.")
    return sentences


def _title(runs: StudyRuns, difference: Difference) -> str:
    return f"“{runs.study.titles[difference.variant]}”"


def _benchmark_sentences(runs: StudyRuns, found: list[Difference]) -> list[str]:
    """For each benchmark a sentence per measure in which a variant differs, and one for the other measures."""
    sentences = []
    for benchmark, own in groupby(found, lambda difference: difference.benchmark):
        where = _where(runs, benchmark)
        inconclusive = []
        for measure, family in groupby(own, lambda difference: difference.measure):
            if text := _significant(runs, list(family)):
                sentences.append(f"{where}, {measure.title}: {text}.")
            else:
                inconclusive.append(measure.title)
        if inconclusive:
            sentences.append(f"{where}, {', '.join(inconclusive)}: no interval excludes zero.")
    return sentences


def _where(runs: StudyRuns, benchmark: Benchmark) -> str:
    control = " (negative control: other frames hold no information)" if benchmark.split == CONTROL_SPLIT else ""
    backbone = f", {benchmark.backbone}" if len(runs.study.spec.backbones) > 1 else ""
    return f"On {benchmark.dataset}, {benchmark.split} split{control}{backbone}"


def _significant(runs: StudyRuns, family: list[Difference]) -> str:
    """The variants whose interval excludes zero, in words; empty if there is none."""
    sides: dict[str, list[str]] = {"above": [], "below": []}
    for difference in family:
        if (interval := difference.interval) and interval.excludes_zero:
            text = f"{_title(runs, difference)} {interval_text(interval)}"
            sides["above" if interval.low > 0 else "below"].append(text)
    parts = [f"{side} the baseline, interval excludes zero: {', '.join(own)}" for side, own in sides.items() if own]
    rest = len(family) - sum(map(len, sides.values()))
    if parts and rest:
        parts.append(f"interval includes zero: {rest} of {len(family)}")
    return "; ".join(parts)


def _chance_sentence(found: list[Difference]) -> str:
    outside = sum(bool(difference.interval and difference.interval.excludes_zero) for difference in found)
    return (
        f"{outside} of {plural(len(found), 'interval')} exclude zero; without any effect, about "
        f"{SIGNIFICANCE_LEVEL * len(found):.1f} would by chance. An interval describes how the trained models would "
        "compare on other videos of the same kind; it says nothing about other trainings, other data or the official "
        "benchmark."
    )
