"""The files, split and configuration that the numbers of each result were computed from."""

from __future__ import annotations

import json

import pandas as pd

from mssts.core.csv_files import NO_VALUE, NOT_RUN
from mssts.report.parts import EXTERNAL
from mssts.study.results import StudyResults

_DIGESTS = ["annotations_sha256", "predictions_sha256"]


def frame(results: StudyResults) -> pd.DataFrame:
    """One row per result, those of other methods too."""
    named = [(result.run.name, result.split, result.metrics) for result in results.runs.results]
    named += [(f"{one.title} ({EXTERNAL})", one.split, one.metrics) for one in results.runs.external]
    rows = []
    for name, split, metrics in named:
        if metrics is None:
            rows.append([name, split, *[NOT_RUN] * 4])
            continue
        by = metrics.get("produced_by", {})
        settings = json.dumps({"lenient": by.get("lenient", False), **(by.get("settings") or {})}, sort_keys=True)
        warnings = sum(one["count"] for one in metrics.get("warnings", []))
        rows.append([name, split, *(by.get(digest, NO_VALUE) for digest in _DIGESTS), settings, str(warnings)])
    return pd.DataFrame(rows, columns=["run", "split", *_DIGESTS, "settings", "warnings"])
