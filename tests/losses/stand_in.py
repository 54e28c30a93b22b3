"""A model output made of free tensors, so that losses can be computed by hand and differentiated."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mssts.core.records import Batch, Instances


@dataclass
class Layer:
    """What the losses read of one decoder layer, and its mask logits (B, N, T, h, w)."""

    logits_BNK: torch.Tensor
    boxes_BTN4: torch.Tensor
    mask_parameters_BNP: torch.Tensor
    masks: torch.Tensor


@dataclass
class StandIn:
    """What the losses read of a model's output."""

    layers: tuple[Layer, ...]
    mask_features_BTCHW: torch.Tensor
    memory: tuple[torch.Tensor, ...]

    def mask_logits(self, layer: int, clip: int, queries: torch.Tensor) -> torch.Tensor:
        return self.layers[layer].masks[clip, queries]

    def matched_mask_logits(self, queries_LP, clips_P, counts) -> torch.Tensor:
        layers_L1 = torch.arange(len(self.layers))[:, None]
        return torch.stack([layer.masks for layer in self.layers])[layers_L1, clips_P, queries_LP].flatten(0, 1)

    def clip(self, index: int) -> StandIn:
        """The output of one clip alone, on the same tensors."""
        part = slice(index, index + 1)
        layers = tuple(Layer(*(getattr(layer, name)[part] for name in vars(layer))) for layer in self.layers)
        return StandIn(layers, self.mask_features_BTCHW[part], tuple(level[part] for level in self.memory))


def random_output(
    generator: torch.Generator, layers=2, clips=2, frames=3, queries=6, classes=4, height=64, width=96, channels=8
) -> StandIn:
    """Leaves with a gradient, for frames of height x width pixels after padding."""

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    def boxes(*shape: int) -> torch.Tensor:
        return (0.1 + 0.8 * torch.rand(shape, generator=generator)).requires_grad_()

    return StandIn(
        layers=tuple(
            Layer(
                leaf(clips, queries, classes),
                boxes(clips, frames, queries, 4),
                leaf(clips, queries, 5),
                leaf(clips, queries, frames, height // 4, width // 4),
            )
            for _ in range(layers)
        ),
        mask_features_BTCHW=leaf(clips, frames, 8, height // 8, width // 8),
        memory=tuple(leaf(clips, frames, channels, height // stride, width // stride) for stride in (8, 16, 32)),
    )


def random_batch(
    generator: torch.Generator, counts=(2, 3), sizes=((64, 96), (48, 64)), frames=3, classes=4, padded=(64, 96)
) -> Batch:
    """Rectangular instances in clips of several sizes, padded to one; every instance is absent from the last frame."""
    instances = []
    for count, (height, width) in zip(counts, sizes, strict=True):
        boxes = torch.rand(count, frames, 4, generator=generator) * 0.3 + 0.2
        rows = torch.arange(height)[:, None].expand(height, width) / height
        columns = torch.arange(width)[None].expand(height, width) / width
        x, y, w, h = boxes[..., None, None].unbind(2)
        masks = ((columns - x).abs() < w / 2) & ((rows - y).abs() < h / 2)
        boxes[:, -1], masks[:, -1] = 1e-6, False
        labels = torch.randint(classes, (count,), generator=generator)
        instances.append(Instances(labels, boxes, masks))
    return batch_of(tuple(instances), sizes, frames, padded, generator)


def batch_of(instances, sizes, frames=3, padded=(64, 96), generator=None) -> Batch:
    """A batch around given instances, with random frames and a bar at the left as the foreign foreground."""
    pixels = torch.zeros(len(sizes), frames, 3, *padded)
    padding = torch.ones(len(sizes), frames, *padded, dtype=torch.bool)
    for clip, (height, width) in enumerate(sizes):
        pixels[clip, :, :, :height, :width] = torch.randn(frames, 3, height, width, generator=generator)
        padding[clip, :, :height, :width] = False
    foreign = tuple((torch.arange(width) < width // 4).expand(frames, height, width) for height, width in sizes)
    return Batch(
        frames_BT3HW=pixels,
        padding_mask_BTHW=padding,
        sizes=tuple(sizes),
        instances=tuple(instances),
        foreign_foregrounds_THW=foreign,
    )


def clip_of(batch: Batch, index: int) -> Batch:
    """One clip of a batch, with its padding."""
    part = slice(index, index + 1)
    return Batch(
        frames_BT3HW=batch.frames_BT3HW[part],
        padding_mask_BTHW=batch.padding_mask_BTHW[part],
        sizes=batch.sizes[part],
        instances=batch.instances[part],
        foreign_foregrounds_THW=batch.foreign_foregrounds_THW[part],
    )


def instances_in(batch: Batch) -> int:
    """Instances of all clips, at least 1: what the criterion divides by, if all of them are matched."""
    return max(1, sum(len(clip.labels_N) for clip in batch.instances))


def no_instances(frames=3, height=64, width=96) -> Instances:
    """Ground truth of an empty clip."""
    return Instances(
        torch.zeros(0, dtype=torch.int64), torch.zeros(0, frames, 4), torch.zeros(0, frames, height, width).bool()
    )
