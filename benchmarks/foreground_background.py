"""Measure what the discriminator of the foreground-background loss learns from different games.

    python benchmarks/foreground_background.py CHECKPOINT --data data/embedded/synthvis
        [--arms hard "hard + foreign"] [--seeds 0] [--steps 600] [--trainings 1 2 3 [--warmup-steps 100]]

Each game trains a new discriminator with the frozen model of CHECKPOINT, on training clips. Its probability that a mask
is the foreground, averaged over the patches of a frame, is then compared on validation clips between true masks, true
masks that were changed, and predicted masks. The last columns show the gradient that the model would receive, relative
to that of the criterion: its size in the encoder and its cosine with it, both of the mean over the validation clips,
once through the predicted masks only and once through the encoder features only.

`--trainings` instead trains models from CHECKPOINT (a pre-trained one) as variant `fgbg` does, once for each seed and
warm-up, and shows what the discriminator has learned at the end. AP is not looked at: games are chosen by what the
discriminator learns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata, spearmanr
from torch import Tensor, nn

from mssts.config import Config
from mssts.core.records import Batch
from mssts.data.clips import ClipDataset, ClipLoader
from mssts.data.datasets import split_annotations
from mssts.inference.predict import load_run_model
from mssts.losses import Criterion, ForegroundBackgroundAdversary, Matches
from mssts.losses.adversary import BETAS, foreign_foreground, predicted_foreground, true_foreground
from mssts.losses.discriminator import LEVELS, SLOPE, STRIDE, Discriminator
from mssts.models import MsStsVis, Output
from mssts.training.optimizer import build_optimizer, rate_factor

FAKES = ("predicted", "eroded", "dilated", "shifted")  # of which the rank correlation with the IoU is taken
VALID_BATCHES = 60


@dataclass(frozen=True)
class Game:
    """How a discriminator is trained.

    Attributes:
        fakes: Weight of each kind of mask that is not the foreground; the true mask has weight 1.
        fine: The mask enters at stride 4 through a convolution of its own, instead of averaged to stride 8.
    """

    fakes: dict[str, float]
    fine: bool = False


ARMS = {
    "untrained": Game({}),
    "soft (before)": Game({"soft": 1.0}, fine=True),
    "hard": Game({"predicted": 1.0}),
    "foreign": Game({"foreign": 1.0}),
    "hard + foreign": Game({"predicted": 0.5, "foreign": 0.5}),
    "hard + foreign, quarter": Game({"predicted": 0.25, "foreign": 0.75}),
    "hard + foreign, fine": Game({"predicted": 0.5, "foreign": 0.5}, fine=True),
}


@dataclass(frozen=True)
class Scene:
    """What a discriminator sees of a batch: frames at stride 8, features, and masks by kind, (BT, 1, h, w) each."""

    frames: Tensor
    features: tuple[Tensor, ...]
    masks: dict[str, Tensor]


def batches(config: Config, data: Path, split: str, steps: int, clips: int, seed: int) -> ClipLoader:
    """Clips of a split, each with a foreign foreground."""
    dataset = ClipDataset(split_annotations("synthvis", data, split), config.train.frames, config.data, True)
    return ClipLoader(dataset, clips, steps, seed, config.data.pad_multiple)


def conditions(batch: Batch, output: Output) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Frames and features as the discriminator gets them, with the gradient of the features."""
    frames = F.avg_pool2d(batch.frames_BT3HW.flatten(0, 1), STRIDE, ceil_mode=True)
    return frames, tuple(level.flatten(0, 1) for level in output.memory[:LEVELS])


def soft_foreground(batch: Batch, output: Output, matches: Matches) -> Tensor:
    """Soft union 1 - prod(1 - p) of the matched instances, which the straight-through gradient belongs to."""
    last = len(output.layers) - 1
    unions = [
        1 - (-F.softplus(output.mask_logits(last, clip, matches.queries(last, clip))).sum(0)).exp()
        for clip in range(len(matches.counts))
    ]
    inside_BThw = ~batch.padding_mask_BTHW[..., 2::4, 2::4]
    return (torch.stack(unions) * inside_BThw).flatten(0, 1)[:, None]


def changed_masks(batch: Batch) -> dict[str, Tensor]:
    """True masks eroded and dilated by one pixel, and shifted by half a frame."""

    def changed(change: Callable[[Tensor], Tensor]) -> Tensor:
        masks_THW = tuple(change(clip.masks_NTHW.any(0)) for clip in batch.instances)
        return foreign_foreground(replace(batch, foreign_foregrounds_THW=masks_THW)).float()

    def dilate(mask_THW: Tensor) -> Tensor:
        return F.max_pool2d(mask_THW.float(), 3, stride=1, padding=1) > 0

    return {
        "eroded": changed(lambda mask_THW: ~dilate(~mask_THW)),
        "dilated": changed(dilate),
        "shifted": changed(lambda mask_THW: mask_THW.roll(mask_THW.shape[-1] // 2, -1)),
    }


@torch.no_grad()
def scenes(model: MsStsVis, criterion: Criterion, loader: ClipLoader, held_out: bool) -> list[Scene]:
    """The scenes of all batches of a frozen model."""
    found = []
    for batch in loader:
        output = model(batch.frames_BT3HW, batch.padding)
        _, matches = criterion(output, batch, 1)
        masks = {
            "true": true_foreground(batch).float(),
            "predicted": predicted_foreground(batch, output, matches),
            "soft": soft_foreground(batch, output, matches),
            "foreign": foreign_foreground(batch).float(),
        }
        found.append(Scene(*conditions(batch, output), masks | (changed_masks(batch) if held_out else {})))
    return found


def new_discriminator(config: Config, game: Game, seed: int) -> Discriminator:
    channels, generator = config.loss.foreground_background.channels, torch.Generator().manual_seed(seed)
    discriminator = Discriminator(channels, config.model.hidden_dim, generator)
    if game.fine:
        first, second = nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, channels, 4, 2, 1, bias=False)
        for layer in (first, second):
            nn.init.kaiming_uniform_(layer.weight, a=SLOPE, generator=generator)
        discriminator.mask = nn.Sequential(first, nn.LeakyReLU(SLOPE), second)
    return discriminator


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def play(game: Game, discriminator: Discriminator, config: Config, training: list[Scene]) -> float:
    """Train a discriminator, one step per scene; return milliseconds per step."""
    rate = config.loss.foreground_background.learning_rate
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=rate, betas=BETAS, fused=True)
    started = time.perf_counter()
    for scene in training if game.fakes else []:
        masks = torch.stack([scene.masks[kind] for kind in ("true", *game.fakes)])
        true, *fakes = discriminator(scene.frames, scene.features, masks)
        weighted = [weight * bce(logits, 0) for weight, logits in zip(game.fakes.values(), fakes, strict=True)]
        (bce(true, 1) + sum(weighted)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return 1000 * (time.perf_counter() - started) / len(training)


def auroc(positive_N: Tensor, negative_M: Tensor) -> float:
    """Probability that a positive is above a negative, ties counting half."""
    ranks = rankdata(np.concatenate((positive_N, negative_M)))[: len(positive_N)]
    return float((ranks.mean() - (len(positive_N) + 1) / 2) / len(negative_M))


@torch.no_grad()
def learned(discriminator: Discriminator, held_out: list[Scene]) -> dict[str, float]:
    """What the discriminator thinks of masks, over the frames that show the true and the foreign foreground."""
    verdicts: dict[str, list[Tensor]] = {kind: [] for kind in held_out[0].masks}
    overlaps: dict[str, list[Tensor]] = {kind: [] for kind in held_out[0].masks}
    for scene in held_out:
        true = scene.masks["true"].flatten(1)
        shown = true.any(1) & scene.masks["foreign"].flatten(1).any(1)
        logits = discriminator(scene.frames, scene.features, torch.stack(list(scene.masks.values())))
        for (kind, mask), verdict in zip(scene.masks.items(), logits.sigmoid().flatten(2).mean(2), strict=True):
            both, either = true * mask.flatten(1), torch.maximum(true, mask.flatten(1))
            verdicts[kind].append(verdict[shown])
            overlaps[kind].append((both.sum(1) / either.sum(1))[shown])
    of = {kind: torch.cat(parts) for kind, parts in verdicts.items()}
    mean = {f"D {kind}": values.mean().item() for kind, values in of.items()}
    fakes = (
        torch.cat([found[kind] for kind in FAKES]) for found in (of, {k: torch.cat(v) for k, v in overlaps.items()})
    )
    return {
        "AUROC foreign": auroc(of["true"], of["foreign"]),
        "AUROC shifted": auroc(of["true"], of["shifted"]),
        "AUROC predicted": auroc(of["true"], of["predicted"]),
        "true - foreign": mean["D true"] - mean["D foreign"],
        "rank IoU": float(spearmanr(*fakes).statistic),
        "one pixel": max(abs(mean[f"D {kind}"] - mean["D true"]) for kind in ("eroded", "dilated")),
    } | mean


def gradients(
    arms: dict[str, tuple[Game, Discriminator]],
    model: MsStsVis,
    criterion: Criterion,
    weight: float,
    loader: ClipLoader,
) -> dict[str, dict[str, float]]:
    """Mean gradients in the encoder through masks and through features: size and cosine relative to the criterion's."""
    parameters = list(model.encoder.parameters())

    def gradient(loss: Tensor) -> Tensor:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in found])

    criterion_sum = torch.zeros(sum(parameter.numel() for parameter in parameters))
    sums = {name: {way: torch.zeros_like(criterion_sum) for way in ("masks", "features")} for name in arms}
    for batch in loader:
        output = model(batch.frames_BT3HW, batch.padding)
        terms, matches = criterion(output, batch, sum(len(clip.labels_N) for clip in batch.instances))
        criterion_sum += gradient(criterion.total(terms))
        frames, features = conditions(batch, output)
        detached = tuple(level.detach() for level in features)
        hard, soft = predicted_foreground(batch, output, matches), soft_foreground(batch, output, matches)
        for name, (game, discriminator) in arms.items():
            mask = soft if "soft" in game.fakes else hard
            sums[name]["masks"] += gradient(weight * bce(discriminator(frames, detached, mask[None]), 1))
            sums[name]["features"] += gradient(weight * bce(discriminator(frames, features, mask[None].detach()), 1))
    return {
        name: {
            f"{quantity} {way}": value
            for way, total in ways.items()
            for quantity, value in (
                ("size", (total.norm() / criterion_sum.norm()).item()),
                ("cosine", F.cosine_similarity(total, criterion_sum, dim=0).item()),
            )
        }
        for name, ways in sums.items()
    }


def train(
    checkpoint: Path, config: Config, data: Path, seed: int, warmup_steps: int | None
) -> tuple[MsStsVis, Discriminator, dict[str, float]]:
    """Train variant `fgbg`; the model sees the loss from a step on, or None: from the score of the configuration on.

    Returns:
        The model, its discriminator, and the course of the score and the time of a step. The adversary's share of the
        backward pass of the model is not in its time.
    """
    steps = config.train.steps
    assert steps, "scale embedded states its length in steps"
    loader = batches(config, data, "train", steps, config.train.batch_clips, seed)
    model = load_run_model(checkpoint)[0].train()
    section = config.loss.foreground_background
    adversary = ForegroundBackgroundAdversary(section, config.model.hidden_dim, torch.Generator().manual_seed(seed))
    criterion, optimizer = Criterion(config.loss), build_optimizer(model, config.train)
    rates = [group["lr"] for group in optimizer.param_groups]
    scores, seconds = [], [0.0, 0.0]
    for step, batch in enumerate(loader):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * rate_factor(step, steps, config.train)
        if warmup_steps is not None:
            adversary.min_score = float(step < warmup_steps)  # 1 is never reached
        started = time.perf_counter()
        output = model(batch.frames_BT3HW, batch.padding)
        terms, matches = criterion(output, batch, sum(len(clip.labels_N) for clip in batch.instances))
        between = time.perf_counter()
        loss = criterion.total(terms) + adversary.generator_loss(batch, output, matches)
        adversary.discriminator_backward(batch, output, matches)
        adversary.update_score(adversary.step().item())
        seconds[1] += time.perf_counter() - between
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.train.gradient_clip_norm)
        optimizer.step()
        seconds[0] += time.perf_counter() - started
        scores.append(adversary.score)
    whole, adversarial = (1000 * part / len(scores) for part in seconds)
    reached = [step for step, score in enumerate(scores, 1) if score >= section.min_score]
    course = {"score reached at": reached[0] if reached else np.nan, "held for": len(reached)}
    course |= {f"score {step}": scores[step - 1] for step in (100, 200, 400, len(scores)) if step <= len(scores)}
    return model.eval(), adversary.discriminator, course | {"ms a step": whole, "ms adversary": adversarial}


def print_table(rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{values[column]:.2f}' for column in columns)} |", flush=True)


def games(options: argparse.Namespace, config: Config, held_out: Callable[[], ClipLoader]) -> None:
    """Print what the discriminators of the arms learn with the frozen model, and the gradients they give."""
    model, _, _ = load_run_model(options.checkpoint)
    criterion = Criterion(config.loss)
    training = scenes(model, criterion, batches(config, options.data, "train", options.steps, 4, 1), held_out=False)
    valid = scenes(model, criterion, held_out(), held_out=True)
    arms, rows = {}, {}
    for name in options.arms:
        for seed in options.seeds:
            discriminator = new_discriminator(config, ARMS[name], seed)
            milliseconds = play(ARMS[name], discriminator, config, training)
            row = f"{name}, seed {seed}"
            arms[row] = ARMS[name], discriminator
            rows[row] = learned(discriminator, valid) | {"ms a step": milliseconds}
    received = gradients(arms, model, criterion, config.loss.foreground_background.weight, held_out())
    print_table({row: values | received[row] for row, values in rows.items()})


def trainings(options: argparse.Namespace, config: Config, held_out: Callable[[], ClipLoader]) -> None:
    """Print what the discriminators of real trainings have learned at the end."""
    rows = {}
    for seed in options.trainings:
        for warmup_steps in options.warmup_steps or [None]:
            model, discriminator, course = train(options.checkpoint, config, options.data, seed, warmup_steps)
            row = f"seed {seed}, warm-up {'by score' if warmup_steps is None else f'of {warmup_steps} steps'}"
            rows[row] = course | learned(
                discriminator, scenes(model, Criterion(config.loss), held_out(), held_out=True)
            )
    print_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="directory of a generated dataset")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the discriminators' first weights")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--trainings", type=int, nargs="+", metavar="SEED", help="train whole models")
    parser.add_argument("--warmup-steps", type=int, nargs="+", help="of the trainings; by default by the score")
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, config, _ = load_run_model(options.checkpoint)
    (trainings if options.trainings else games)(
        options, config, lambda: batches(config, options.data, "valid", VALID_BATCHES, 4, 2)
    )


if __name__ == "__main__":
    main()
