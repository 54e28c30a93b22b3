"""Decoder: instance queries and, for each frame, box queries that look into that frame's memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssts.models.deformable_attention import DeformableAttention
from mssts.models.heads import BoxHead
from mssts.models.layers import FeedForward, SelfAttention
from mssts.models.position import TokenPlaces
from mssts.ops.boxes import inverse_sigmoid


class DecoderLayer(nn.Module):
    """Self-attention of both streams, temporal attention of boxes, cross-attention, feed-forward [fig] [code]."""

    def __init__(
        self,
        instance_self_attention: SelfAttention,
        box_self_attention: SelfAttention,
        temporal: nn.Module,
        cross_attention: DeformableAttention,
        instance_feed_forward: FeedForward,
        box_feed_forward: FeedForward,
        channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.instance_self_attention = instance_self_attention
        self.box_self_attention = box_self_attention
        self.temporal = temporal
        self.cross_attention = cross_attention
        self.instance_projection = nn.Linear(channels, channels)
        self.box_projection = nn.Linear(channels, channels)
        self.frame_weights = nn.Linear(channels, 1)
        self.instance_feed_forward = instance_feed_forward
        self.box_feed_forward = box_feed_forward
        self.instance_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.box_norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        instances_BNC: Tensor,
        boxes_BTNC: Tensor,
        positions_NC: Tensor,
        references: Tensor,
        memory_BTSC: Tensor,
        places: TokenPlaces,
    ) -> tuple[Tensor, Tensor]:
        """Instance queries (B, N, C) and box queries (B, T, N, C) after the layer.

        boxes_BTNC: T is 1 before the first layer, where all frames share one box query.
        references: see DeformableAttention.
        """
        B, T = memory_BTSC.shape[:2]
        instances = self._attend_itself(
            instances_BNC, positions_NC, self.instance_self_attention, self.instance_norms[0]
        )
        boxes = self._attend_itself(boxes_BTNC.flatten(0, 1), positions_NC, self.box_self_attention, self.box_norms[0])
        boxes = self.temporal(boxes.unflatten(0, (B, -1)).expand(-1, T, -1, -1))

        sampled_BTNC = self.cross_attention(boxes + positions_NC, references, memory_BTSC, places)
        boxes = self.box_norms[1](boxes + self.dropout(self.box_projection(sampled_BTNC)))
        boxes = self.box_norms[2](boxes + self.box_feed_forward(boxes))

        # Differs: the public code projects each frame, then takes the mean, which is the same: the weights sum to 1.
        frame_weights_BTN1 = self.frame_weights(boxes).softmax(1)
        pooled_BNC = self.instance_projection((frame_weights_BTN1 * sampled_BTNC).sum(1))
        instances = self.instance_norms[1](instances + self.dropout(pooled_BNC))
        instances = self.instance_norms[2](instances + self.instance_feed_forward(instances))
        return instances, boxes

    def _attend_itself(
        self, queries: Tensor, positions: Tensor, attention: SelfAttention, norm: nn.LayerNorm
    ) -> Tensor:
        return norm(queries + self.dropout(attention(queries, positions)))


class Decoder(nn.Module):
    """Learned queries, decoder layers, and a box refined after each of them."""

    def __init__(self, layers: list[DecoderLayer], box_heads: list[BoxHead], queries: int, channels: int) -> None:
        super().__init__()
        self.query_embedding = nn.Parameter(torch.zeros(queries, 2 * channels))
        self.reference_points = nn.Linear(channels, 2)
        self.layers = nn.ModuleList(layers)
        self.box_heads = nn.ModuleList(box_heads)

    def initialise(self, generator: torch.Generator) -> None:
        """Standard normal queries; Xavier reference points; the first box head starts with small boxes [code]."""
        nn.init.normal_(self.query_embedding, generator=generator)
        nn.init.xavier_uniform_(self.reference_points.weight, generator=generator)
        nn.init.zeros_(self.reference_points.bias)
        nn.init.constant_(self.box_heads[0].layers[-1].bias[2:], -2.0)

    def reference_projections(self) -> list[nn.Module]:
        """Return the layers that predict where attention samples; the optimizer gives them a rate of their own."""
        return [self.reference_points]

    def forward(self, memory_BTSC: Tensor, places: TokenPlaces) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each layer: instance queries (B, N, C), boxes (B, T, N, 4), reference points (B, T, N, 2) that entered.

        Boxes and references are relative to the unpadded frame, boxes as (cx, cy, w, h). The first references carry
        gradient, the later ones, boxes of the layer before, do not [code].
        """
        B, T = memory_BTSC.shape[:2]
        positions_NC, content_NC = self.query_embedding.chunk(2, -1)
        instances_BNC = content_NC.expand(B, -1, -1)
        boxes_BTNC = instances_BNC[:, None]
        references = self.reference_points(positions_NC).sigmoid().expand(B, T, -1, -1)
        outputs = []
        for layer, box_head in zip(self.layers, self.box_heads, strict=True):
            on_levels = references[:, :, :, None] * _for_references(places.grid.valid_ratios_BL2, references)
            instances_BNC, boxes_BTNC = layer(instances_BNC, boxes_BTNC, positions_NC, on_levels, memory_BTSC, places)
            logits = inverse_sigmoid(references)
            refined = (box_head(boxes_BTNC) + F.pad(logits, (0, 4 - logits.shape[-1]))).sigmoid()
            outputs.append((instances_BNC, refined, references[..., :2]))
            references = refined.detach()
        return outputs


def _for_references(ratios_BL2: Tensor, references: Tensor) -> Tensor:
    """Valid ratios for points (x, y) or boxes (x, y, w, h), (B, 1, 1, L, 2 or 4)."""
    return ratios_BL2[:, None, None].repeat(1, 1, 1, 1, references.shape[-1] // 2)
