"""A program for the tests: optimiser steps on as many processes as asked for; losses and weights as JSON.

In the second step, every other micro-batch has no instances. Also noted: how often the gradients were summed over the
processes.

Arguments: devices, precision, steps, checkpoint_encoder (0 or 1), data directory, output file.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from mssts.config import Config, resolve
from mssts.core.distributed import start_fabric
from mssts.core.records import Batch, Instances
from mssts.data.clips import ClipLoader
from mssts.data.training import training_clips
from mssts.models import build_model
from mssts.training.failures import TrainingProgress
from mssts.training.record import TrainingRun
from mssts.training.trainer import Generators, Trainer


def main(devices: int, precision: str, steps: int, recompute: bool, data: Path, output: Path) -> None:
    tree = resolve("smoke", "ms_sts_temporal_fgbg").model_dump(by_alias=True)
    tree["model"]["dropout"] = 0.1
    tree["runtime"]["precision"] = precision
    tree["train"]["batch_clips"] = 4
    tree["execution"] |= {"devices": devices, "clips_per_device": 1, "checkpoint_encoder": recompute}
    config = Config.model_validate(tree)
    with start_fabric("cpu", precision, devices) as fabric:
        torch.set_num_threads(1)
        generators = Generators.from_seed("train", 1)
        clips = training_clips("synthvis", data, config)
        model = build_model(config.model, "tiny", len(clips.categories), generators.model)
        progress = TrainingProgress("spread", output)
        run = TrainingRun("train", "smoke", "synthvis", "tiny", "ms_sts_temporal_fgbg", 1, 1, config)
        trainer = Trainer(fabric, model, run, generators, progress)
        clips_at_once, own = trainer.micro_batches.clips, trainer.micro_batches.own
        batches = iter(ClipLoader(clips, 4, steps, generators.clips, 32, micro_batch_clips=clips_at_once, firsts=own))
        reductions = count_reductions(trainer._network._forward_module)
        losses = []
        for step in range(steps):
            own_batches = [next(batches) for _ in own]
            if step == 1:
                for index, first in enumerate(own):
                    own_batches[index] = without_instances(own_batches[index]) if first % 2 else own_batches[index]
            losses.append({name: value.item() for name, value in trainer.step(step, own_batches)[0].items()})
        weights = {key: value.double().sum().item() for key, value in model.state_dict().items()}
        if fabric.is_global_zero:
            output.write_text(json.dumps({"losses": losses, "weights": weights, "reductions": len(reductions)}))


def without_instances(batch: Batch) -> Batch:
    """The same clips without ground truth."""
    empty = tuple(Instances(*(values[:0] for values in vars(clip).values())) for clip in batch.instances)
    return replace(batch, instances=empty)


def count_reductions(network: torch.nn.Module) -> list[int]:
    """A list that gets longer by one for each time that the gradients are summed over the processes."""
    reductions: list[int] = []

    def reduce(state: None, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        if bucket.is_last():
            reductions.append(bucket.index())
        return allreduce_hook(torch.distributed.group.WORLD, bucket)

    if isinstance(network, DistributedDataParallel):
        network.register_comm_hook(None, reduce)
    return reductions


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1", Path(sys.argv[5]), Path(sys.argv[6]))
