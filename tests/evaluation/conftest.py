"""Small cases drawn as rectangles on frames of 10x10 pixels."""

from __future__ import annotations

import numpy as np
import pytest

from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.matching import MatchRecords, match
from mssts.ytvis.annotations import parse_annotations
from mssts.ytvis.submission import parse_submission
from tests.ytvis import cases
from tests.ytvis.cases import Box, each_reader, rectangle

__all__ = ["each_reader"]


class Case(cases.Case):
    """A case and what its evaluation gives."""

    def records(self, attributes: dict[int, dict[str, bool]] | None = None, lenient: bool = False) -> MatchRecords:
        truth = parse_annotations(self.content, lenient=lenient)
        return match(truth, parse_submission(self.predictions, truth).predictions, attributes)

    def numbers(self, lenient: bool = False) -> dict[str, float | None]:
        records = self.records(lenient=lenient)
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
