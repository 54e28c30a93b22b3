"""Foreground-background loss: a discriminator that tells true from predicted foreground masks [poster] [fig].

The discriminator sees frames and encoder features together with one hard foreground mask [fig]. [ours] Besides a clip's
true and predicted masks it gets a foreign one, the true mask of another video, which makes it look at the frames:
without it, how a mask is drawn tells true from predicted. The model is trained to make it accept the predicted mask.
The discriminator exists in training only and owns none of the model's weights.
Shape letters: B clips, T frames, C feature channels; h, w: size of a map at its own stride.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from mssts.config import ForegroundBackgroundSection
from mssts.core.records import Batch
from mssts.losses.discriminator import LEVELS, STRIDE, Discriminator
from mssts.losses.matched import SAMPLES, subsampled
from mssts.losses.matcher import Matches
from mssts.models import Output
from mssts.ops.precision import in_full_precision

BETAS = (0.5, 0.999)  # [ours] the usual first momentum of adversarial training
SCORE_DECAY = 0.98  # [ours] per step; the score forgets in about 50 steps
CHANCE = 0.5


class ForegroundBackgroundAdversary:
    """The discriminator, its optimizer, and the losses of discriminator and model.

    The model is left alone until the discriminator can tell the clip's own mask from a foreign one [ours]: before that
    its gradient says nothing about the frames.

    Args:
        config: Section `loss.foreground_background`.
        feature_channels: C of the encoder features (`model.hidden_dim`).
        generator: Source of the initial weights; on the CPU, so that they do not depend on the device.

    Attributes:
        score: Running mean over the steps of the share of clips whose true mask the discriminator prefers to the
            foreign one.
        steps_acted: Number of steps in which the model saw the loss.
    """

    def __init__(self, config: ForegroundBackgroundSection, feature_channels: int, generator: torch.Generator) -> None:
        self.weight = config.weight
        self.min_score = config.min_score
        self.score, self.steps_acted = CHANCE, 0
        self.discriminator = Discriminator(config.channels, feature_channels, generator)
        self.optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), lr=config.learning_rate, betas=BETAS, fused=True
        )
        self._preferred: list[Tensor] = []  # (B,) bool of each micro-batch of the step

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ForegroundBackgroundAdversary:
        """Move the discriminator to a device and precision, before the first step. Returns self."""
        self.discriminator.to(device, dtype)
        return self

    def discriminator_backward(self, batch: Batch, output: Output, matches: Matches, share: float = 1.0) -> Tensor:
        """Add the gradients of share * (BCE(true, 1) + BCE(predicted and foreign, 0)), mean over patches.

        Both sides have the same weight [ours]. The gradients of the model are left unchanged.

        Args:
            batch: The clips, their ground truth and their foreign foregrounds.
            output: Output of the model.
            matches: Matches of that output; those of the last decoder layer are used.
            share: Share of the batch in the clips of this device's step.

        Returns:
            share * loss: a scalar without gradient.
        """
        frames, features = self._conditions(batch, output)
        with torch.no_grad():
            masks = (true_foreground(batch), predicted_foreground(batch, output, matches), foreign_foreground(batch))
        with torch.enable_grad():
            logits = self.discriminator(frames, features, torch.stack([mask.to(frames) for mask in masks]))
            loss = share * (_bce(logits[:1], 1) + _bce(logits[1:], 0))
            loss.backward()
        clips = len(batch.sizes)
        true_B, _, foreign_B = logits.detach().sigmoid().view(len(masks), clips, -1).mean(2)
        self._preferred.append(true_B > foreign_B)
        return loss.detach()

    def step(self) -> Tensor:
        """Optimizer step on the gradients averaged over processes, which are then cleared.

        Returns:
            Share of the clips of all processes whose true mask the discriminator preferred, a float64 scalar on the
            device. Before the next step it must be given to `update_score`.
        """
        preferred = torch.cat(self._preferred).double()
        counts = torch.stack((preferred.sum(), preferred.new_full((), len(preferred))))
        gradients = [parameter.grad for parameter in self.discriminator.parameters() if parameter.grad is not None]
        if dist.is_available() and dist.is_initialized():
            for tensor in (counts, *gradients):
                dist.all_reduce(tensor)
            for gradient in gradients:
                gradient /= dist.get_world_size()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_acted += self.score >= self.min_score
        self._preferred.clear()
        return counts[0] / counts[1]

    def update_score(self, share: float) -> None:
        """Update the score by the result of `step`, once it is on the host."""
        self.score += (1 - SCORE_DECAY) * (share - self.score)

    def generator_loss(self, batch: Batch, output: Output, matches: Matches) -> Tensor:
        """Loss of the model, weight * BCE(discriminator(frames, features, predicted mask), 1), mean over patches.

        Its gradient reaches the masks of the matched instances and whatever they were computed from, the encoder
        included. It reaches neither the discriminator, which is frozen here, nor the features that the discriminator
        compares the mask with [ours]: through them, the model could be accepted without a better mask.

        Args:
            batch: The clips.
            output: Output of the model.
            matches: Matches of that output; those of the last decoder layer are used.

        Returns:
            A scalar; zero without gradient while `score` is below `min_score`.
        """
        if self.score < self.min_score:
            return output.layers[-1].logits_BNK.new_zeros(())
        frames, features = self._conditions(batch, output)
        predicted = predicted_foreground(batch, output, matches).to(frames)
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        return self.weight * _bce(functional_call(self.discriminator, frozen, (frames, features, predicted[None])), 1)

    def state_dict(self) -> dict[str, Any]:
        """Weights of the discriminator, state of its optimizer, score, and number of steps in which the loss acted."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "score": self.score,
            "steps_acted": self.steps_acted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.score, self.steps_acted = state["score"], state["steps_acted"]

    @torch.no_grad()
    def _conditions(self, batch: Batch, output: Output) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames at stride 8, (BT, 3, h, w), and features per level, (BT, C, h, w), in the precision of the weights."""
        precision = self.discriminator.head.weight.dtype
        features = tuple(level.flatten(0, 1).to(precision) for level in output.memory[:LEVELS])
        frames = F.avg_pool2d(batch.frames_BT3HW.flatten(0, 1).to(precision), STRIDE, ceil_mode=True)
        return frames, features


def true_foreground(batch: Batch) -> Tensor:
    """Union of the ground-truth masks at stride 4, zero in the padding: (BT, 1, h, w) bool."""
    return subsampled(batch, [clip.masks_NTHW.any(0, keepdim=True) for clip in batch.instances]).flatten(0, 1)[:, None]


def foreign_foreground(batch: Batch) -> Tensor:
    """The foreground of another video for each clip, as `true_foreground`."""
    return subsampled(batch, [mask_THW[None] for mask_THW in batch.foreign_foregrounds_THW]).flatten(0, 1)[:, None]


def predicted_foreground(batch: Batch, output: Output, matches: Matches) -> Tensor:
    """Union of the masks of the matched instances of the last layer at stride 4: (BT, 1, h, w), exactly 0 or 1.

    It is hard, as drawn in the figure [fig]. [ours] A pixel belongs to a mask if its probability p exceeds 0.5, and the
    gradient is that of the soft union 1 - prod(1 - p) (straight-through). Both are zero in the padding, as the truth.
    """
    last = len(output.layers) - 1
    inside_BThw = ~batch.padding_mask_BTHW[..., SAMPLES, SAMPLES]
    unions = []
    for clip, count in enumerate(matches.counts):
        if count:
            logits_NThw = in_full_precision(output.mask_logits(last, clip, matches.queries(last, clip)))
            soft = -torch.expm1(-F.softplus(logits_NThw).sum(0))  # log(1 - sigmoid(x)) = -softplus(x)
            unions.append((logits_NThw > 0).any(0) + (soft - soft.detach()))
        else:
            unions.append(in_full_precision(output.layers[-1].logits_BNK).new_zeros(inside_BThw.shape[1:]))
    return (torch.stack(unions) * inside_BThw).flatten(0, 1)[:, None]


def _bce(logits: Tensor, target: int) -> Tensor:
    logits = in_full_precision(logits)
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
