"""Speed and memory of the evaluator of mssts and of the reference evaluator, on a generated validation set.

    python benchmarks/evaluation.py [REFERENCE] [--videos 302] [--repeats 5]

REFERENCE is a checkout of the reference evaluator (github.com/youtubevos/cocoapi); without it only mssts is measured.
Its Python files are loaded from there, with pycocotools of this environment and the numpy names that have since been
removed. The data has as many masks as a YouTube-VIS validation set: 720p, 27 frames, 10 detections per video, 40
categories, rough outlines. Every measurement runs in its own process on one thread; the two evaluators take turns.

Printed are the medians of
    matching  processor time of matching and of the metrics, without reading: the reference computes the twelve COCO
              metrics, mssts these and the twelve class-agnostic ones;
    cpu       processor time of the whole command (mssts also breaks down AP by challenge and by kind of error);
    wall      wall time of the whole command;
    MiB       largest resident memory of that process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

HEIGHT, WIDTH, FRAMES, DETECTIONS, CATEGORIES = 720, 1280, 27, 10, 40
MEASURED = ("matching", "cpu", "wall", "MiB")
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


def measure_reference(checkout: Path, annotations: Path, predictions: Path) -> dict[str, float]:
    """Run the reference evaluator in this process; return its seconds of matching and its AP."""
    ytvos, ytvoseval = reference_classes(checkout)
    truth = ytvos(str(annotations))
    evaluation = ytvoseval(truth, truth.loadRes(str(predictions)), "segm")
    start = time.process_time()
    evaluation.evaluate()
    evaluation.accumulate()
    seconds = time.process_time() - start
    evaluation.summarize()
    return {"matching": seconds, "AP": float(evaluation.stats[0])}


def measure_mssts(annotations: Path, predictions: Path) -> dict[str, float | None]:
    """Run the evaluator of mssts in this process; return its seconds of matching and its AP."""
    # imported here, so that the memory of the reference evaluator is measured without mssts
    from mssts.evaluation.average_precision import coco_metrics
    from mssts.evaluation.matching import match
    from mssts.ytvis.annotations import read_annotations
    from mssts.ytvis.submission import read_submission

    truth = read_annotations(annotations)
    detections = read_submission(predictions, truth).predictions
    start = time.process_time()
    records = match(truth, detections)
    metrics = coco_metrics(records, records.categories)
    coco_metrics(records, [records.pooled])
    return {"matching": time.process_time() - start, "AP": metrics["AP"]}


def _run(arguments: list[str]) -> tuple[str, dict[str, float]]:
    """Run Python with these arguments; return its standard output, its seconds of processor and wall time, its MiB."""
    start = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with exit status {process.returncode}")
    cpu, wall = usage.ru_utime + usage.ru_stime, time.perf_counter() - start
    return output, {"cpu": cpu, "wall": wall, "MiB": usage.ru_maxrss / 1024}


def _measure_once(reference: Path | None, annotations: Path, predictions: Path) -> dict[str, dict[str, float]]:
    files = [str(annotations), str(predictions)]
    output, _ = _run([__file__, "--measure", "mssts", *files])
    measured = {"mssts": json.loads(output.splitlines()[-1])}
    command = ["-m", "mssts", "evaluate", "--annotations", files[0], "--predictions", files[1]]
    _, cost = _run([*command, "--output", str(annotations.parent / "metrics.json")])
    measured["mssts"] |= cost
    if reference is not None:
        output, cost = _run([__file__, str(reference), "--measure", "reference", *files])
        measured["reference"] = json.loads(output.splitlines()[-1]) | cost
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reference", nargs="?", type=Path, help="checkout of the reference evaluator")
    parser.add_argument("--videos", type=int, default=302)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=3, metavar=("WHICH", "ANNOTATIONS", "PREDICTIONS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        which, *names = options.measure
        paths = [Path(name) for name in names]
        print(json.dumps(measure_mssts(*paths) if which == "mssts" else measure_reference(options.reference, *paths)))
        return
    with tempfile.TemporaryDirectory() as directory:
        # in a process of its own: a child is reported to use at least the memory that its parent has used
        with ProcessPoolExecutor(1) as executor:
            files = executor.submit(generate, Path(directory), options.videos).result()
        print(f"{options.videos} videos; {', '.join(f'{p.name} {p.stat().st_size / 2**20:.0f} MiB' for p in files)}")
        rounds = [_measure_once(options.reference, *files) for _ in range(options.repeats)]
    medians = {
        which: {key: statistics.median(one[which][key] for one in rounds) for key in (*MEASURED, "AP")}
        for which in rounds[0]
    }
    for which, values in medians.items():
        print(f"{which:>9}: " + ", ".join(f"{key} {value:.6g}" for key, value in values.items()))
    if "reference" in medians:
        ratios = {key: medians["reference"][key] / medians["mssts"][key] for key in MEASURED}
        print("reference / mssts: " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))
        print(f"AP differs by {abs(medians['reference']['AP'] - medians['mssts']['AP']):.1e}")


if __name__ == "__main__":
    main()
