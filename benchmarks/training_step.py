"""Time and memory of a training step on one CPU thread: of this checkout, of another one, and of the public SeqFormer.

    python benchmarks/training_step.py [--public DIRECTORY] [--other DIRECTORY] [--sizes paper embedded] [--steps 20]
        [--rounds 5]

--public is a checkout of the public SeqFormer, whose attention runs in its pure PyTorch form; --other is another
version of this repository, for example of `git archive COMMIT | tar x -C OTHER`.

- `paper`: ResNet-50, one clip of three frames of 192x320 pixels with three objects. A step is forward pass, matching,
  losses and backward pass. The weights are random and equal and dropout is 0, so that losses and gradients can be
  compared: their largest differences are printed.
- `embedded`: 20 steps of the trainer at that scale, with the variant `ms_sts_temporal`: two clips of three frames of
  64x96 pixels with one to three objects. A step is also clipping of the gradients and optimizer. The number of
  operators of a step and the last loss are printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import public_code
import rounds

PAPER_FRAMES, PAPER_SIZE, PAPER_CLASSES = 3, (192, 320), 42
EMBEDDED_CLIPS, EMBEDDED_FRAMES, EMBEDDED_SIZE, EMBEDDED_CLASSES = 2, 3, (64, 96), 5
VARIANT = "ms_sts_temporal"
PUBLIC_NAMES = {"loss_class": "loss_ce", "loss_l1": "loss_bbox"}


def random_batch(seed: int, counts: list[int], frames: int, size: tuple[int, int], classes: int) -> Any:
    """Draw a clip for each count, with so many rectangles that move by a few pixels per frame."""
    import torch

    from mssts.core.records import Batch, Instances
    from mssts.data.clips import boxes_of_masks

    generator = torch.Generator().manual_seed(seed)
    instances = []
    for count in counts:
        masks_NTHW = torch.zeros(count, frames, *size, dtype=torch.bool)
        for n in range(count):
            top, left = (int(torch.randint(side // 2, (), generator=generator)) for side in size)
            height, width = (int(torch.randint(8, side // 2 - 8, (), generator=generator)) for side in size)
            for t in range(frames):
                masks_NTHW[n, t, top + 2 * t : top + 2 * t + height, left + 3 * t : left + 3 * t + width] = True
        labels = torch.randint(classes, (count,), generator=generator)
        instances.append(Instances(labels, boxes_of_masks(masks_NTHW), masks_NTHW))
    clips = len(counts)
    return Batch(
        frames_BT3HW=torch.randn(clips, frames, 3, *size, generator=generator),
        padding_mask_BTHW=torch.zeros(clips, frames, *size, dtype=torch.bool),
        sizes=(size,) * clips,
        instances=tuple(instances),
        video_ids=tuple(range(clips)),
    )


def public_step(directory: Path, weights: Path) -> tuple[Any, Callable[[], dict[str, Any]]]:
    """Model of the public code, and a function that does a step and returns the losses with their sum, "loss"."""
    import torch

    model, criterion = public_code.build(directory, num_frames=PAPER_FRAMES, dropout=0.0)
    model.load_state_dict(torch.load(weights, weights_only=True))
    batch = random_batch(0, [3], PAPER_FRAMES, PAPER_SIZE, PAPER_CLASSES)
    (instances,) = batch.instances
    target = {
        "labels": instances.labels_N,
        "boxes": instances.boxes_NT4.flatten(0, 1),
        "masks": instances.masks_NTHW.flatten(0, 1),
        "size": torch.tensor(PAPER_SIZE),
    }
    model.train()

    def step() -> dict[str, Any]:
        _, losses = model(batch.frames_BT3HW[0], [target], criterion, train=True)
        losses["loss"] = sum(losses[name] * weight for name, weight in criterion.weight_dict.items() if name in losses)
        losses["loss"].backward()
        return losses

    return model, step


def own_step(weights: Path | None) -> tuple[Any, Callable[[], dict[str, Any]]]:
    """As `public_step`, of the version of this repository that is on the path; the losses have the public names."""
    import torch

    from mssts.config import ABLATIONS, load_baseline
    from mssts.inference.public_names import import_public
    from mssts.losses import Criterion
    from mssts.models import build_model

    torch.use_deterministic_algorithms(True)  # as the trainer does
    config = load_baseline(Path.cwd() / ABLATIONS)
    model = build_model(config.model.model_copy(update={"dropout": 0.0}), "resnet50", PAPER_CLASSES).train()
    if weights:
        model.load_state_dict(import_public(torch.load(weights, weights_only=True)))
    criterion = Criterion(config.loss)
    batch = random_batch(0, [3], PAPER_FRAMES, PAPER_SIZE, PAPER_CLASSES)

    def step() -> dict[str, Any]:
        terms, _ = criterion(model(batch.frames_BT3HW, batch.padding), batch, num_boxes=3)
        loss = criterion.total(terms)
        loss.backward()
        named = {PUBLIC_NAMES.get(name, name): values_L.unbind() for name, values_L in terms.items()}
        auxiliary = {f"{name}_{i}": value for name, values in named.items() for i, value in enumerate(values[:-1])}
        return auxiliary | {name: values[-1] for name, values in named.items()} | {"loss": loss}

    return model, step


def serve_paper(result: str, weights: str | None, public: str | None = None) -> rounds.Answers:
    """Answer with time and memory of a step, whose losses and gradients go to the file `result`."""
    import torch

    torch.set_num_threads(1)
    model, step = public_step(Path(public), Path(weights)) if public else own_step(weights and Path(weights))
    meter = rounds.Meter()

    def answer() -> dict[str, Any]:
        model.zero_grad()
        losses, measured = meter(step)
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save({"losses": {name: value.item() for name, value in losses.items()}, "gradients": gradients}, result)
        return measured

    return meter, answer


def serve_embedded() -> rounds.Answers:
    """Answer with time or memory of so many steps of the trainer, the last loss and the operators of a step."""
    import torch

    from mssts.config import ABLATIONS, resolve
    from mssts.core.distributed import start_fabric
    from mssts.models import build_model
    from mssts.training.failures import TrainingProgress
    from mssts.training.record import TrainingRun
    from mssts.training.trainer import Generators, Trainer

    config = resolve("embedded", VARIANT, Path.cwd() / ABLATIONS)
    torch.use_deterministic_algorithms(True, warn_only=True)  # older versions set it outside of `start_fabric`
    fabric = rounds.LASTING.enter_context(start_fabric("cpu", "32-true"))
    torch.set_num_threads(1)
    generators = Generators.from_seed("train", 1)
    run = TrainingRun("train", "embedded", "synthvis", "tiny", VARIANT, 1, 1, config)
    model = build_model(config.model, "tiny", EMBEDDED_CLASSES, generators.model)
    trainer = Trainer(fabric, model, run, generators, TrainingProgress("benchmark", Path()))
    counts = [[1 + (seed + clip) % 3 for clip in range(EMBEDDED_CLIPS)] for seed in range(8)]
    batches = [
        random_batch(seed, own, EMBEDDED_FRAMES, EMBEDDED_SIZE, EMBEDDED_CLASSES) for seed, own in enumerate(counts)
    ]
    done = 0

    def steps(number: int) -> float:
        nonlocal done
        for _ in range(number):
            losses, _ = trainer.step(done, [batches[done % len(batches)]])
            done += 1
        return float(losses["loss"])

    with torch.profiler.profile() as profile:
        steps(1)
    operators = sum(event.name.startswith("aten::") for event in profile.events())
    meter = rounds.Meter()

    def answer(number: int) -> dict[str, Any]:
        loss, measured = meter(steps, number)
        return measured | {"loss": loss, "operators": operators}

    return meter, answer


def serve(size: str, **settings: Any) -> rounds.Answers:
    """Answer questions about one of the two sizes."""
    return serve_paper(**settings) if size == "paper" else serve_embedded()


def difference(folder: Path, name: str) -> str:
    """The largest differences of losses and gradients between this checkout and another contender."""
    import torch

    from mssts.inference.public_names import import_public

    own, their = (torch.load(folder / f"{contender}.pt") for contender in ("this", name))
    if name == "public":
        their["gradients"] = import_public(their["gradients"])
    losses = {key: abs(their["losses"][key] - value) / abs(value) for key, value in own["losses"].items()}
    worst = max(losses, key=losses.__getitem__)
    if own["gradients"].keys() != their["gradients"].keys():
        different = sorted(own["gradients"].keys() ^ their["gradients"].keys())
        return f"gradients only on one side: {', '.join(different)}"
    own_gradients = torch.cat([value.flatten() for value in own["gradients"].values()]).double()
    apart = own_gradients - torch.cat([their["gradients"][key].flatten() for key in own["gradients"]])
    return (
        f"loss {own['losses']['loss']:.6f} and {their['losses']['loss']:.6f}; losses differ by at most "
        f"{losses[worst]:.1e} of their value ({worst}); gradients by "
        f"{apart.norm() / own_gradients.norm():.1e} of their norm, in an entry by {apart.abs().max():.1e}, where the "
        f"largest entry is {own_gradients.abs().max():.2g}"
    )


def measure_paper(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of the paper's size."""
    import torch

    height, width = PAPER_SIZE
    case = f"paper, T={PAPER_FRAMES}, {height}x{width}, ResNet-50"
    with TemporaryDirectory() as name:
        folder, weights = Path(name), None
        if options.public:
            weights = str(folder / "weights.pt")
            torch.save(public_code.build(options.public)[0].state_dict(), weights)
        directories = {"this": None, "other": options.other, "public": options.public}
        settings = {
            contender: {"size": "paper", "weights": weights, "result": str(folder / f"{contender}.pt")}
            for contender, directory in directories.items()
            if directory or contender == "this"
        }
        if options.public:
            settings["public"]["public"] = str(options.public)
        with rounds.contenders(__file__, settings, options.other) as started:
            rows, _ = rounds.compare("training step", case, started, options.rounds)
        for contender in [contender for contender in started if contender != "this"]:
            print(f"this and {contender}: {difference(folder, contender)}", flush=True)
    yield from rows


def measure_embedded(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of the embedded scale."""
    settings = {name: {"size": "embedded"} for name in (["this", "other"] if options.other else ["this"])}
    with rounds.contenders(__file__, settings, options.other) as started:
        case = f"embedded, {VARIANT}, {options.steps} steps"
        rows, last = rounds.compare("training step", case, started, options.rounds, number=options.steps)
    for name, answer in last.items():
        print(f"{name}: {answer['operators']} operators, last loss {answer['loss']:.6f}", flush=True)
    yield from rows


def measure(options: argparse.Namespace) -> Iterator[rounds.Row]:
    """Rows of the sizes that are asked for."""
    for size in options.sizes:
        yield from measure_paper(options) if size == "paper" else measure_embedded(options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=("paper", "embedded"), default=["paper", "embedded"])
    parser.add_argument("--steps", type=int, default=20, help="steps of a round at the embedded scale")
    rounds.run(parser, measure, serve)
