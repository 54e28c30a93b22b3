"""Parameters and FLOPs of the study's models as they are configured, trained or not."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import NO_VALUE
from mssts.core.errors import InputError
from mssts.report.formats import signed
from mssts.report.parts import Table
from mssts.study.complexity_file import COUNTED, FILE
from mssts.study.resolve import BASELINE
from mssts.study.results import StudyResults

NOTE = f"Parameters at inference and FLOPs of one clip, and what a variant adds to the baseline. {COUNTED}"
_COLUMNS = ["Variant", "Parameters", "Added", "Added, %", "GFLOPs per clip", "FLOPs added, %"]


def parts(results: StudyResults) -> list[Table]:
    """One row per model.

    Raises:
        InputError: The file is missing, or does not fit the study or the records of its runs.
    """
    _check(results)
    rows = []
    for (dataset, backbone), models in results.complexity.groupby(["dataset", "backbone"], sort=False):
        models = models.set_index("variant")
        baseline = models.loc[BASELINE] if BASELINE in models.index else None
        for variant, own in models.iterrows():
            clip = f"clip of {own['frames']} frames of {own['height']} x {own['width']} px"
            rows.append([dataset, backbone, clip, results.study.titles[variant], *_cells(own, baseline)])

    def heading(dataset: str, backbone: str, clip: str) -> str:
        return f"dataset {dataset}, backbone {backbone}, {clip}"

    by = ("Dataset", "Backbone", "Clip")
    return [Table(pd.DataFrame(rows, columns=[*by, *_COLUMNS]), NOTE, by=by, heading=heading, size=8.6)]


def _cells(own: pd.Series, baseline: pd.Series | None) -> list[str]:
    count, flops = own["parameters"], own["flops"]
    added = [NO_VALUE] * 3
    if baseline is not None:
        shares = (count / baseline["parameters"], flops / baseline["flops"])
        added = [signed(count - baseline["parameters"], 0), *(signed(100 * (share - 1), 1) for share in shares)]
    billions = flops / 1e9
    return [f"{count:,}", *added[:2], f"{billions:,.1f}" if billions >= 100 else f"{billions:.3g}", added[2]]


def _check(results: StudyResults) -> None:
    counts = {(row.dataset, row.backbone, row.variant): row.parameters for row in results.complexity.itertuples()}
    spec = results.study.spec
    wanted = [(d, b, v) for d in spec.datasets for b in spec.backbones for v in spec.variants]
    runs = results.runs.runs
    trained = {(run.dataset, run.backbone, run.variant): run.record["parameters"] for run in runs if run.record}
    if list(counts) != wanted or any(trained.get(key, count) != count for key, count in counts.items()):
        raise InputError(
            f"{results.folder / FILE}: not the models of the study's runs. "
            f"Write it again (mssts complexity --study {results.study.name})."
        )
