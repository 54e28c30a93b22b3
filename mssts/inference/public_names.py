"""Names in public SeqFormer checkpoints and ours: facts of a file format, needed to load its weights [code]."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

from mssts.core.errors import InputError

# Prefixes of public names.
_BODY = r"detr\.backbone\.0\.body\."
_SWIN = _BODY + r"layers\.(\d+)\."
_BLOCK = _SWIN + r"blocks\.(\d+)\."
_ENCODER = r"detr\.transformer\.encoder\.layers\.(\d+)\."
_DECODER = r"detr\.transformer\.decoder\.layers\.(\d+)\."

# (pattern of a public name, our name or names). Several names: the public tensor is split evenly along its first axis.
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_BODY + r"patch_embed\.proj\.(\w+)", (r"backbone.swin.swin.embeddings.patch_embeddings.projection.\1",)),
    (_BODY + r"patch_embed\.norm\.(\w+)", (r"backbone.swin.swin.embeddings.norm.\1",)),
    (_BLOCK + r"attn\.qkv\.(\w+)", tuple(rf"{{block}}.attention.{part}.\3" for part in ("q_proj", "k_proj", "v_proj"))),
    (
        _BLOCK + r"attn\.relative_position_bias_table",
        (r"{block}.attention.relative_position_bias.relative_position_bias_table",),
    ),
    (_BLOCK + r"attn\.proj\.(\w+)", (r"{block}.attention.o_proj.\3",)),
    (_BLOCK + r"norm1\.(\w+)", (r"{block}.layernorm_before.\3",)),
    (_BLOCK + r"norm2\.(\w+)", (r"{block}.layernorm_after.\3",)),
    (_BLOCK + r"mlp\.fc1\.(\w+)", (r"{block}.mlp.fc1.\3",)),
    (_BLOCK + r"mlp\.fc2\.(\w+)", (r"{block}.mlp.fc2.\3",)),
    (_SWIN + r"downsample\.(\w+\.\w+)", (r"backbone.swin.swin.encoder.layers.\1.downsample.\2",)),
    (_BODY + r"norm1\.(\w+)", (r"backbone.swin.hidden_states_norms.stage2.\1",)),
    (_BODY + r"norm2\.(\w+)", (r"backbone.swin.hidden_states_norms.stage3.\1",)),
    (_BODY + r"norm3\.(\w+)", (r"backbone.swin.hidden_states_norms.stage4.\1",)),
    (_BODY + r"((?:conv1|bn1|layer\d)\..+)", (r"backbone.\1",)),
    (r"detr\.input_proj\.([012])\.(.+)", (r"input_projection.outputs.\1.\2",)),
    (r"detr\.input_proj\.3\.(.+)", (r"input_projection.further.0.\1",)),
    (r"detr\.transformer\.level_embed", ("geometry.level_embedding",)),
    (
        _ENCODER + r"self_attn\.(sampling_offsets|attention_weights)\.(\w+)",
        (r"encoder.layers.\1.branches.deformable.attention.\2.\3",),
    ),
    (
        _ENCODER + r"self_attn\.value_proj\.(\w+)",
        (r"encoder.layers.\1.branches.deformable.attention.value_projection.\2",),
    ),
    (_ENCODER + r"self_attn\.output_proj\.(\w+)", (r"encoder.layers.\1.branches.deformable.output_projection.\2",)),
    (_ENCODER + r"(norm[12]\.\w+)", (r"encoder.layers.\1.\2",)),
    (_ENCODER + r"(linear[12]\.\w+)", (r"encoder.layers.\1.feed_forward.\2",)),
    (
        _DECODER + r"cross_attn\.(sampling_offsets|attention_weights)\.(\w+)",
        (r"decoder.layers.\1.cross_attention.\2.\3",),
    ),
    (_DECODER + r"cross_attn\.value_proj\.(\w+)", (r"decoder.layers.\1.cross_attention.value_projection.\2",)),
    (_DECODER + r"cross_attn\.output_proj\.(\w+)", (r"decoder.layers.\1.instance_projection.\2",)),
    (_DECODER + r"cross_attn\.output_proj_box\.(\w+)", (r"decoder.layers.\1.box_projection.\2",)),
    (_DECODER + r"(self_attn(?:_box)?)\.in_proj_(\w+)", (r"decoder.layers.\1.{\2}.input_projection.\3",)),
    (_DECODER + r"(self_attn(?:_box)?)\.out_proj\.(\w+)", (r"decoder.layers.\1.{\2}.output_projection.\3",)),
    (_DECODER + r"(norm[123](?:_box)?)\.(\w+)", (r"decoder.layers.\1.{\2}.\3",)),
    (_DECODER + r"(linear[12])\.(\w+)", (r"decoder.layers.\1.instance_feed_forward.\2.\3",)),
    (_DECODER + r"(linear[12])_box\.(\w+)", (r"decoder.layers.\1.box_feed_forward.\2.\3",)),
    (_DECODER + r"time_attention_weights\.(\w+)", (r"decoder.layers.\1.frame_weights.\2",)),
    (r"detr\.transformer\.reference_points\.(\w+)", (r"decoder.reference_points.\1",)),
    (r"detr\.(?:transformer\.decoder\.)?bbox_embed\.(\d+)\.(.+)", (r"decoder.box_heads.\1.\2",)),
    (r"detr\.class_embed\.(\d+)\.(\w+)", (r"class_heads.\1.\2",)),
    (r"detr\.query_embed\.weight", ("decoder.query_embedding",)),
    (r"controller\.(layers\..+)", (r"mask_parameter_head.\1",)),
    (r"mask_head\.(lay3|lay4|dcn|lay1|lay2)\.(\w+)", (r"mask_features.{\1}.\2",)),
)

# Differs: public entries without effect, with the reason; our model has none of them.
_DROPPED: tuple[tuple[str, str], ...] = (
    (r"detr\.transformer\.encoder\.layers\.\d+\.self_attn\.output_proj_box\.\w+", "box projection of the encoder"),
    (r"detr\.backbone\.0\.body\.norm0\.\w+", "norm of Swin's first stage, which is no output"),
    (r"detr\.backbone\.0\.body\..*\.relative_position_index", "computed from the window size"),
    (r"detr\.backbone\.0\.body\..*\.attn_mask", "computed from the image size"),
    (r"detr\.backbone\.0\.body\..*\.num_batches_tracked", "counter of a frozen norm"),
    (r"detr\.backbone\.0\.body\.fc\.\w+", "classifier of the backbone"),
)

# Our module for a name in braces. The order of the decoder's norms follows the data flow, not the number.
_MODULES: dict[str, str] = {
    "self_attn": "instance_self_attention",
    "self_attn_box": "box_self_attention",
    "norm2": "instance_norms.0",
    "norm1": "instance_norms.1",
    "norm3": "instance_norms.2",
    "norm2_box": "box_norms.0",
    "norm1_box": "box_norms.1",
    "norm3_box": "box_norms.2",
    "lay3": "merge.0",
    "lay4": "merge.1",
    "dcn": "merge.2",
    "lay1": "reduce.0",
    "lay2": "reduce.1",
}


def our_names(public: str) -> tuple[str, ...]:
    """Our name of a public parameter or buffer.

    Returns:
        () if it is dropped; several names if the tensor is split along its first axis.

    Raises:
        InputError: Public checkpoints have no such name.
    """
    if any(re.fullmatch(pattern, public) for pattern, _ in _DROPPED):
        return ()
    for pattern, names in _RULES:
        match = re.fullmatch(pattern, public)
        if match:
            return tuple(re.sub(r"\{([\w]+)\}", _module(match), match.expand(name)) for name in names)
    raise InputError(f"checkpoint: found entry {public!r}, which no public SeqFormer checkpoint has")


def _module(match: re.Match[str]) -> Callable[[re.Match[str]], str]:
    def replace(braces: re.Match[str]) -> str:
        if braces.group(1) == "block":
            return f"backbone.swin.swin.encoder.layers.{match.group(1)}.blocks.{match.group(2)}"
        return _MODULES[braces.group(1)]

    return replace


def import_public(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Entry `model` of a public checkpoint under our names, to be loaded strictly into a baseline.

    Entries without effect are dropped.

    Raises:
        InputError: An entry is unknown, or cannot be split into equal parts.
    """
    ours: dict[str, Tensor] = {}
    for public, tensor in state.items():
        names = our_names(public)
        if len(names) > 1 and tensor.shape[0] % len(names):
            raise InputError(
                f"checkpoint: {public}: found shape {tuple(tensor.shape)}, which {len(names)} does not divide"
            )
        if names:
            ours |= dict(zip(names, tensor.chunk(len(names)), strict=True))
    return ours
