"""Foreground-background loss: a discriminator that tells true from predicted foreground masks [poster] [fig].

The discriminator sees frames and encoder features together with one foreground mask. The model is trained to make it
classify the predicted mask as true. The discriminator exists in training only and owns none of the model's weights.
Shape letters: B clips, T frames, C feature channels; h, w: size of a map at its own stride.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from mssts.config import ForegroundBackgroundSection
from mssts.core.records import Batch
from mssts.losses.matched import MASK_LOSS_STRIDE, subsampled_masks
from mssts.losses.matcher import Matches
from mssts.models import Output
from mssts.ops.precision import in_full_precision

STRIDE = 8  # pixels, of the finest encoder features
LEVELS = 3  # strides 8, 16 and 32 [code]
SLOPE = 0.2  # of the leaky ReLUs
BETAS = (0.5, 0.999)  # [ours] the usual first momentum of adversarial training


class Discriminator(nn.Module):
    """PatchGAN over frames, encoder features and one mask; one logit per patch of 32 x 32 pixels [code] [ours].

    Image, features and mask are combined at stride 8; after each downsampling the features of that stride are added
    through a 1x1 convolution. The first convolution, over the concatenation of all inputs, is written as a sum of two,
    so that image and features are processed once for several masks. [ours] The mask enters at stride 4 through a
    convolution of its own, and pooling takes the maximum: predicted masks differ from true ones along their outlines,
    which averages hide.

    Args:
        channels: Channels at stride 8; the coarser strides have twice as many.
        feature_channels: C of the encoder features.
        generator: Source of the initial weights.
    """

    def __init__(self, channels: int, feature_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = [channels] + [2 * channels] * (LEVELS - 1)
        pairs = list(pairwise(widths))
        self.scene = skip_init(nn.Conv2d, 3 + feature_channels, channels, 3, padding=1)
        self.mask = nn.Sequential(
            skip_init(nn.Conv2d, 1, channels, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            skip_init(nn.Conv2d, channels, channels, 4, stride=2, padding=1, bias=False),
        )
        self.laterals = nn.ModuleList(skip_init(nn.Conv2d, feature_channels, width, 1) for width, _ in pairs)
        self.blocks = nn.ModuleList(skip_init(nn.Conv2d, i, o, 3, padding=1) for i, o in pairs)
        self.head = skip_init(nn.Conv2d, widths[-1], 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=SLOPE, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, frames_F3hw: Tensor, features: tuple[Tensor, ...], masks_MF1hw: Tensor) -> Tensor:
        """Logits of "this is a true mask" for M alternative masks of F frames.

        Args:
            frames_F3hw: Frames averaged to stride 8.
            features: (F, C, h, w) at strides 8, 16, 32; fewer levels work.
            masks_MF1hw: Foreground at stride 4, 0..1.

        Returns:
            (M, F, 1, h, w) at stride 32.
        """
        masks = len(masks_MF1hw)
        scene = self.scene(torch.cat((frames_F3hw, features[0]), dim=1))
        x = F.leaky_relu(scene.repeat(masks, 1, 1, 1) + self.mask(masks_MF1hw.flatten(0, 1)), SLOPE)
        for level, (lateral, block) in enumerate(zip(self.laterals, self.blocks, strict=True), start=1):
            x = F.max_pool2d(x, 2, ceil_mode=True)
            if level < len(features):
                x = x + lateral(features[level]).repeat(masks, 1, 1, 1)
            x = F.leaky_relu(block(x), SLOPE)
        return self.head(x).unflatten(0, (masks, -1))


class ForegroundBackgroundAdversary:
    """The discriminator, its optimizer, and the losses of discriminator and model.

    Args:
        config: Section `loss.foreground_background`.
        feature_channels: C of the encoder features (`model.hidden_dim`).
        generator: Source of the initial weights; on the CPU, so that they do not depend on the device.
    """

    def __init__(self, config: ForegroundBackgroundSection, feature_channels: int, generator: torch.Generator) -> None:
        self.weight = config.weight
        self.warmup_steps = config.warmup_steps
        self.discriminator = Discriminator(config.channels, feature_channels, generator)
        self.optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), lr=config.learning_rate, betas=BETAS, fused=True
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ForegroundBackgroundAdversary:
        """Move the discriminator to a device and precision, before the first step. Returns self."""
        self.discriminator.to(device, dtype)
        return self

    def discriminator_backward(self, batch: Batch, output: Output, matches: Matches, share: float = 1.0) -> Tensor:
        """Add the gradients of share * (BCE(true, 1) + BCE(predicted, 0)), mean over patches, to the discriminator's.

        The gradients of the model are left unchanged.

        Args:
            batch: The clips and their ground truth.
            output: Output of the model.
            matches: Matches of that output; those of the last decoder layer are used.
            share: Share of the batch in the clips of this device's step.

        Returns:
            share * loss: a scalar without gradient.
        """
        with torch.no_grad():
            frames, features = self._conditions(batch, output)
            true = true_foreground(batch).to(frames)
            predicted = predicted_foreground(batch, output, matches).to(frames)
        features = tuple(level.detach() for level in features)
        with torch.enable_grad():
            logits_true, logits_predicted = self.discriminator(frames, features, torch.stack((true, predicted)))
            loss = share * (_bce(logits_true, 1) + _bce(logits_predicted, 0))
            loss.backward()
        return loss.detach()

    def step(self) -> None:
        """Optimizer step of the discriminator on its gradients, averaged over processes; then clear them."""
        _average_gradients(self.discriminator)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def generator_loss(self, batch: Batch, output: Output, matches: Matches, step: int) -> Tensor:
        """Loss of the model, weight * BCE(discriminator(frames, features, predicted mask), 1), mean over patches.

        Its gradient reaches the masks of the matched instances and, directly, the encoder features, but not the
        discriminator, which is frozen here.

        Args:
            batch: The clips.
            output: Output of the model.
            matches: Matches of that output; those of the last decoder layer are used.
            step: Training step, from 0.

        Returns:
            A scalar; zero without gradient before step `warmup_steps`.
        """
        if step < self.warmup_steps:
            return output.layers[-1].logits_BNK.new_zeros(())
        frames, features = self._conditions(batch, output)
        predicted = predicted_foreground(batch, output, matches).to(frames)
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        logits = torch.func.functional_call(self.discriminator, frozen, (frames, features, predicted[None]))
        return self.weight * _bce(logits, 1)

    def state_dict(self) -> dict[str, Any]:
        """Weights of the discriminator and state of its optimizer."""
        return {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _conditions(self, batch: Batch, output: Output) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames at stride 8, (BT, 3, h, w), and features per level, (BT, C, h, w), in the precision of the weights."""
        precision = self.discriminator.head.weight.dtype
        features = tuple(level.flatten(0, 1).to(precision) for level in output.memory[:LEVELS])
        frames = F.avg_pool2d(batch.frames_BT3HW.flatten(0, 1).to(precision), STRIDE, ceil_mode=True)
        return frames, features


def true_foreground(batch: Batch) -> Tensor:
    """Union of the ground-truth masks at stride 4, sampled as in the criterion, (BT, 1, h, w) bool."""
    clips = subsampled_masks(batch).split([len(clip.labels_N) for clip in batch.instances])
    return torch.stack([masks_NThw.any(0) for masks_NThw in clips]).flatten(0, 1)[:, None]


def predicted_foreground(batch: Batch, output: Output, matches: Matches) -> Tensor:
    """Soft union 1 - prod(1 - p) of the matched instances of the last layer at stride 4, (BT, 1, h, w), 0..1.

    It is zero in the padding, where the ground truth is zero by construction.
    """
    last = len(output.layers) - 1
    inside_BThw = 1 - F.avg_pool2d(batch.padding_mask_BTHW.float(), MASK_LOSS_STRIDE, ceil_mode=True)
    unions = []
    for clip, count in enumerate(matches.counts):
        if count:
            logits_NThw = in_full_precision(output.mask_logits(last, clip, matches.queries(last, clip)))
            unions.append(-torch.expm1(-F.softplus(logits_NThw).sum(0)))  # log(1 - sigmoid(x)) = -softplus(x)
        else:
            unions.append(torch.zeros_like(inside_BThw[clip]))
    return (torch.stack(unions) * inside_BThw).flatten(0, 1)[:, None]


def _bce(logits: Tensor, target: int) -> Tensor:
    logits = in_full_precision(logits)
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _average_gradients(module: nn.Module) -> None:
    """Average the gradients over the processes of a distributed run, so that all keep the same weights."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    for gradient in (parameter.grad for parameter in module.parameters() if parameter.grad is not None):
        dist.all_reduce(gradient)
        gradient /= dist.get_world_size()
