"""Small annotation files and submissions, drawn as rectangles on frames of 10x10 pixels; fixtures for several rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.ytvis import masks

Box = tuple[int, int, int, int] | None


@pytest.fixture(params=["compiled", "numpy"])
def each_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are read by compiled code, and by numpy as where there is no C compiler."""
    if request.param == "numpy":
        monkeypatch.setattr(masks, "_compiled", None)
    elif masks._compiled is None:
        pytest.skip("mssts is not installed, or without a C compiler")


def rectangle(box: Box, size: tuple[int, int] = (10, 10)) -> dict[str, Any] | None:
    """Compressed run-length mask of the pixels x0 <= x < x1, y0 <= y < y1; null for None."""
    if box is None:
        return None
    x0, y0, x1, y1 = box
    mask = np.zeros(size, dtype=np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    encoded = coco_mask.encode(mask)
    return {"size": list(size), "counts": encoded["counts"].decode()}


def area(box: Box) -> int | None:
    return None if box is None else (box[2] - box[0]) * (box[3] - box[1])


class Case:
    """An annotation file and a submission in the making."""

    def __init__(self, categories: int = 1) -> None:
        self.content: dict[str, Any] = {
            "videos": [],
            "categories": [{"id": k + 1, "name": f"kind{k + 1}"} for k in range(categories)],
            "annotations": [],
        }
        self.predictions: list[dict[str, Any]] = []

    def video(self, identifier: int = 1, length: int = 1) -> Case:
        self.content["videos"].append({"id": identifier, "height": 10, "width": 10, "length": length})
        return self

    def instance(self, *boxes: Box, video: int = 1, category: int = 1, crowd: int = 0, **extra: Any) -> Case:
        self.content["annotations"].append(
            {
                "id": len(self.content["annotations"]) + 1,
                "video_id": video,
                "category_id": category,
                "iscrowd": crowd,
                "segmentations": [rectangle(box) for box in boxes],
                "areas": [area(box) for box in boxes],
                **extra,
            }
        )
        return self

    def predict(self, *boxes: Box, score: float = 0.9, video: int = 1, category: int = 1) -> Case:
        masks = [rectangle(box) for box in boxes]
        self.predictions.append({"video_id": video, "category_id": category, "score": score, "segmentations": masks})
        return self


def set_in(*path_and_value: Any) -> Callable[[Any], None]:
    """A change of a file's content: the keys that lead to a place in it, then the value to put there."""
    *path, last, value = path_and_value

    def change(content: Any) -> None:
        for key in path:
            content = content[key]
        content[last] = value

    return change


def random_masks(rng: np.random.Generator, height: int, width: int, frames: int) -> np.ndarray:
    """Speckled masks of any density, some of them empty, (frames, height, width) uint8."""
    share = rng.random((frames, 1, 1)) * (rng.random((frames, 1, 1)) < 0.8)
    return (rng.random((frames, height, width)) < share).astype(np.uint8)
