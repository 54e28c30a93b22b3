"""Our evaluator beside the public one, on as many masks as a YouTube-VIS validation set has.

    python benchmarks/evaluation.py [PUBLIC] [--videos 302] [--repeats 5]

PUBLIC is a checkout of the public evaluator (github.com/youtubevos/cocoapi); without it only ours is measured. Its
Python files are read from there, with pycocotools of this environment and the names that numpy has since dropped.
Generated and seeded: 720p, 27 frames, 10 detections a video, 40 categories, outlines that jump from column to column.
Every measurement is a process of its own on one thread, ours and theirs in turn. `proper` is the processor time of
matching and counting what has been read: theirs for the twelve numbers, ours for these and the class-agnostic ones.
`whole` is the processor time and `wall` the time of the command from its start to its end (ours also breaks down AP by
challenge and by error), `MiB` the largest resident memory of that process.
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

import numpy as np
from pycocotools import mask as coco_mask

HEIGHT, WIDTH, FRAMES, DETECTIONS, CATEGORIES = 720, 1280, 27, 10, 40
MEASURED = ("proper", "whole", "wall", "MiB")
ROUGHNESS = 6.0  # pixels by which an outline jumps between columns


def ragged_track(rng: np.random.Generator) -> np.ndarray:
    """Centre x, centre y, half width, half height in pixels of an object in each frame, (FRAMES, 4)."""
    start = np.array([rng.uniform(400, 880), rng.uniform(250, 470), rng.uniform(80, 300), rng.uniform(60, 220)])
    return start + np.cumsum(rng.normal(0, (6, 4, 2, 2), (FRAMES, 4)), axis=0)


def ragged_runs(rng: np.random.Generator, shape: np.ndarray) -> list[int]:
    """Column-major runs of an ellipse whose upper and lower outline jump in every column."""
    centre_x, centre_y, half_width, half_height = shape
    left, right = int(max(centre_x - half_width, 0)), int(min(centre_x + half_width, WIDTH))
    columns = np.arange(left, right)
    extent = half_height * np.sqrt(np.clip(1 - ((columns - centre_x) / half_width) ** 2, 0, 1))
    top = np.clip(centre_y - extent + rng.normal(0, ROUGHNESS, columns.size), 0, HEIGHT - 2).astype(int)
    bottom = np.clip(centre_y + extent + rng.normal(0, ROUGHNESS, columns.size), 2, HEIGHT).astype(int)
    bottom = np.maximum(bottom, top + 1)
    edges = np.stack([columns * HEIGHT + top, columns * HEIGHT + bottom], axis=1).ravel()
    return np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()


def _segmentations(rng: np.random.Generator, track: np.ndarray, missing: float, compressed: bool) -> list[dict | None]:
    frames: list[dict | None] = []
    for shape in track:
        mask = {"size": [HEIGHT, WIDTH], "counts": ragged_runs(rng, shape)}
        if compressed:
            mask["counts"] = coco_mask.frPyObjects(mask, HEIGHT, WIDTH)["counts"].decode()
        frames.append(None if rng.random() < missing else mask)
    return frames


def generate(directory: Path, videos: int, seed: int = 1) -> tuple[Path, Path]:
    """Write ground truth (uncompressed runs, as the official files have) and predictions; returns both paths."""
    rng = np.random.default_rng(seed)
    truth = {
        "videos": [{"id": v, "height": HEIGHT, "width": WIDTH, "length": FRAMES} for v in range(1, videos + 1)],
        "categories": [{"id": k, "name": f"kind{k}"} for k in range(1, CATEGORIES + 1)],
        "annotations": [],
    }
    predictions = directory / "predictions.json"
    with predictions.open("w") as file:
        file.write("[")
        for video in truth["videos"]:
            tracks = [(ragged_track(rng), int(rng.integers(1, CATEGORIES + 1))) for _ in range(rng.integers(1, 4))]
            for track, category in tracks:
                masks = _segmentations(rng, track, 0.05, compressed=False)
                areas = [sum(mask["counts"][1::2]) if mask else None for mask in masks]
                record = {"id": len(truth["annotations"]) + 1, "video_id": video["id"], "category_id": category}
                truth["annotations"].append(record | {"iscrowd": 0, "segmentations": masks, "areas": areas})
            for _ in range(DETECTIONS):
                track, category = tracks[rng.integers(len(tracks))]
                if rng.random() < 0.4:
                    category = int(rng.integers(1, CATEGORIES + 1))
                masks = _segmentations(rng, track + rng.normal(0, 25, 4), 0.05, compressed=True)
                record = {"video_id": video["id"], "category_id": category, "score": float(rng.random())}
                file.write("," if file.tell() > 1 else "")
                json.dump(record | {"segmentations": masks}, file)
        file.write("]")
    annotations = directory / "annotations.json"
    annotations.write_text(json.dumps(truth))
    return annotations, predictions


class _OldNumpy(types.ModuleType):
    """numpy with what the public code needs and newer versions refuse."""

    float = float

    @staticmethod
    def linspace(start: float, stop: float, number: float, **more: bool) -> np.ndarray:
        return np.linspace(start, stop, int(number), **more)

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


def public_modules(checkout: Path) -> tuple[type, type]:
    """Classes YTVOS and YTVOSeval of a checkout."""
    package = types.ModuleType("public")
    package.__path__, package.mask = [], coco_mask
    sys.modules |= {"public": package, "public.mask": coco_mask}
    classes = []
    for name, wanted in (("ytvos", "YTVOS"), ("ytvoseval", "YTVOSeval")):
        path = checkout / "PythonAPI" / "pycocotools" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"public.{name}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.np = _OldNumpy("numpy")
        classes.append(getattr(module, wanted))
    return tuple(classes)


def measure_public(checkout: Path, annotations: Path, predictions: Path) -> dict[str, float]:
    """Seconds of evaluate() and accumulate(), and the AP, of the public evaluator in this process."""
    ytvos, ytvoseval = public_modules(checkout)
    truth = ytvos(str(annotations))
    evaluation = ytvoseval(truth, truth.loadRes(str(predictions)), "segm")
    start = time.process_time()
    evaluation.evaluate()
    evaluation.accumulate()
    seconds = time.process_time() - start
    evaluation.summarize()
    return {"proper": seconds, "AP": float(evaluation.stats[0])}


def measure_ours(annotations: Path, predictions: Path) -> dict[str, float]:
    """Seconds of matching and of the twelve numbers, and the AP, of our evaluator in this process."""
    from mssts.evaluation.average_precision import twelve_numbers
    from mssts.evaluation.matching import match
    from mssts.ytvis.annotations import read_annotations
    from mssts.ytvis.submission import read_submission

    truth = read_annotations(annotations)
    found = read_submission(predictions, truth).predictions
    start = time.process_time()
    records = match(truth, found)
    numbers = twelve_numbers(records, records.categories)
    twelve_numbers(records, [records.pooled])
    return {"proper": time.process_time() - start, "AP": numbers["AP"]}


def _process(arguments: list[str]) -> tuple[str, dict[str, float]]:
    """Standard output of a Python process, its processor and wall time in seconds and its memory in MiB."""
    start = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}")
    whole, wall = usage.ru_utime + usage.ru_stime, time.perf_counter() - start
    return output, {"whole": whole, "wall": wall, "MiB": usage.ru_maxrss / 1024}


def _one_round(public: Path | None, annotations: Path, predictions: Path) -> dict[str, dict[str, float]]:
    files = [str(annotations), str(predictions)]
    output, _ = _process([__file__, "--measure", "ours", *files])
    found = {"ours": json.loads(output.splitlines()[-1])}
    command = ["-m", "mssts", "evaluate", "--annotations", files[0], "--predictions", files[1]]
    _, cost = _process([*command, "--output", str(annotations.parent / "metrics.json")])
    found["ours"] |= cost
    if public is not None:
        output, cost = _process([__file__, str(public), "--measure", "public", *files])
        found["public"] = json.loads(output.splitlines()[-1]) | cost
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("public", nargs="?", type=Path, help="checkout of the public evaluator")
    parser.add_argument("--videos", type=int, default=302)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=3, metavar=("WHOSE", "ANNOTATIONS", "PREDICTIONS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        whose, *files = options.measure
        paths = [Path(file) for file in files]
        print(json.dumps(measure_ours(*paths) if whose == "ours" else measure_public(options.public, *paths)))
        return
    with tempfile.TemporaryDirectory() as directory:
        with ProcessPoolExecutor(1) as apart:  # a process is said to need at least the memory of the one that starts it
            files = apart.submit(generate, Path(directory), options.videos).result()
        print(f"{options.videos} videos; {', '.join(f'{p.name} {p.stat().st_size / 2**20:.0f} MiB' for p in files)}")
        rounds = [_one_round(options.public, *files) for _ in range(options.repeats)]
    medians = {
        whose: {key: statistics.median(one[whose][key] for one in rounds) for key in (*MEASURED, "AP")}
        for whose in rounds[0]
    }
    for whose, values in medians.items():
        print(f"{whose:>7}: " + ", ".join(f"{key} {value:.6g}" for key, value in values.items()))
    if "public" in medians:
        ratios = {key: medians["public"][key] / medians["ours"][key] for key in MEASURED}
        print("public / ours: " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))
        print(f"AP differs by {abs(medians['public']['AP'] - medians['ours']['AP']):.1e}")


if __name__ == "__main__":
    main()
