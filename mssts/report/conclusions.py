"""What may be concluded from the differences of a study, in sentences computed from the numbers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from mssts.evaluation.statistics import MIN_SEEDS, MIN_VIDEOS, least_p
from mssts.report.formats import interval_text, plural, signed
from mssts.study.differences import Difference
from mssts.study.runs import ALL_INSTANCES, Benchmark, StudyRuns

CONTROL_SPLIT = "control"


def conclusions(runs: StudyRuns, found: list[Difference]) -> list[str]:
    """Sentences on the seeds, on every measure of each benchmark, and on what the intervals mean."""
    if not found:
        return ["The study has no variant beside a baseline, so there is no difference to judge."]
    measured = [difference for difference in found if difference.mean is not None]
    if not measured:
        return ["No pair of a variant and the baseline has been run: nothing can be concluded."]
    judged = [difference for difference in measured if difference.intervals]
    return [
        *_seed_sentences(judged),
        *(
            sentence
            for key, own in groupby(measured, lambda one: one.benchmark)
            for sentence in _verdicts(runs, key, own)
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


def _verdicts(runs: StudyRuns, benchmark: Benchmark, own: Iterable[Difference]) -> list[str]:
    """A sentence for each measure in which a variant differs, one for the other measures, one for too small ones."""
    where = _where(runs, benchmark)
    sentences, undecided, small = [], [], []
    for _, group in groupby(own, lambda one: one.measure):
        family = list(group)
        title = _title(family[0])
        if not family[0].size.is_enough:
            small.append(title)
        elif any(one.excludes_zero for one in family):
            sentences.append(f"{where}, {title}: {_decided(runs, family)}.")
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


def _decided(runs: StudyRuns, family: list[Difference]) -> str:
    """The variants whose interval excludes zero, and the number of the others."""
    sides: dict[str, list[str]] = {"above": [], "below": []}
    for one in family:
        if one.intervals and one.mean is not None and one.excludes_zero:
            interval = one.intervals.simultaneous
            text = f"“{runs.study.titles[one.variant]}” {signed(one.mean)} {interval_text(interval)}"
            sides["above" if interval.low > 0 else "below"].append(text)
    parts = [f"{side} the baseline, interval excludes zero: {', '.join(own)}" for side, own in sides.items() if own]
    rest = len(family) - sum(map(len, sides.values()))
    return "; ".join([*parts, *([f"interval includes zero: {rest} of {len(family)}"] if rest else [])])


def _absent_sentence(runs: StudyRuns, found: list[Difference]) -> list[str]:
    shown = {difference.measure.subset for difference in found}
    absent = [name for name in runs.study.spec.announced if name not in shown]
    return [f"Announced challenges that no instance shows: {', '.join(absent)}."] if absent else []


def _meaning(judged: list[Difference]) -> str:
    outside = sum(difference.excludes_zero for difference in judged)
    return (
        f"{outside} of {len(judged)} intervals exclude zero. The intervals of a dataset, split and backbone "
        "hold at once: if no variant had an effect, none of them would exclude zero with a probability of about 95 %. "
        "An interval describes how the trained models would compare on other videos of the same kind; it says nothing "
        "about other trainings, other data or the official benchmark."
    )
