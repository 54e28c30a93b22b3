"""Compare the metrics of mssts with those of the reference evaluator on thousands of random cases.

    python benchmarks/evaluation_parity.py REFERENCE [--cases 2000] [--seed 0]

REFERENCE is a checkout of the reference evaluator (github.com/youtubevos/cocoapi). The cases contain what makes files
difficult: tied scores and overlaps, crowds, null frames, masks that are empty, full, with holes or in the last corner,
polygons, uncompressed run lengths, categories without instances, more than a hundred detections. Every other case is
one for `--lenient`: repeated ids, unknown categories and videos, tracks that are too short or too long, masks of other
sizes, entries that are empty but not null.

Compared are the twelve COCO metrics over categories and the twelve class-agnostic ones. The largest difference is
printed, and the number of cases in which the reference evaluator fails.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from evaluation import reference_classes
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.matching import match
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.submission import read_submission

HEIGHT, WIDTH = 260, 256  # so that an area may be in each of the area ranges


def random_mask(rng: np.random.Generator, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw a mask near a box (x, y, width, height): filled, holed, speckled, empty, full or in the last corner."""
    mask = np.zeros(size, dtype=np.uint8, order="F")
    x, y, width, height = np.maximum(box + rng.integers(-1, 2, 4), 0)
    mask[y : y + height, x : x + width] = 1
    kind = rng.random()
    if kind < 0.2:
        mask[y + height // 3 : y + 2 * height // 3, x : x + width] = 0
    elif kind < 0.3:
        mask &= rng.random(size) < 0.7
    elif kind < 0.34:
        mask[:] = 0
    elif kind < 0.36:
        mask[:] = 1
    elif kind < 0.4:
        mask[-3:, -3:] = 1
    return mask


def encode(rng: np.random.Generator, mask: np.ndarray, annotated: bool) -> Any:
    """Encode a mask as compressed run lengths; an annotation also as uncompressed ones or as a polygon."""
    kind = rng.random() if annotated else 0.0
    if kind > 0.9:
        x, y, width, height = coco_mask.toBbox(coco_mask.encode(mask)).tolist()
        return [[x, y, x + width, y, x + width, y + height, x, y + height]]
    if kind > 0.5:
        flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
        changes = np.flatnonzero(np.diff(flat))
        runs = np.diff(changes, prepend=0).tolist()
        return {"size": list(mask.shape), "counts": runs if flat[1] == 0 else [0, *runs[1:]]}
    encoded = coco_mask.encode(mask)
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def random_frames(rng: np.random.Generator, box: np.ndarray, length: int, annotated: bool, lenient: bool) -> list[Any]:
    """Draw the masks of one track; if `lenient`, also with what only `--lenient` accepts."""
    frames: list[Any] = []
    if lenient and rng.random() < 0.1:
        length += int(rng.integers(-1, 2))
    for _ in range(length):
        size = (HEIGHT + 1, WIDTH) if lenient and rng.random() < 0.03 else (HEIGHT, WIDTH)
        mask = encode(rng, random_mask(rng, box, size), annotated and size == (HEIGHT, WIDTH))
        frames.append(mask if rng.random() < 0.85 else ({} if lenient and rng.random() < 0.1 else None))
    return frames


def random_case(rng: np.random.Generator, lenient: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw the content of an annotation file and of a submission; if `lenient`, as only `--lenient` accepts them."""
    videos = [
        {"id": int(v), "height": HEIGHT, "width": WIDTH, "length": int(rng.integers(1, 4))}
        for v in rng.permutation(np.arange(1, int(rng.integers(2, 6))))
    ]
    known = (3, 1, 7)[: rng.integers(1, 4)]
    categories = [{"id": k, "name": f"kind{k}"} for k in known]
    truth: dict[str, Any] = {"videos": videos, "categories": categories, "annotations": []}
    predictions = []

    def category() -> int:
        return 9 if lenient and rng.random() < 0.1 else int(rng.choice(known))

    for video in videos:
        boxes = [rng.integers([0, 0, 3, 3], [16, 12, 14, 12]) for _ in range(rng.integers(1, 4))]
        for box in boxes[: rng.integers(0, 4)]:
            frames = random_frames(rng, box, video["length"], True, lenient)
            areas = [None if not mask else float(rng.choice([40, 128**2, 130.5**2, 256**2, 0])) for mask in frames]
            number = len(truth["annotations"]) + 1
            if lenient and rng.random() < 0.2:
                number = int(rng.integers(0, number + 1))
            record = {"id": number, "video_id": video["id"], "category_id": category(), "areas": areas}
            crowd = int(rng.random() < 0.15)
            truth["annotations"].append(record | {"iscrowd": crowd, "segmentations": frames})
        many = 115 if rng.random() < 0.01 else int(rng.integers(0, 7))
        for _ in range(many):
            frames = random_frames(rng, boxes[rng.integers(len(boxes))], video["length"], False, lenient)
            score = float(rng.choice([0.1, 0.5, 0.5, 0.9])) if rng.random() < 0.5 else float(rng.random())
            record = {"video_id": video["id"], "category_id": category(), "score": score}
            predictions.append(record | {"segmentations": frames})
    order = rng.permutation(len(predictions))
    return truth, [predictions[i] for i in order]


def reference_metrics(classes: tuple[type, type], annotations: Path, predictions: Path) -> list[list[float]]:
    """Compute the metrics of the reference evaluator, over categories and class-agnostic."""
    metrics = []
    with contextlib.redirect_stdout(io.StringIO()):
        for use_categories in (1, 0):
            truth = classes[0](str(annotations))
            evaluation = classes[1](truth, truth.loadRes(str(predictions)), "segm")
            evaluation.params.useCats = use_categories
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            metrics.append(evaluation.stats.tolist())
    return metrics


def mssts_metrics(annotations: Path, predictions: Path, lenient: bool) -> list[list[float]]:
    """Compute the metrics of mssts, over categories and class-agnostic; -1 where undefined, as the reference does."""
    truth = read_annotations(annotations, lenient=lenient)
    records = match(truth, read_submission(predictions, truth, lenient).predictions)
    both = [coco_metrics(records, groups) for groups in (records.categories, [records.pooled])]
    return [[-1.0 if value is None else value for value in metrics.values()] for metrics in both]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reference", type=Path, help="checkout of the reference evaluator")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    classes = reference_classes(options.reference)
    compared, failed, largest = [0, 0], [0, 0], [0.0, 0.0]
    with tempfile.TemporaryDirectory() as directory:
        annotations, predictions = Path(directory) / "annotations.json", Path(directory) / "predictions.json"
        for seed in range(options.seed, options.seed + options.cases):
            truth, detections = random_case(np.random.default_rng(seed), lenient := seed % 2 == 1)
            if all(record["iscrowd"] for record in truth["annotations"]):  # refused: there are no metrics
                continue
            annotations.write_text(json.dumps(truth))
            predictions.write_text(json.dumps(detections))
            try:
                expected = reference_metrics(classes, annotations, predictions)
            except Exception:  # of any kind: the reference evaluator does not check its input
                failed[lenient] += 1
                continue
            try:
                found = mssts_metrics(annotations, predictions, lenient)
            except InputError as error:
                print(f"seed {seed}: refused: {error}")
                continue
            difference = float(np.abs(np.subtract(found, expected)).max())
            if difference > 1e-12:
                print(f"seed {seed}: differs by {difference:.3g}")
            compared[lenient] += 1
            largest[lenient] = max(largest[lenient], difference)
    for i, mode in enumerate(("strict", "lenient")):
        print(
            f"{mode}: {compared[i]} cases compared, largest difference {largest[i]:.1e}; "
            f"the reference evaluator failed on {failed[i]}"
        )


if __name__ == "__main__":
    main()
