"""Write the attention figures, their cases, and the AUROC of the encoder maps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import ModuleType

import pandas as pd

from mssts.core.csv_files import NOT_DRAWN, write_csv
from mssts.core.files import write_record
from mssts.report.figures import attention, queries
from mssts.report.not_drawn import NotDrawn, attempt
from mssts.report.style import empty_figure, paper_style, save
from mssts.study.attention_auroc import FILE, MeanAuroc, to_frame
from mssts.study.attention_comparison import AttentionComparison


def write_attention(
    comparison: AttentionComparison | NotDrawn | None, aurocs: Iterable[MeanAuroc] | NotDrawn, output_dir: Path
) -> None:
    """Write the files of the step "attention" of the registry. What could not be made says why.

    Args:
        comparison: What to draw; None prints "not run".
        aurocs: What was measured.
        output_dir: Directory of the report.
    """
    with paper_style():
        for module, stem in ((attention, "attention/attention"), (queries, "attention/queries")):
            reason = comparison
            if not isinstance(comparison, NotDrawn):
                reason = attempt(stem, partial(_write_figure, module, comparison, output_dir, stem))
            if isinstance(reason, NotDrawn):
                save(empty_figure(str(reason)), output_dir / stem)
                write_record(output_dir / module.CASES, {"caption": f"{module.TITLE}: {NOT_DRAWN}.", "cases": []})
    table = pd.DataFrame({NOT_DRAWN: [aurocs.why]}) if isinstance(aurocs, NotDrawn) else to_frame(aurocs)
    write_csv(output_dir / FILE, table)


def _write_figure(module: ModuleType, comparison: AttentionComparison | None, folder: Path, stem: str) -> None:
    """Write a figure, and the record of its cases."""
    save(module.figure(comparison), folder / stem)
    write_record(folder / module.CASES, module.record(comparison))
