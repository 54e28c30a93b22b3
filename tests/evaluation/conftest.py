"""Small cases drawn as rectangles on frames of 10x10 pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.matching import MatchRecords, match
from mssts.ytvis import tracks
from mssts.ytvis.ground_truth import parse_ground_truth
from mssts.ytvis.submission import parse_predictions

Box = tuple[int, int, int, int] | None


@pytest.fixture(params=["compiled", "numpy"])
def each_reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are read by compiled code, and by numpy as where there is no C compiler."""
    if request.param == "numpy":
        monkeypatch.setattr(tracks, "_compiled", None)
    elif tracks._compiled is None:
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

    def records(self, attributes: dict[int, dict[str, bool]] | None = None) -> MatchRecords:
        truth = parse_ground_truth(self.content)
        return match(truth, parse_predictions(self.predictions, truth), attributes)

    def numbers(self) -> dict[str, float | None]:
        records = self.records()
        return coco_metrics(records, records.categories)

    def agnostic_numbers(self) -> dict[str, float | None]:
        records = self.records()
        return coco_metrics(records, [records.pooled])


@pytest.fixture(scope="session")
def new_case() -> type[Case]:
    return Case


@pytest.fixture(scope="session")
def rectangle_of():
    return rectangle


def draw_case(rng: np.random.Generator, videos: int = 4, categories: int = 2, distinct_scores: bool = False) -> Case:
    """A random case: objects and half-right predictions, null frames, crowds, ties unless scores are distinct."""
    case = Case(categories)
    for identifier in range(1, videos + 1):
        length = int(rng.integers(1, 4))
        case.video(identifier, length)
        tracks = [_track(rng, length) for _ in range(int(rng.integers(1, 4)))]
        for boxes in tracks:
            category = int(rng.integers(1, categories + 1))
            case.instance(*boxes, video=identifier, category=category, crowd=int(rng.random() < 0.1))
        for _ in range(int(rng.integers(0, 6))):
            near = [_jittered(rng, box) for box in tracks[int(rng.integers(len(tracks)))]]
            score = float(rng.random()) if distinct_scores else float(rng.integers(1, 10)) / 10
            case.predict(*near, video=identifier, category=int(rng.integers(1, categories + 1)), score=score)
    return case


def _track(rng: np.random.Generator, length: int) -> list[Box]:
    x, y, width, height = (int(rng.integers(*limits)) for limits in ((0, 5), (0, 5), (3, 6), (3, 6)))
    boxes: list[Box] = [(x, y, x + width, y + height) if rng.random() > 0.2 else None for _ in range(length)]
    return boxes if any(boxes) else [(x, y, x + width, y + height)] * length


def _jittered(rng: np.random.Generator, box: Box) -> Box:
    if box is None or rng.random() < 0.1:
        return None
    return (box[0] + int(rng.integers(0, 2)), box[1], box[2], box[3] - int(rng.integers(0, 2)))


@pytest.fixture(scope="session")
def random_case():
    return draw_case
