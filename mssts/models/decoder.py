"""Decoder: instance queries and, for each frame, box queries that attend to the memory of that frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mssts.config import ModelSection
from mssts.models.deformable_attention import DeformableAttention
from mssts.models.heads import BoxHead
from mssts.models.layers import FeedForward, SelfAttention, module_list
from mssts.models.position import TokenLayout
from mssts.ops.boxes import inverse_sigmoid
from mssts.ops.precision import in_full_precision, no_autocast


class DecoderLayer(nn.Module):
    """Self-attention of both kinds of queries, temporal attention, cross-attention, feed-forward [fig] [code].

    Args:
        temporal: Module on the box queries, (B, T, N, C) -> (B, T, N, C).
        blocks: Registered blocks, see `mssts.models.registry`.
    """

    def __init__(self, config: ModelSection, temporal: nn.Module, blocks: dict[str, nn.Module]) -> None:
        super().__init__()
        channels, dropout = config.hidden_dim, config.dropout
        self.instance_self_attention = SelfAttention(channels, config.heads, dropout)
        self.box_self_attention = SelfAttention(channels, config.heads, dropout)
        self.temporal = temporal
        self.blocks = nn.ModuleDict(blocks)
        self.cross_attention = DeformableAttention(config)
        self.instance_projection = nn.Linear(channels, channels)
        self.box_projection = nn.Linear(channels, channels)
        self.frame_weights = nn.Linear(channels, 1)
        self.instance_feed_forward = FeedForward(channels, config.feedforward_dim, dropout)
        self.box_feed_forward = FeedForward(channels, config.feedforward_dim, dropout)
        self.instance_norms = module_list(nn.LayerNorm(channels) for _ in range(3))
        self.box_norms = module_list(nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def additions(self) -> list[nn.Module]:
        """Return the modules that the baseline lacks."""
        return [self.temporal, *self.blocks.values()]

    def forward(
        self,
        instances_BNC: Tensor,
        boxes_BTNC: Tensor,
        positions_NC: Tensor,
        references: Tensor,
        memory_BTSC: Tensor,
        layout: TokenLayout,
    ) -> tuple[Tensor, Tensor]:
        """One decoder layer.

        Args:
            instances_BNC: Instance queries.
            boxes_BTNC: Box queries; T is 1 before the first layer, where all frames share one box query.
            positions_NC: Learned positional encodings of the queries.
            references: Reference points or boxes, see `DeformableAttention`.
            memory_BTSC: Output of the encoder.
            layout: Positions of its tokens.

        Returns:
            Instance queries (B, N, C) and box queries (B, T, N, C).
        """
        B, T = memory_BTSC.shape[:2]
        instances = self._self_attend(instances_BNC, positions_NC, self.instance_self_attention, self.instance_norms[0])
        boxes = self._self_attend(boxes_BTNC.flatten(0, 1), positions_NC, self.box_self_attention, self.box_norms[0])
        boxes = self.temporal(boxes.unflatten(0, (B, -1)).expand(-1, T, -1, -1))
        for block in self.blocks.values():
            instances, boxes = block(instances, boxes, memory_BTSC, layout)

        sampled_BTNC = self.cross_attention(boxes + positions_NC, references, memory_BTSC, layout)
        boxes = self.box_norms[1](boxes + self.dropout(self.box_projection(sampled_BTNC)))
        boxes = self.box_norms[2](boxes + self.box_feed_forward(boxes))

        # Differs: public SeqFormer projects each frame, then takes the mean, which is the same: the weights sum to 1.
        frame_weights_BTN1 = self.frame_weights(boxes).softmax(1)
        pooled_BNC = self.instance_projection((frame_weights_BTN1 * sampled_BTNC).sum(1))
        instances = self.instance_norms[1](instances + self.dropout(pooled_BNC))
        instances = self.instance_norms[2](instances + self.instance_feed_forward(instances))
        return instances, boxes

    def _self_attend(self, queries: Tensor, positions: Tensor, attention: SelfAttention, norm: nn.LayerNorm) -> Tensor:
        return norm(queries + self.dropout(attention(queries, positions)))


class Decoder(nn.Module):
    """Learned queries, decoder layers, and boxes that are refined after each layer."""

    def __init__(self, config: ModelSection, layers: list[DecoderLayer]) -> None:
        super().__init__()
        self.query_embedding = nn.Parameter(torch.zeros(config.queries, 2 * config.hidden_dim))
        self.reference_points = nn.Linear(config.hidden_dim, 2)
        self.layers = module_list(layers)
        self.box_heads = module_list(BoxHead(config.hidden_dim) for _ in layers)

    def initialise(self, generator: torch.Generator) -> None:
        """Standard normal queries; Xavier reference points; the first box head starts with small boxes [code]."""
        nn.init.normal_(self.query_embedding, generator=generator)
        nn.init.xavier_uniform_(self.reference_points.weight, generator=generator)
        nn.init.zeros_(self.reference_points.bias)
        nn.init.constant_(self.box_heads[0].layers[-1].bias[2:], -2.0)

    def reference_projections(self) -> list[nn.Module]:
        """Return the layers that predict where attention samples; the optimizer gives them a rate of their own."""
        return [self.reference_points]

    def forward(self, memory_BTSC: Tensor, layout: TokenLayout) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Decode the memory of a batch of clips.

        Returns:
            For each layer: instance queries (B, N, C), boxes (B, T, N, 4) as (cx, cy, w, h), and the reference points
            (B, T, N, 2) that entered the layer. Boxes and references are relative to the unpadded frame. The first
            references carry gradient; the later ones, boxes of the layer before, do not [code].
        """
        B, T = memory_BTSC.shape[:2]
        positions_NC, content_NC = self.query_embedding.chunk(2, -1)
        instances_BNC = content_NC.expand(B, -1, -1)
        boxes_BTNC = instances_BNC[:, None]
        with no_autocast(positions_NC.device):
            references = self.reference_points(positions_NC).sigmoid().expand(B, T, -1, -1)
        outputs = []
        for layer, box_head in zip(self.layers, self.box_heads, strict=True):
            ratios = layout.grid.valid_ratios_BL2[:, None, None].repeat(1, 1, 1, 1, references.shape[-1] // 2)
            scaled = references[:, :, :, None] * ratios
            instances_BNC, boxes_BTNC = layer(instances_BNC, boxes_BTNC, positions_NC, scaled, memory_BTSC, layout)
            logits = inverse_sigmoid(references)
            with no_autocast(boxes_BTNC.device):
                changes = box_head(in_full_precision(boxes_BTNC))
            refined = (changes + F.pad(logits, (0, 4 - logits.shape[-1]))).sigmoid()
            outputs.append((instances_BNC, refined, references[..., :2]))
            references = refined.detach()
        return outputs
