"""Encoder branches and decoder blocks beside the built-in ones. Register yours here, one entry each.

Both are modules that are built as `build(section, model_section)`, once per layer of the encoder or the decoder:

- A branch computes an update of the tokens: `forward(tokens_BTSC, layout) -> (B, T, S, C)`. The branches of a layer run
  in parallel and are summed. Attention figures show the attention that a branch declares (`models.observable`).
- A block updates both kinds of queries between self-attention and cross-attention: `forward(instances_BNC, boxes_BTNC,
  memory_BTSC, layout) -> (instances_BNC, boxes_BTNC)`. The blocks of a layer run one after the other.
"""

from __future__ import annotations

from torch import nn

from mssts.models.parts import Registry

BRANCHES: Registry[nn.Module] = Registry("model.encoder.branches", ("deformable", "ms_sts"), {})
BLOCKS: Registry[nn.Module] = Registry("model.decoder.blocks", ("temporal",), {})
