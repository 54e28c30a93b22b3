"""Time and memory of the evaluator of mssts and of the reference evaluator, on a generated validation set.

    python benchmarks/evaluation.py [--reference DIRECTORY] [--other DIRECTORY] [--videos 302] [--rounds 5]

--reference is a checkout of the reference evaluator (github.com/youtubevos/cocoapi). Its Python files are loaded from
there, with pycocotools of this environment and the numpy names that have since been removed. The data has as many masks
as a YouTube-VIS validation set: 720p, 27 frames, 10 detections per video, 40 categories, rough outlines.

Measured are the time of matching and metrics, without reading (the reference computes the twelve COCO metrics, mssts
these and the twelve class-agnostic ones), and time and memory of the whole command (mssts also breaks down AP by
challenge and by kind of error).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rounds
from pycocotools import mask as coco_mask

HEIGHT, WIDTH, FRAMES, DETECTIONS, CATEGORIES = 720, 1280, 27, 10, 40
ROUGHNESS = 6.0  # standard deviation in px by which an outline jumps between columns


def random_track(rng: np.random.Generator) -> np.ndarray:
    """Draw the ellipse of an object in each frame: (FRAMES, 4) centre x, y and half width, height in px."""
    start = np.array([rng.uniform(400, 880), rng.uniform(250, 470), rng.uniform(80, 300), rng.uniform(60, 220)])
    return start + np.cumsum(rng.normal(0, (6, 4, 2, 2), (FRAMES, 4)), axis=0)


def rough_ellipse(rng: np.random.Generator, ellipse: np.ndarray) -> list[int]:
    """Draw the run lengths (column-major) of an ellipse whose upper and lower outline jump in every column."""
    centre_x, centre_y, half_width, half_height = ellipse
    left, right = int(max(centre_x - half_width, 0)), int(min(centre_x + half_width, WIDTH))
    columns = np.arange(left, right)
    extent = half_height * np.sqrt(np.clip(1 - ((columns - centre_x) / half_width) ** 2, 0, 1))
    top = np.clip(centre_y - extent + rng.normal(0, ROUGHNESS, columns.size), 0, HEIGHT - 2).astype(int)
    bottom = np.clip(centre_y + extent + rng.normal(0, ROUGHNESS, columns.size), 2, HEIGHT).astype(int)
    bottom = np.maximum(bottom, top + 1)
    edges = np.stack([columns * HEIGHT + top, columns * HEIGHT + bottom], axis=1).ravel()
    return np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()


def _segmentations(rng: np.random.Generator, track: np.ndarray, compressed: bool) -> list[dict[str, Any] | None]:
    """Masks of a track, null in 5 % of the frames."""
    frames: list[dict[str, Any] | None] = []
    for ellipse in track:
        mask = {"size": [HEIGHT, WIDTH], "counts": rough_ellipse(rng, ellipse)}
        if compressed:
            mask["counts"] = coco_mask.frPyObjects(mask, HEIGHT, WIDTH)["counts"].decode()
        frames.append(None if rng.random() < 0.05 else mask)
    return frames


def generate(directory: Path, videos: int, seed: int = 1) -> tuple[Path, Path]:
    """Write annotations (uncompressed run lengths, as in the official files) and predictions.

    Args:
        directory: An existing directory.
        videos: Number of videos.
        seed: Seed of all random choices.

    Returns:
        Paths of the annotation file and of the predictions.
    """
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    predictions_path, annotations_path = directory / "predictions.json", directory / "annotations.json"
    with predictions_path.open("w") as file:
        file.write("[")
        for video in range(1, videos + 1):
            tracks = [(random_track(rng), int(rng.integers(1, CATEGORIES + 1))) for _ in range(rng.integers(1, 4))]
            for track, category in tracks:
                masks = _segmentations(rng, track, compressed=False)
                areas = [sum(mask["counts"][1::2]) if mask else None for mask in masks]
                record = {"id": len(annotations) + 1, "video_id": video, "category_id": category, "iscrowd": 0}
                annotations.append(record | {"segmentations": masks, "areas": areas})
            for _ in range(DETECTIONS):
                track, category = tracks[rng.integers(len(tracks))]
                if rng.random() < 0.4:
                    category = int(rng.integers(1, CATEGORIES + 1))
                masks = _segmentations(rng, track + rng.normal(0, 25, 4), compressed=True)
                record = {"video_id": video, "category_id": category}
                file.write("," if file.tell() > 1 else "")
                json.dump(record | {"score": float(rng.random()), "segmentations": masks}, file)
        file.write("]")
    content = {
        "videos": [{"id": v, "height": HEIGHT, "width": WIDTH, "length": FRAMES} for v in range(1, videos + 1)],
        "categories": [{"id": k, "name": f"kind{k}"} for k in range(1, CATEGORIES + 1)],
        "annotations": annotations,
    }
    annotations_path.write_text(json.dumps(content))
    return annotations_path, predictions_path


class _OldNumpy(types.ModuleType):
    """numpy with what the reference evaluator needs and newer versions refuse."""

    def __init__(self) -> None:
        super().__init__("numpy")
        self.float = float

    def linspace(self, start: float, stop: float, number: float, endpoint: bool = True) -> np.ndarray:
        return np.linspace(start, stop, int(number), endpoint)

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


def reference_classes(checkout: Path) -> tuple[type, type]:
    """Load the classes YTVOS and YTVOSeval from a checkout of the reference evaluator."""
    package = types.ModuleType("reference")
    package.__path__ = []
    vars(package).update(mask=coco_mask)
    sys.modules |= {"reference": package, "reference.mask": coco_mask}

    def load(name: str) -> types.ModuleType:
        path = checkout / "PythonAPI" / "pycocotools" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"reference.{name}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        vars(module).update(np=_OldNumpy())
        return module

    return load("ytvos").YTVOS, load("ytvoseval").YTVOSeval


def reference_matching(checkout: Path, annotations: Path, predictions: Path) -> Callable[[], float]:
    """Read the files with the reference evaluator; return the function that matches and gives AP."""
    ytvos, ytvoseval = reference_classes(checkout)
    truth = ytvos(str(annotations))
    detections = truth.loadRes(str(predictions))

    def matching() -> float:
        evaluation = ytvoseval(truth, detections, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return float(evaluation.stats[0])

    return matching


def own_matching(annotations: Path, predictions: Path) -> Callable[[], float | None]:
    """As `reference_matching`, with mssts."""
    # imported here, so that the memory of the reference evaluator is measured without mssts
    from mssts.evaluation.average_precision import coco_metrics
    from mssts.evaluation.matching import match
    from mssts.ytvis.annotations import read_annotations
    from mssts.ytvis.submission import read_submission

    truth = read_annotations(annotations)
    detections = read_submission(predictions, truth).predictions

    def matching() -> float | None:
        records = match(truth, detections)
        metrics = coco_metrics(records, records.categories)
        coco_metrics(records, [records.pooled])
        return metrics["AP"]

    return matching


def serve(whole: bool, files: list[str], output: str, reference: str | None = None) -> rounds.Answers:
    """Answer with AP, and with time or memory of matching, or time and memory of the whole command."""
    paths = [Path(name) for name in files]
    if not whole:
        matching = reference_matching(Path(reference), *paths) if reference else own_matching(*paths)
        meter = rounds.Meter()

        def answer() -> dict[str, Any]:
            ap, measured = meter(matching)
            return measured | {"AP": ap}

        return meter, answer
    command = [__file__, "--once", reference, *files]
    if not reference:
        command = ["-m", "mssts", "evaluate", "--annotations", files[0], "--predictions", files[1], "--output", output]
    return rounds.Meter(), lambda: rounds.command(command)


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of matching and of the whole command."""
    with TemporaryDirectory() as name:
        # in a process of its own: a child is reported to use at least the memory that its parent has used
        with ProcessPoolExecutor(1) as executor:
            files = [str(path) for path in executor.submit(generate, Path(name), options.videos).result()]
        for whole, case in ((False, "matching and metrics"), (True, "whole command")):
            settings: dict[str, dict[str, Any]] = {
                contender: {"whole": whole, "files": files, "output": f"{name}/{contender}.json"}
                for contender in ("this", "other", "reference")
                if contender == "this" or getattr(options, contender)
            }
            if options.reference:
                settings["reference"]["reference"] = str(options.reference)
            with rounds.contenders(__file__, settings, options.other) as started:
                named = f"{options.videos} videos, {case}"
                rows, last = rounds.compare("evaluator", named, started, options.rounds, memory=whole)
            yield from rows
            if not whole:
                print(", ".join(f"AP of {contender} {answer['AP']:.12f}" for contender, answer in last.items()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        checkout, *paths = (Path(word) for word in sys.argv[2:])
        reference_matching(checkout, *paths)()
        sys.exit()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=302)
    rounds.run(parser, measure, serve)
