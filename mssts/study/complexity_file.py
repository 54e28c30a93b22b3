"""The file of the models' parameters and FLOPs. Imports no torch."""

from __future__ import annotations

from itertools import product

import pandas as pd

from mssts.core.csv_files import read_csv
from mssts.core.errors import InputError
from mssts.study.runs import StudyRuns

FILE = "complexity.csv"
COLUMNS = ["dataset", "backbone", "variant", "frames", "height", "width", "parameters", "flops"]
COUNTED = "A multiply-add counts as two FLOPs; sampling of deformable attention and mask convolutions are not counted."


def read_complexity(runs: StudyRuns) -> pd.DataFrame:
    """Read the table of `mssts complexity`, numbers as integers.

    Raises:
        InputError: The file is missing, has other columns, or does not fit the study or the records of its runs.
    """
    path, advice = runs.folder / FILE, f"Run mssts complexity {runs.study.options}."
    frame = read_csv(path, COLUMNS, advice).astype(dict.fromkeys(COLUMNS[3:], int))
    counts = {(row.dataset, row.backbone, row.variant): row.parameters for row in frame.itertuples()}
    spec = runs.study.spec
    wanted = list(product(spec.datasets, spec.backbones, spec.variants))
    trained = {(run.dataset, run.backbone, run.variant): run.record["parameters"] for run in runs.runs if run.record}
    if list(counts) != wanted or any(trained.get(key, count) != count for key, count in counts.items()):
        raise InputError(f"{path}: does not match the study's runs. {advice}")
    return frame
