"""What windows cost in AP and identities, and what memory they take.

    python benchmarks/windows.py ap CHECKPOINT [CHECKPOINT ...] [--length 24] [--videos 240] [--windows 12 3]
        [--csv FILE]
    python benchmarks/windows.py memory [--scale paper] [--backbone resnet50] [--variant baseline]
        [--frames 100 1000] [--windows 100 10] [--size 720 1280] [--csv FILE]

`ap` generates SynthVIS videos of --length frames that no training has seen, and predicts each as a whole and in
windows. For each checkpoint it prints both APs, the difference with its 95 % interval over videos (paired bootstrap),
and identity switches: in how many frames the track that covers an object (IoU of at least 0.5, score of at least 0.3)
is another one than when the object was last covered. `covered` is the number of frames that count.

`memory` prints the peak memory of a process that predicts a video of random frames with random weights, from its start.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pycocotools import mask as run_length

from mssts.config import resolve
from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.synthvis import generate, scene
from mssts.data.videos import network_frames, video_frames
from mssts.evaluation.matching import MatchRecords, match
from mssts.evaluation.statistics import bootstrap_intervals, resampled_metrics, resamples_of_videos
from mssts.inference.predict import load_run_model, predict_video, tracks_of_windows
from mssts.inference.windows import Found
from mssts.models import build_model
from mssts.models.faster import faster
from mssts.ytvis.submission import parse_submission
from mssts.ytvis.tracks import Track

MIN_IOU, MIN_SCORE = 0.5, 0.3
REPLICATES = 1000
WHOLE = 10**6


def switches(truth: Track, found: list[Found], length: int) -> tuple[int, int]:
    """How often the track that covers an object changes, and in how many frames one does."""
    shown = [one for one in found if one.score >= MIN_SCORE]
    changes, covered, last = 0, 0, None
    for frame, mask_HW in enumerate(truth.masks.decode(range(length)).astype(bool)):
        overlaps = {one.number: iou(one.segmentations[frame], mask_HW) for one in shown} if mask_HW.any() else {}
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= MIN_IOU:
            # a track that covers the object as before stays, although another one may cover it a little better
            now = last if overlaps.get(last, 0.0) >= MIN_IOU else best
            changes += last is not None and now != last
            covered, last = covered + 1, now
    return changes, covered


def iou(mask: dict[str, Any] | None, truth_HW: np.ndarray) -> float:
    """IoU of a predicted mask, which may be None, with a true one."""
    if mask is None:
        return 0.0
    pixels = run_length.decode([mask])[..., 0].astype(bool)
    return float((pixels & truth_HW).sum() / (pixels | truth_HW).sum())


def predicted(checkpoint: Path, split: VideoSplit, window: int, overlap: int) -> tuple[MatchRecords, int, int]:
    """Match records of a split, identity switches, and frames in which an object is covered."""
    model, config, categories = load_run_model(checkpoint)
    section = config.predict.model_copy(update={"window": window, "overlap": overlap})
    entries, counts = [], np.zeros(2, int)
    for video in split.videos:
        frames, size = video_frames(split, video, section.short_side, config.data)
        *_, tracks = tracks_of_windows(faster(model), frames, video.id, size, categories, section)
        best = tracks.best()
        for truth in (track for track in split.annotations.tracks_of[video.id] if not track.crowd):
            counts += switches(truth, best, video.length)
        entries += [
            {"video_id": video.id, "category_id": categories[found.label][0], "score": found.score}
            | {"segmentations": found.segmentations}
            for found in best
        ]
    records = match(split.annotations, parse_submission(entries, split.annotations).predictions)
    return records, *counts.tolist()


def ap(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each checkpoint."""
    scene.LENGTHS = (options.length, options.length)
    rows = []
    with TemporaryDirectory() as folder:
        sizes = resolve("embedded").data.synthetic.model_copy(
            update={"train_videos": 1, "valid_videos": options.videos, "control_videos": 1, "still_images": 1}
        )
        generate.generate(sizes, "synthvis-fresh", Path(folder) / "synthvis-fresh")
        split = split_annotations("synthvis-fresh", Path(folder) / "synthvis-fresh", "valid")
        weights = resamples_of_videos(len(split.videos), REPLICATES, np.random.default_rng(0))
        for checkpoint in options.checkpoints:
            whole, in_windows = (predicted(checkpoint, split, *way) for way in ((WHOLE, 0), tuple(options.windows)))
            scores = [100 * resampled_metrics(found[0], weights, ("AP",))["AP"] for found in (whole, in_windows)]
            [intervals] = bootstrap_intervals((scores[1] - scores[0])[None], [len(split.videos)])
            rows.append({
                "checkpoint": "/".join(checkpoint.parts[-3:-1]),
                "videos": len(split.videos),
                "AP_whole": round(float(scores[0][0]), 2),
                "AP_windows": round(float(scores[1][0]), 2),
                "difference": round(float(scores[1][0] - scores[0][0]), 2),
                "low": round(intervals.pointwise.low, 2),
                "high": round(intervals.pointwise.high, 2),
                "switches_whole": whole[1],
                "switches_windows": in_windows[1],
                "covered_whole": whole[2],
                "covered_windows": in_windows[2],
            })  # fmt: skip
            show(rows[-1])
    return rows


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each length of a video; each is predicted in a process of its own."""
    rows = []
    for length in options.frames:
        words = ["one", "--frames", str(length)]
        words += ["--backbone", options.backbone, "--scale", options.scale, "--variant", options.variant]
        words += ["--windows", *map(str, options.windows), "--size", *map(str, options.size)]
        start = time.monotonic()
        run = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
        names = {name: getattr(options, name) for name in ("backbone", "variant")}
        names |= {"window": options.windows[0], "frames": length}
        rows.append(names | {"peak_MB": int(run.stdout), "seconds": round(time.monotonic() - start)})
        show(rows[-1])
    return rows


def one(options: argparse.Namespace) -> None:
    """Predict a video of random frames, and print the peak memory of this process in MB."""
    torch.set_num_threads(1)
    config = resolve(options.scale, options.variant)
    categories = [(n, str(n)) for n in range(1, 41)]
    model = faster(
        build_model(config.model, options.backbone, len(categories), torch.Generator().manual_seed(0)).eval()
    )
    generator, size = torch.Generator().manual_seed(0), tuple(options.size)
    pixels = (torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator) for _ in range(*options.frames))
    frames = network_frames(pixels, size, config.predict.short_side, config.data)
    window, overlap = options.windows
    section = config.predict.model_copy(update={"window": window, "overlap": overlap})
    predict_video(model, frames, 1, size, categories, section)
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(int(line.split()[1]) * 1024 // 10**6)


def show(row: dict[str, Any]) -> None:
    print(*(f"{key} {value}" for key, value in row.items()), sep=", ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("ap")
    command.set_defaults(measure=ap)
    command.add_argument("checkpoints", type=Path, nargs="+")
    command.add_argument("--length", type=int, default=24)
    command.add_argument("--videos", type=int, default=240)
    command.add_argument("--windows", type=int, nargs=2, default=[12, 3], metavar=("WINDOW", "OVERLAP"))
    command.add_argument("--csv", type=Path)
    for name, measure in (("memory", memory), ("one", one)):
        command = commands.add_parser(name)
        command.set_defaults(measure=measure)
        command.add_argument("--backbone", default="resnet50")
        command.add_argument("--scale", default="paper")
        command.add_argument("--variant", default="baseline")
        command.add_argument("--frames", type=int, nargs="+", default=[100, 1000])
        command.add_argument("--windows", type=int, nargs=2, default=[100, 10], metavar=("WINDOW", "OVERLAP"))
        command.add_argument("--size", type=int, nargs=2, default=[720, 1280], metavar=("HEIGHT", "WIDTH"))
        command.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = options.measure(options)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
