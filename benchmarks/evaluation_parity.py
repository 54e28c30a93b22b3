"""Our numbers beside the public evaluator's on thousands of random cases, as awkward as files get.

    python benchmarks/evaluation_parity.py PUBLIC [--cases 2000] [--seed 0]

PUBLIC is a checkout of the public evaluator (github.com/youtubevos/cocoapi). Cases have ties of scores and of overlaps,
crowds, absent frames, masks without a pixel or to the last one, holes, polygons, plain runs, empty categories, more
than a hundred detections; every other case is one for `--lenient`: repeated ids, unknown categories and videos, short
and long tracks, masks of other sizes, entries that are empty but not null. Compared are the twelve numbers over
categories and the twelve with categories pooled; the largest difference is printed, and cases that the public code
does not survive are counted.
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
from evaluation import public_modules
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.evaluation.average_precision import METRICS, twelve_numbers
from mssts.evaluation.matching import match
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.submission import read_submission

HEIGHT, WIDTH = 24, 30


def random_mask(rng: np.random.Generator, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A box, at times with holes, speckled, empty, full or in the last corner."""
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


def written(rng: np.random.Generator, mask: np.ndarray, annotated: bool) -> Any:
    """A mask as files have it: compressed; for an annotation also plain runs or a polygon."""
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
    frames: list[Any] = []
    if lenient and rng.random() < 0.1:
        length += int(rng.integers(-1, 2))
    for _ in range(length):
        size = (HEIGHT + 1, WIDTH) if lenient and rng.random() < 0.03 else (HEIGHT, WIDTH)
        mask = written(rng, random_mask(rng, box, size), annotated and size == (HEIGHT, WIDTH))
        frames.append(mask if rng.random() < 0.85 else ({} if lenient and rng.random() < 0.1 else None))
    return frames


def random_case(rng: np.random.Generator, lenient: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An annotation file and a submission."""
    videos = [
        {"id": int(v), "height": HEIGHT, "width": WIDTH, "length": int(rng.integers(1, 4))}
        for v in rng.permutation(np.arange(1, int(rng.integers(2, 6))))
    ]
    categories = [{"id": k, "name": f"kind{k}"} for k in (3, 1, 7)[: rng.integers(1, 4)]]
    truth: dict[str, Any] = {"videos": videos, "categories": categories, "annotations": []}
    known = [category["id"] for category in categories]
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


def public_numbers(classes: tuple[type, type], annotations: Path, predictions: Path) -> list[list[float]]:
    """The twelve numbers, over categories and pooled."""
    numbers = []
    with contextlib.redirect_stdout(io.StringIO()):
        for use_categories in (1, 0):
            truth = classes[0](str(annotations))
            evaluation = classes[1](truth, truth.loadRes(str(predictions)), "segm")
            evaluation.params.useCats = use_categories
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            numbers.append(evaluation.stats.tolist())
    return numbers


def our_numbers(annotations: Path, predictions: Path, lenient: bool) -> list[list[float]]:
    truth = read_annotations(annotations, lenient=lenient)
    records = match(truth, read_submission(predictions, truth, lenient).predictions)
    both = [twelve_numbers(records, groups) for groups in (records.categories, [records.pooled])]
    return [[-1.0 if numbers[name] is None else numbers[name] for name in METRICS] for numbers in both]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("public", type=Path, help="checkout of the public evaluator")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    classes = public_modules(options.public)
    compared, ended, largest = [0, 0], [0, 0], [0.0, 0.0]
    with tempfile.TemporaryDirectory() as directory:
        annotations, predictions = Path(directory) / "annotations.json", Path(directory) / "predictions.json"
        for seed in range(options.seed, options.seed + options.cases):
            truth, found = random_case(np.random.default_rng(seed), lenient := seed % 2 == 1)
            if not truth["annotations"]:  # refused by us, without a number there
                continue
            annotations.write_text(json.dumps(truth))
            predictions.write_text(json.dumps(found))
            try:
                theirs = public_numbers(classes, annotations, predictions)
            except Exception:  # whatever ends it
                ended[lenient] += 1
                continue
            try:
                ours = our_numbers(annotations, predictions, lenient)
            except InputError as error:
                print(f"seed {seed}: refused: {error}")
                continue
            difference = float(np.abs(np.subtract(ours, theirs)).max())
            if difference > 1e-12:
                print(f"seed {seed}: differs by {difference:.3g}")
            compared[lenient] += 1
            largest[lenient] = max(largest[lenient], difference)
    for lenient, kind in enumerate(("strict", "lenient")):
        print(
            f"{kind}: {compared[lenient]} cases compared, largest difference {largest[lenient]:.1e}; "
            f"the public code ended with an error on {ended[lenient]}"
        )


if __name__ == "__main__":
    main()
