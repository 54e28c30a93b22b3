"""Time of a training step on a CPU, of this checkout and of another one.

    python benchmarks/training_step.py OTHER [--variant ms_sts_temporal] [--layers 2] [--rounds 15] [--steps 20]

OTHER is the directory of another version of this repository, for example of `git archive COMMIT | tar x -C OTHER`.
Each version runs in its own process on one thread: the `embedded` scale with a number of decoder layers, batches of two
clips of three frames of 64x96 pixels with one to three rectangles each. The versions take turns, a round of steps each,
and the other one comes first.

A step is forward pass, matching, losses, backward pass, clipping of the gradients and optimizer, without the loading of
clips. Printed are medians of its processor time, over all steps, and the median over the rounds of the ratio of a
round's medians; beside them the number of operators of a step and the loss of the last one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
CLIPS, FRAMES, HEIGHT, WIDTH, CLASSES = 2, 3, 64, 96, 5


def random_batch(seed: int) -> Any:
    """Draw two clips with rectangles that move by a few pixels per frame."""
    import torch

    from mssts.core.records import Batch, Instances
    from mssts.data.clips import boxes_of_masks

    generator = torch.Generator().manual_seed(seed)
    instances = []
    for _ in range(CLIPS):
        count = int(torch.randint(1, 4, (), generator=generator))
        masks_NTHW = torch.zeros(count, FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
        for n in range(count):
            top, left = (int(torch.randint(side // 2, (), generator=generator)) for side in (HEIGHT, WIDTH))
            height, width = (int(torch.randint(8, side // 2 - 8, (), generator=generator)) for side in (HEIGHT, WIDTH))
            for t in range(FRAMES):
                masks_NTHW[n, t, top + 2 * t : top + 2 * t + height, left + 3 * t : left + 3 * t + width] = True
        labels = torch.randint(CLASSES, (count,), generator=generator)
        instances.append(Instances(labels, boxes_of_masks(masks_NTHW), masks_NTHW))
    return Batch(
        frames_BT3HW=torch.randn(CLIPS, FRAMES, 3, HEIGHT, WIDTH, generator=generator),
        padding_mask_BTHW=torch.zeros(CLIPS, FRAMES, HEIGHT, WIDTH, dtype=torch.bool),
        sizes=((HEIGHT, WIDTH),) * CLIPS,
        instances=tuple(instances),
        video_ids=tuple(range(CLIPS)),
    )


def serve(variant: str, layers: int) -> None:
    """Run as many steps as each line of standard input says; answer with their seconds and the last loss."""
    import torch

    from mssts.config import ABLATIONS, Config, resolve
    from mssts.core.distributed import start_fabric
    from mssts.models import build_model
    from mssts.training.failures import TrainingProgress
    from mssts.training.record import TrainingRun
    from mssts.training.trainer import Generators, Trainer

    tree = resolve("embedded", variant, Path.cwd() / ABLATIONS).model_dump(by_alias=True)
    tree["model"]["decoder"]["layers"] = layers
    config = Config.model_validate(tree)
    torch.use_deterministic_algorithms(True, warn_only=True)  # older versions set it outside of `start_fabric`
    with start_fabric("cpu", "32-true") as fabric:
        torch.set_num_threads(1)
        generators = Generators.from_seed("train", 1)
        run = TrainingRun("train", "embedded", "synthvis", "tiny", variant, 1, 1, config)
        model = build_model(config.model, "tiny", CLASSES, generators.model)
        trainer = Trainer(fabric, model, run, generators, TrainingProgress("benchmark", Path()))
        batches = [random_batch(seed) for seed in range(8)]
        done = 0

        def steps(number: int) -> dict[str, Any]:
            nonlocal done
            seconds = []
            for _ in range(number):
                start = time.process_time()
                losses, _ = trainer.step(done, [batches[done % len(batches)]])
                seconds.append(time.process_time() - start)
                done += 1
            return {"seconds": seconds, "loss": float(losses["loss"])}

        steps(10)
        with torch.profiler.profile() as profile:
            steps(1)
        operators = sum(event.name.startswith("aten::") for event in profile.events())
        for line in sys.stdin:
            print(json.dumps(steps(int(line)) | {"operators": operators}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", nargs="?", type=Path, help="directory of another version of this repository")
    parser.add_argument("--variant", default="ms_sts_temporal")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.variant, options.layers)
        return
    command = [sys.executable, __file__, "--serve", "--variant", options.variant, "--layers", str(options.layers)]
    workers = {}
    for name, directory in (("other", options.other), ("this", HERE)):
        if directory is not None:
            environment = os.environ | {"PYTHONPATH": str(directory.resolve()), "OMP_NUM_THREADS": "1"}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            workers[name] = subprocess.Popen(command, cwd=directory, env=environment, text=True, **pipes)
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(options.rounds):
        rounds.append({})
        for name, worker in workers.items():
            print(options.steps, file=worker.stdin, flush=True)
            rounds[-1][name] = json.loads(worker.stdout.readline())
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    for name in workers:
        median = statistics.median(second for answers in rounds for second in answers[name]["seconds"])
        last = rounds[-1][name]
        print(f"{name:>6}: {1000 * median:.2f} ms, {last['operators']} operators, last loss {last['loss']:.6f}")
    if options.other:
        ratios = [
            statistics.median(answers["this"]["seconds"]) / statistics.median(answers["other"]["seconds"])
            for answers in rounds
        ]
        print(f" ratio: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
