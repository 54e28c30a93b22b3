"""Maps from COCO's categories to those of YouTube-VIS. Imports no torch."""

from __future__ import annotations

import csv
from pathlib import Path

from mssts.core.errors import InputError
from mssts.data.datasets import entry

COCO_MAP_CSV = Path(__file__).with_name("coco_to_ytvis.csv")
CORRECTED, SEQFORMER = "corrected", "seqformer"
_SOURCES = {CORRECTED: "VITA", SEQFORMER: "SeqFormer"}  # prefix of the sources of a map


def coco_map(dataset: str, which: str = CORRECTED) -> dict[int, int]:
    """The categories of a dataset that stand for COCO's.

    Args:
        dataset: Name of the dataset.
        which: `corrected` (the map that VITA and its successors share) or `seqformer` (for 2019 it maps COCO's computer
            mouse to id 24, which is the fox) [code].

    Returns:
        {COCO category id: category id of the dataset}, for the COCO categories that have one.

    Raises:
        InputError: If there is no map for the dataset.
    """
    # Differs: the public SeqFormer code has its own map only, which is `seqformer` here.
    return {int(row["coco_id"]): int(row["ytvis_id"]) for row in _rows(dataset, which)}


def coco_names() -> dict[int, str]:
    """{COCO category id: its name in COCO} of the categories in any map."""
    return {int(row["coco_id"]): row["coco_name"].removesuffix(" (computer)") for row in _all_rows()}


def _all_rows() -> list[dict[str, str]]:
    with COCO_MAP_CSV.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _rows(dataset: str, which: str) -> list[dict[str, str]]:
    year = {"ytvis2019": "2019", "ytvis2021_and_2022": "2021"}.get(entry(dataset).category_key or "")
    if year is None:
        raise InputError(f"{dataset}: no mapping from COCO categories is defined; set data.joint to false.")
    return [row for row in _all_rows() if row["target"] == year and row["source"].startswith(_SOURCES[which])]
