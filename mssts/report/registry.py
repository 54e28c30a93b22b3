"""The tables and figures of a report, in its order. To add one: its module, and one line here.

The module of a table has `frame(runs)`, the rows of its CSV file, and `parts(runs)`, the tables and sentences that
Markdown, LaTeX and the document show (`mssts.report.parts`). That of a figure has `figure(runs)` and `caption(runs)`;
without a caption the document leaves it out. A function is only needed where something shows what it makes.

The workflow takes the outputs of its rules from here, so this module imports no other.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Entry:
    """A table or figure.

    Attributes:
        section: Heading under which the document shows it; empty if it is a file only.
        step: Subcommand that writes its files.
        module: Its module, relative to `mssts.report`.
        files: Relative to the report's directory; of a figure the PDF comes first.
    """

    section: str
    step: str
    module: str
    files: tuple[str, ...] = ()

    @property
    def is_figure(self) -> bool:
        """Whether it is a figure."""
        return self.module.startswith("figures.")

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(f"mssts.report.{self.module}")


def _drawn(stem: str) -> tuple[str, str]:
    return f"{stem}.pdf", f"{stem}.png"


ANSWER = "Answer"
"""The section of the first page."""
_RESULTS = "Results"
_ABLATION = "Effect of each contribution"
_CHALLENGES = "Results per challenge"
_CLASSES = "Results per category"
_ERRORS = "Errors and examples"
_ATTENTION = "Attention maps"
_PROVENANCE = "Provenance"
CONTENTS = (
    Entry(ANSWER, "tables", "tables.answer"),
    Entry(ANSWER, "figures", "figures.answer", _drawn("figures/answer")),
    Entry(_RESULTS, "tables", "tables.results", ("table.csv", "table.md", "table.tex")),
    Entry(_RESULTS, "tables", "tables.server_scores"),
    Entry(_RESULTS, "figures", "figures.progress", _drawn("figures/progress")),
    Entry(_ABLATION, "tables", "tables.ablation", ("ablation.csv", "ablation.md", "ablation.tex")),
    Entry(_ABLATION, "figures", "figures.effects", _drawn("figures/effects")),
    Entry(_ABLATION, "figures", "figures.ablation", _drawn("figures/ablation")),
    Entry(_CHALLENGES, "tables", "tables.attributes", ("attributes.csv", "attributes.md", "attributes.tex")),
    Entry(_CHALLENGES, "figures", "figures.challenges", _drawn("figures/challenges")),
    Entry(_CLASSES, "tables", "tables.per_class", ("per_class.csv", "per_class.md", "per_class.tex")),
    Entry(_CLASSES, "figures", "figures.confusion", _drawn("figures/confusion")),
    Entry(_ERRORS, "tables", "tables.errors", ("errors.csv", "errors.md", "errors.tex")),
    Entry(_ERRORS, "figures", "figures.errors", _drawn("figures/errors")),
    Entry(_ERRORS, "figures", "figures.scores", _drawn("figures/scores")),
    Entry(_ERRORS, "figures", "figures.strips", _drawn("figures/strips")),
    Entry(_ATTENTION, "attention", "tables.attention", ("attention/auroc.csv",)),
    Entry(_ATTENTION, "attention", "figures.attention", (*_drawn("attention/attention"), "attention/cases.json")),
    Entry(_ATTENTION, "attention", "figures.queries", (*_drawn("attention/queries"), "attention/queries.json")),
    Entry("Training", "figures", "figures.training_curves", _drawn("figures/training_curves")),
    Entry("Training", "complexity", "tables.complexity", ("complexity.csv",)),
    Entry("Limitations", "tables", "tables.limitations"),
    Entry(_PROVENANCE, "tables", "tables.provenance", ("provenance.csv",)),
    Entry(_PROVENANCE, "tables", "tables.environment"),
    Entry("Settings", "tables", "tables.settings", ("settings.csv",)),
    Entry("Appendix: published results", "tables", "tables.published", ("published.csv",)),
    Entry("", "tables", "tables.precision_recall", ("precision_recall.csv",)),
    Entry("", "tables", "tables.calibration", ("calibration.csv",)),
    Entry("", "tables", "tables.confusion", ("confusion.csv",)),
    Entry("", "tables", "tables.validation", ("validation.csv",)),
    Entry("", "tables", "tables.strips", ("strips.csv",)),
    Entry("", "tables", "tables.evaluation", ("evaluation.csv",)),
    Entry("", "tables", "tables.cost", ("cost.csv",)),
)


def entries_of_step(step: str) -> list[Entry]:
    """The tables and figures whose files a subcommand writes."""
    return [entry for entry in CONTENTS if entry.step == step]


def files_of_step(step: str) -> list[str]:
    """The files that a subcommand writes, relative to the report's directory."""
    return [file for entry in entries_of_step(step) for file in entry.files]
