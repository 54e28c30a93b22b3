"""Where every file of the pipeline lies, relative to the clone. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import DATA, is_generated

RESULTS = Path("results")
REPORTS = Path("reports")
TABLE_PDF = REPORTS / "table.pdf"
FIGURES, ATTENTION, HTML = "figures", "attention", "html"  # folders of a study's report


def generated_dir(scale: str, dataset: str) -> Path:
    """Directory of a generated dataset: one per scale."""
    return DATA / scale / dataset


def dataset_dir(scale: str, dataset: str) -> Path:
    """Directory of any dataset; COCO and a user's own are the same at every scale. Raises InputError."""
    generated = dataset != COCO_DIRECTORY and is_generated(dataset)
    return generated_dir(scale, dataset) if generated else DATA / dataset


def run_dir(scale: str, dataset: str, backbone: str, variant: str, seed: int | str) -> Path:
    """Directory of one training run: checkpoint.pt, run.json, log.jsonl, cost.json and one folder per split.

    A folder of a split holds predictions.json, predictions.zip, predictions.boxes.json, their record, metrics.json,
    matches.npz and box_matches.npz. All variants of a dataset and backbone share the pre-trainings, whose variant is
    "pretrain". Every argument may also be a wildcard of the workflow, such as "{seed}".
    """
    return RESULTS / scale / dataset / backbone / variant / f"seed{seed}"


def external_name(title: str) -> str:
    """Directory name of another method: letters and digits of its title in lower case, the rest as dashes."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def external_dir(scale: str, dataset: str, name: str, split: str) -> Path:
    """Directory of another method's metrics.json and matches.npz on a split; name: its `external_name`."""
    return RESULTS / scale / dataset / "external" / name / split


def report_dir(study: str) -> Path:
    """Directory of the tables, figures and attention maps of the study of that name."""
    return REPORTS / study
