"""Time and memory of the loading of training clips of the paper's size.

    python benchmarks/loading.py [--other DIRECTORY] [--rounds 5]

A question loads ten clips of five frames, 50 frames, with the augmentation of the scale `paper-2019`, from a hundredth
of the files of `benchmarks/paper_size_data.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rounds

CLIPS, FRAMES, PART = 10, 5, 0.01
NAMES = {"ytvis2019": "videos of 720p", "coco": "stills of 640x480"}


def serve(directory: str, dataset: str) -> rounds.Answers:
    """Answer with time or memory of so many clips."""
    import torch
    from loader import DATASET, SCALE

    from mssts.config import ABLATIONS, resolve
    from mssts.data.clips import ClipDataset, ClipLoader
    from mssts.data.coco import read_coco
    from mssts.data.datasets import split_annotations
    from mssts.data.stills import StillClipDataset

    torch.set_num_threads(1)
    config, source = resolve(SCALE, root=Path.cwd() / ABLATIONS).data, Path(directory) / dataset
    clips: ClipDataset | StillClipDataset
    if dataset == "coco":
        clips = StillClipDataset(read_coco(source, DATASET), FRAMES, config)
    else:
        clips = ClipDataset(split_annotations(dataset, source, "local_train"), FRAMES, config)
    meter = rounds.Meter()

    def load() -> None:
        for _ in ClipLoader(clips, 1, CLIPS, 0, config.pad_multiple, workers=0):
            pass

    return meter, lambda: meter(load)[1]


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of videos and of stills."""
    from loader import in_new_process, preparation
    from paper_size_data import write_coco, write_youtube_vis

    with TemporaryDirectory() as name:
        directory = Path(name)
        write_youtube_vis(directory / "ytvis2019", PART, np.random.default_rng(0))
        write_coco(directory / "coco", PART, np.random.default_rng(1))
        for dataset, title in NAMES.items():
            in_new_process(preparation, directory / dataset, dataset)
            settings: dict[str, dict[str, Any]] = {"this": {"directory": name, "dataset": dataset}}
            if options.other:
                settings["other"] = settings["this"]
            with rounds.contenders(__file__, settings, options.other) as started:
                yield from rounds.compare("data", f"{CLIPS * FRAMES} frames, {title}", started, options.rounds)[0]


if __name__ == "__main__":
    rounds.run(argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]), measure, serve)
