"""A program for the tests: optimiser steps on as many processes as asked for; losses and weights as JSON.

Arguments: devices, precision, steps, checkpoint_encoder (0 or 1), data directory, output file.
"""

import json
import sys
from pathlib import Path

import torch

from mssts.config import Config, resolve
from mssts.core.distributed import start_fabric
from mssts.data.clips import ClipDataset, ClipLoader
from mssts.data.datasets import entry
from mssts.models import build_model
from mssts.training.failures import TrainingProgress
from mssts.training.micro_batches import MicroBatches
from mssts.training.trainer import Generators, Trainer
from mssts.ytvis.annotations import VideoAnnotations


def main(devices: int, precision: str, steps: int, recompute: bool, data: Path, output: Path) -> None:
    tree = resolve("smoke", "ms_sts_temporal_fgbg").model_dump(by_alias=True)
    tree["model"]["dropout"] = 0.1
    tree["runtime"]["precision"] = precision
    tree["train"]["batch_clips"] = 4
    tree["execution"] |= {"devices": devices, "clips_per_device": 1, "checkpoint_encoder": recompute}
    config = Config.model_validate(tree)
    fabric = start_fabric("cpu", precision, devices)
    torch.set_num_threads(1)
    generators = Generators.from_seed("train", 1)
    micro_batches = MicroBatches.split(4, config.execution, fabric.global_rank)
    clips = ClipDataset(VideoAnnotations.read(*entry("synthvis").files(data, "train"), "synthvis"), 3, config.data)
    model = build_model(config.model, "tiny", len(clips.categories), generators.model)
    progress = TrainingProgress("spread", output)
    classes = len(clips.categories)
    trainer = Trainer(fabric, model, config, config.train, classes, micro_batches, generators, progress)
    own = micro_batches.own
    batches = iter(ClipLoader(clips, 4, steps, generators.clips, 32, part_clips=micro_batches.clips, firsts=own))
    losses = [trainer.step(step, [next(batches) for _ in own])[0] for step in range(steps)]
    weights = {key: value.double().sum().item() for key, value in model.state_dict().items()}
    if fabric.is_global_zero:
        output.write_text(json.dumps({"losses": losses, "weights": weights}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1", Path(sys.argv[5]), Path(sys.argv[6]))
