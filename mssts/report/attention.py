"""Write the attention figures, their cases, and the AUROC of the encoder maps."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mssts.core.csv_files import write_csv
from mssts.core.files import write_record
from mssts.report.figures import attention, queries
from mssts.report.style import paper_style, save
from mssts.study.attention_auroc import FILE, MeanAuroc, to_frame
from mssts.study.attention_comparison import AttentionComparison


def write_attention(comparison: AttentionComparison | None, aurocs: Iterable[MeanAuroc], output_dir: Path) -> None:
    """Write the files of the step "attention" of the registry.

    Args:
        comparison: What to draw; None prints "not run".
        aurocs: What was measured.
        output_dir: Directory of the report.
    """
    folder = Path(output_dir)
    with paper_style():
        save(attention.encoder_figure(comparison), folder / "attention/attention")
        save(queries.query_figure(comparison), folder / "attention/queries")
    write_record(folder / attention.CASES, attention.encoder_record(comparison))
    write_record(folder / queries.CASES, queries.query_record(comparison))
    write_csv(folder / FILE, to_frame(aurocs))
