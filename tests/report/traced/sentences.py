"""The numbers and verdicts in sentences and captions: each is recomputed, and what is left must be a known constant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import numpy as np

from tests.report.traced.challenges import shown_most
from tests.report.traced.expected import Recomputed, announced, plural
from tests.report.traced.shown import numbers_in, rounds_to
from tests.report.traced.statistics import FEWEST_VIDEOS, Family
from tests.report.traced.study import SCALE, SEEDS, SHOWN, SPLITS, STEPS, TITLES, VALIDATED, VARIANTS, run_folders

CONSTANTS = (
    *("95 % interval", "95 % bootstrap", "about 95 %", "5 %", "10 % of its records", "0.5 is chance", "50 is chance"),
    *("IoU of at least 0.5", "IoU of 0.5", "stride 8", "score of at least 0.3", "at least 20 detections", "SHA-256"),
    *(
        f"fewer than {FEWEST_VIDEOS} videos",
        f"none below {FEWEST_VIDEOS} videos",
        "fewer than the 6 from",
        f"seed {SEEDS[0]}",
    ),
)
"""What sentences say of the method, not of a result."""
KINDS = {"effect": "effects of contributions", "difference": "differences to the baseline"}
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_SIZE = r"(?:(?:not )?announced, )?\d+ videos?, \d+ instances?"
Claim = tuple[str, tuple[str | float | None, ...] | None]
"""A pattern, and what its groups must be: texts, or numbers that round to them. None: that is checked elsewhere."""


class Sentences:
    """Checks the sentences of a report.

    Attributes:
        wrong: What is not as expected, in words.
    """

    def __init__(self, recomputed: Recomputed) -> None:
        self._recomputed = recomputed
        self.wrong: list[str] = []

    def check(self, text: str) -> None:
        """Check a sentence or caption, and that it has no number beside those that are explained."""
        left = re.sub(r"^(?:Figure|Table) \d+\.|^\d+(?=[A-Z])|•", "", text.replace("\N{MINUS SIGN}", "-"))
        if found := re.match(r"On synthvis, (\w+) split", left):
            self._check_split(left, self._recomputed.families[found[1]])
        for pattern, expected in self._claims(left):
            for found in re.finditer(pattern, left) if expected is not None else ():
                pairs = zip(found.groups(), expected, strict=True)
                if not all(_is(group, value) for group, value in pairs):
                    self.wrong.append(f"{found[0]}: expected {expected}")
            left = re.sub(pattern, "", left)
        for constant in CONSTANTS:
            left = left.replace(constant, "")
        if numbers := numbers_in(left):
            self.wrong.append(f"{numbers} not explained in: {text}")

    def _claims(self, text: str) -> Iterator[Claim]:
        families, valid = self._recomputed.families, SPLITS[0]
        sizes, estimates = families[valid]["difference"]
        videos, instances = sizes["AP"]
        yield (
            r"This rests on (\d+) videos with (\d+) instances, and on (\d+) seeds of each variant, trained from (\d+) ",
            (videos, instances, len(SEEDS), 1),
        )
        in_ap = {title: one for (measure, title), one in estimates.items() if measure == "AP"}
        same = [title for title, one in in_ap.items() if len(set(np.sign(one.by_seed))) == 1]
        yield r"same sign in every seed for: (.*)\.", (_quoted(same) or "no variant",)
        for kind, title in KINDS.items():
            share = _share(families, (kind,), *SPLITS)
            yield (
                rf"challenges (\d+ of \d+) simultaneous intervals of {title} exclude zero(?:: (.*?))?\. (?=O)",
                (share, self._which(kind)),
            )
            yield rf"(\d+ of \d+) intervals of {title}", (share,)
        yield r"no gain, (\d+ of \d+) simultaneous", (_share(families, KINDS, "control"),)
        if text.startswith("On synthvis"):  # compared with the estimates of the split
            yield rf"“[^”]*” {_NUMBER}(?: \[{_NUMBER}, {_NUMBER}\])?|\({_SIZE}\)|includes zero: \d+ of \d+", None
        yield r"(\d+) variants combine MS-STS and temporal", (len(VARIANTS),)
        yield (
            r"With (\d+) seeds the sign-flip test over seeds cannot reach 5 %: its least p is (\d\.\d+)",
            (len(SEEDS), 2 / 2 ** len(SEEDS)),
        )
        yield r"^(\d+) seeds of each variant", (len(SEEDS),)
        yield r"from (\d+) pre-training of", (1,)
        sizes_of_model = SCALE["model"]["hidden_dim"], SCALE["model"]["queries"]
        yield r"trains for (\d+) steps with (\d+) channels and (\d+) queries", (STEPS, *sizes_of_model)
        yield r"on (\d+) fixed videos \((\d+) instances\)", self._validated()
        for variant in VARIANTS if "calibration error" in text else ():
            yield rf"(?<=[,:] ){re.escape(TITLES[variant])} (\d\.\d+)(?=[,.])", (self._calibration_error(variant),)
        yield r"seeds (\d+), (\d+)$", SEEDS
        yield r"(\d+) of (\d+), pre-training included", (len(run_folders()),) * 2
        commits = [json.loads((folder / "run.json").read_text())["commit"] for folder in run_folders()]
        yield r"^commit (.+)", (commits[0],)
        yield r"(\d+) runs with uncommitted changes", (sum(commit.endswith("+changed") for commit in commits),)
        cases = self._cases("both models find" in text) if "(video" in text else ""
        yield rf": ((?:[a-z ]+ {_NUMBER} \(video \d+\)(?:; )?)+)", (cases,)

    def _check_split(self, text: str, of_split: dict[str, Family]) -> None:
        """A sentence about one split: which measures it names, with which sizes, estimates and verdicts."""
        main, _, interactions = text.partition(" Interactions: ")
        family = of_split["effect" if interactions or "effects of contributions" in text else "difference"]
        for measure, size in re.findall(rf"((?:box |class-agnostic )?AP(?:75)?(?: on [a-z ]+)?) \(({_SIZE})\)", text):
            videos, instances = family.sizes[measure]
            mark = announced(measure).removeprefix(", ")
            expected = f"{mark + ', ' if mark else ''}{plural(videos, 'video')}, {plural(instances, 'instance')}"
            self._expect(text, size, expected)
            verdicts = {one.verdict for (own, _), one in family.estimates.items() if own == measure}
            kind = "undecided" if verdicts == {"undecided"} else "excludes zero"
            self._expect(text, ("no verdict" if videos < FEWEST_VIDEOS else kind) in text, True)
        measure = found[1] if (found := re.search(r", ([\w -]+) \(.*excludes zero", text)) else "AP"
        estimates = {title: one for (own, title), one in family.estimates.items() if own == measure}
        for found in re.finditer(rf"“([^”]*)” ({_NUMBER}) \[({_NUMBER}), ({_NUMBER})\]", text):
            one = estimates[found[1]]
            values = zip(found.groups()[1:], (one.mean, *one.simultaneous), strict=True)
            self._expect(text, [rounds_to(value, printed) for printed, value in values], [True] * 3)
            side = re.findall(r"above|below|undecided", text[: found.start()])[-1]
            self._expect(text, side, one.verdict)
        of_main = {title: one for title, one in estimates.items() if " x " not in title}
        of_interactions = {title: one for title, one in estimates.items() if title not in of_main}
        for part, own in ((main, of_main), (interactions, of_interactions)) if interactions else ((text, estimates),):
            named = re.findall(r"“([^”]*)”", part)
            counted = re.findall(r"interval includes zero: (\d+) of (\d+)", part)
            decided = [title for title, one in own.items() if one.verdict != "undecided"]
            if named or counted:  # no list of measures alone
                self._expect(text, sorted(named), sorted(decided if counted else own))
                self._expect(text, counted, [(str(len(own) - len(decided)), str(len(own)))] if counted else [])

    def _expect(self, text: str, found: object, expected: object) -> None:
        if found != expected:
            self.wrong.append(f"{found}, expected {expected}, in: {text}")

    def _which(self, kind: str) -> str | None:
        """The measures whose intervals exclude zero."""
        named: dict[tuple[str, str], list[str]] = {}
        for split in SPLITS:
            for (measure, title), one in self._recomputed.families[split][kind].estimates.items():
                if one.verdict != "undecided":
                    named.setdefault((measure, one.verdict), []).append(title)
        return "; ".join(f"{measure} ({side}: {_quoted(names)})" for (measure, side), names in named.items()) or None

    def _validated(self) -> tuple[str, str]:
        """Number of videos on which AP is measured during a training, and of their instances."""
        one = self._recomputed.external
        chosen = np.linspace(0, len(one.videos) - 1, VALIDATED).round().astype(int)
        return str(VALIDATED), str(int(one.ranking(None).instances_V[chosen].sum()))

    def _cases(self, found_by_both: bool) -> str:
        """The instances of the attention figures."""
        both = [self._recomputed.evaluations[SPLITS[0], variant, SEEDS[0]] for variant in SHOWN]
        cases = shown_most(self._recomputed.external, both if found_by_both else [])
        instances = self._recomputed.external.instances
        named = [(name.replace("_", " "), value, instances[n]["video_id"]) for name, value, n in cases]
        return "; ".join(f"{name} {value:.2f} (video {video})" for name, value, video in named)

    def _calibration_error(self, variant: str) -> float:
        gaps = [gap for one in self._recomputed.of(SPLITS[0], variant) for gap in one.calibration_gaps()]
        return sum(count * gap for count, gap in gaps) / sum(count for count, _ in gaps)


def _is(group: str | None, expected: str | float | None) -> bool:
    number = isinstance(expected, float | int)
    return rounds_to(expected, group) if number and group else group == expected


def _quoted(titles: list[str]) -> str:
    return ", ".join(f"“{title}”" for title in titles)


def _share(families: dict[str, dict[str, Family]], kinds: Iterable[str], *splits: str) -> str:
    chosen = [families[split][kind] for split in splits for kind in kinds]
    judged = [one for family in chosen for one in family.estimates.values() if one.simultaneous]
    return f"{sum(one.verdict != 'undecided' for one in judged)} of {len(judged)}"
