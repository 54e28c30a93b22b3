"""COCO 2017 from the user's directory `coco`, beside that of the videos, with its own or a dataset's categories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mssts.config import PRETRAIN, Config
from mssts.core.errors import InputError
from mssts.data.categories import CORRECTED, coco_map, coco_names
from mssts.data.datasets import STILLS, DatasetEntry, is_generated
from mssts.ytvis.annotations import StillAnnotations

DIRECTORY = "coco"
COCO = DatasetEntry(
    "COCO 2017",
    "coco",
    {
        STILLS: (
            "annotations/instances_train2017.json|instances_train2017.json",
            "train2017|images/train2017",
        )
    },
    source="cocodataset.org (train images and train/val annotations of 2017)",
)


def uses_coco(dataset: str, config: Config, stage: str) -> bool:
    """Whether a stage (`pretrain` or `train`) on a dataset draws from COCO's images: only where videos are a user's."""
    return not is_generated(dataset) and (stage == PRETRAIN or config.data.joint)


def check_coco(directory: Path) -> StillAnnotations:
    """COCO's annotations with every image looked for. Raises InputError that lists all problems."""
    annotations = StillAnnotations.read(*COCO.files(directory, STILLS), DIRECTORY, own_categories=True, frames=True)
    for dataset in ("ytvis2019", "ytvis2021"):
        _check_names(dict(annotations.categories), coco_names(dataset), annotations.path)
    return annotations


def read_coco(data: Path, dataset: str | None = None, which: str = CORRECTED) -> StillAnnotations:
    """Checked annotations of `data`/coco.

    dataset: whose categories they get, by the map `which`; objects of other categories and images without objects are
        left out. None: COCO's own categories.
    Raises InputError: missing files with where to get them, or every problem of the file.
    """
    files = COCO.files(data / DIRECTORY, STILLS)
    if dataset is None:
        return StillAnnotations.read(*files, DIRECTORY, own_categories=True)
    return StillAnnotations.read(*files, dataset, translate=_translation(dataset, which, files[0]))


def _translation(dataset: str, which: str, path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    numbers, expected = coco_map(dataset, which), coco_names(dataset, which)

    def translate(content: dict[str, Any]) -> dict[str, Any]:
        _check_names({item.get("id"): item.get("name") for item in content["categories"]}, expected, path)
        annotations = [
            item | {"category_id": numbers[item["category_id"]]}
            for item in content["annotations"]
            if item.get("category_id") in numbers
        ]
        shown = {item.get("image_id") for item in annotations if not item.get("iscrowd")}
        images = [image for image in content["images"] if image.get("id") in shown]
        annotations = [item for item in annotations if item.get("image_id") in shown]
        return {"images": images, "annotations": annotations, "categories": None}

    return translate


def _check_names(found: dict[int, str], expected: dict[int, str], path: Path) -> None:
    wrong = [f"id {n} is {found.get(n)!r}, expected {name!r}" for n, name in expected.items() if found.get(n) != name]
    if wrong:
        raise InputError(f"{path}: categories: {'; '.join(wrong[:5])}. Expected COCO's own annotations.")
