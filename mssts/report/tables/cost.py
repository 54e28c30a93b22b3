"""Measured time and memory of each training; they differ from one execution to the next."""

from __future__ import annotations

import pandas as pd

from mssts.core.csv_files import NOT_RUN
from mssts.core.files import read_record
from mssts.study.runs import StudyRuns

COLUMNS = ["run", "seconds", "peak_memory_mb", "gpu_peak_memory_mb"]


def frame(runs: StudyRuns) -> pd.DataFrame:
    """One row per run: seconds, and peak memory in MB of the machine and of the GPU, if it used one."""
    rows = []
    for run in runs.runs:
        path = run.directory / "cost.json"
        found = read_record(path) if path.is_file() else None
        if found is None:
            rows.append([run.name, *[NOT_RUN] * 3])
            continue
        on_gpu = f"{found['gpu_peak_memory_mb']:.0f}" if "gpu_peak_memory_mb" in found else ""
        rows.append([run.name, f"{found['seconds']:.1f}", f"{found['peak_memory_mb']:.0f}", on_gpu])
    return pd.DataFrame(rows, columns=COLUMNS)
