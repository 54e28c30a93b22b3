"""The tables and figures of a report, in its order. To add one: its module, and one line here.

A module in `mssts.report` has, for what its line names:

- `frame(results)`, the rows of its CSV file,
- `parts(results)`, what Markdown, LaTeX and the document show (`mssts.report.parts`),
- `figure(results)`, what is drawn to its PDF and PNG files.

The workflow takes the outputs of its rules from here, so this module imports nothing else.
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
        files: Relative to the report's directory.
    """

    section: str
    step: str
    module: str
    files: tuple[str, ...]

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(f"mssts.report.{self.module}")


_RESULTS = "Results and published results"
_ABLATION = "What each contribution changes"
_TRAINING = "Training"
CONTENTS = (
    Entry(_RESULTS, "tables", "tables.results", ("table.csv", "table.md", "table.tex")),
    Entry(_RESULTS, "tables", "tables.published", ("published.csv",)),
    Entry(_RESULTS, "document", "tables.server_scores", ()),
    Entry(_ABLATION, "tables", "tables.ablation", ("ablation.csv", "ablation.md", "ablation.tex")),
    Entry(_ABLATION, "figures", "figures.ablation", ("figures/ablation.pdf", "figures/ablation.png")),
    Entry("The challenges one by one", "tables", "tables.attributes", ("attributes.csv", "attributes.md")),
    Entry("What the errors cost", "tables", "tables.errors", ("errors.csv", "errors.md")),
    Entry(
        "Where the models look",
        "attention",
        "figures.attention",
        ("attention/attention.pdf", "attention/attention.png", "attention/cases.json"),
    ),
    Entry(
        _TRAINING,
        "figures",
        "figures.training_curves",
        ("figures/training_curves.pdf", "figures/training_curves.png"),
    ),
    Entry(_TRAINING, "complexity", "tables.complexity", ("complexity.csv",)),
    Entry("Provenance", "tables", "tables.provenance", ("provenance.csv",)),
    Entry("", "tables", "tables.evaluation", ("evaluation.csv",)),
    Entry("", "tables", "tables.cost", ("cost.csv",)),
)


def entries_of_step(step: str) -> list[Entry]:
    """The tables and figures whose files a subcommand writes."""
    return [entry for entry in CONTENTS if entry.step == step]


def files_of_step(step: str) -> list[str]:
    """The files that a subcommand writes, relative to the report's directory."""
    return [file for entry in entries_of_step(step) for file in entry.files]
