"""Encoder branches and decoder blocks beside the built-in ones: one entry each, see docs/adding-a-part.md.

Both are modules, built as `build(section, model_section)` once per layer:

- A branch of the encoder computes an update of the tokens: `forward(tokens_BTSC, layout) -> (B, T, S, C)`. The branches
  of a layer run in parallel, and their updates are summed.
- A block of the decoder changes the queries between self-attention and cross-attention:
  `forward(instances_BNC, boxes_BTNC, memory_BTSC, layout) -> (instances_BNC, boxes_BTNC)`. The blocks of a layer run
  one after the other.
"""

from __future__ import annotations

from torch import nn

from mssts.models.parts import Registry

BRANCHES: Registry[nn.Module] = Registry("model.encoder.branches", ("deformable", "ms_sts"), {})
BLOCKS: Registry[nn.Module] = Registry("model.decoder.blocks", ("temporal",), {})
