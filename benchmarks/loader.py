"""Time of preparation and of loading at the size of the paper, on the files of `benchmarks/paper_size_data.py`.

    python benchmarks/loader.py DIRECTORY [--workers 0 1 2] [--clips 60] [--seed 0]

For YouTube-VIS 2019 and for COCO, it prints

- preparation: seconds of processor time for the annotations alone, and image headers per second;
- reading for a training: seconds of processor time, and the memory that the process then has to itself;
- clips per second for each number of loader workers (0: this process), in batches of one clip of five frames with the
  augmentation of the scale `paper-2019`, after a warm-up; seconds of processor time per clip without workers; and the
  memory that a worker has to itself, most of which holds frames.

Every part runs in a new process with one thread. Run it twice: the second time the files are in the cache.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from mssts.config import resolve
from mssts.data.clips import ClipDataset, ClipLoader
from mssts.data.coco import COCO, read_coco
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import STILLS, split_annotations
from mssts.data.images import check_images
from mssts.data.prepare import prepare, prepare_coco
from mssts.data.stills import StillClipDataset
from mssts.ytvis.annotations import FrameFile
from mssts.ytvis.problems import Problems

T = TypeVar("T")
DATASET, SCALE, FRAMES = "ytvis2019", "paper-2019", 5


def in_new_process(function: Callable[..., T], *arguments: Any) -> T:
    """What a function returns that runs in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def own_memory(process: str = "self") -> float:
    """Memory in MB that a process shares with no other one."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def preparation(directory: Path, dataset: str) -> str:
    """Prepare a dataset, and check its headers once more."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        prepare_coco(directory) if dataset == COCO_DIRECTORY else prepare(dataset, directory)
    total = time.process_time() - start
    if dataset == COCO_DIRECTORY:
        parts = [COCO.read(directory, STILLS)]
    else:
        parts = [split_annotations(dataset, directory, split, "optional") for split in ("train", "valid")]
    files = [
        FrameFile(part.frame_name(video, t), part.frame_path(video, t), video.height, video.width)
        for part in parts
        for video in part.videos
        for t in range(video.length)
    ]
    start, start_of_processor = time.perf_counter(), time.process_time()
    check_images(files, Problems(str(directory)))
    seconds, of_processor = time.perf_counter() - start, time.process_time() - start_of_processor
    rates = f"{len(files) / seconds:,.0f} per second, {len(files) / of_processor:,.0f} per second of processor time"
    return f"annotations {total - of_processor:.1f} s, {len(files):,} headers: {rates}"


def loading(directory: Path, dataset: str, workers: list[int], clips: int, seed: int) -> list[str]:
    """Read a dataset as a training does, and load clips."""
    start, config = time.process_time(), resolve(SCALE).data
    source: ClipDataset
    if dataset == COCO_DIRECTORY:
        source = StillClipDataset(read_coco(directory, DATASET), FRAMES, config)
    else:
        source = ClipDataset(split_annotations(dataset, directory, "local_train"), FRAMES, config)
    lines = [f"read in {time.process_time() - start:.1f} s, memory of its own {own_memory():.0f} MB"]
    for number in workers:
        skipped = 1 + 2 * number  # the loader asks each worker for two batches ahead
        batches = iter(ClipLoader(source, 1, skipped + clips, seed, config.pad_multiple, workers=number))
        for _ in range(skipped):
            next(batches)
        start, start_of_processor, largest = time.perf_counter(), time.process_time(), 0.0
        for n in range(clips):
            next(batches)
            if n == clips // 2:
                largest = max((own_memory(str(child.pid)) for child in multiprocessing.active_children()), default=0.0)
        rate = clips / (time.perf_counter() - start)
        line = f"{number} workers: {rate:.2f} clips per second"
        of_clip = (time.process_time() - start_of_processor) / clips
        lines.append(f"{line}, a worker's own memory {largest:.0f} MB" if number else f"{line} of {of_clip:.3f} s each")
    return lines


def main() -> None:
    """Print the lines of both datasets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for dataset in (DATASET, COCO_DIRECTORY):
        directory = options.directory / dataset
        lines = [f"preparation: {in_new_process(preparation, directory, dataset)}"]
        lines += in_new_process(loading, directory, dataset, options.workers, options.clips, options.seed)
        print("\n  ".join([f"{dataset}:", *lines]), flush=True)


if __name__ == "__main__":
    main()
