"""Geometry is computed in full precision, whatever the precision of the network."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields

import pytest
import torch
from torch import nn

from mssts.core.distributed import start_fabric
from mssts.models.decoder import Decoder
from mssts.models.deformable_attention import DeformableAttention
from mssts.ops.attention import DeformableSampling
from mssts.ops.masks import dynamic_masks
from tests.models.small_model import clips, filled, small_model

HEIGHT, WIDTH = 383, 682  # bfloat16 has 384 and 680 instead
HALVES = pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])


def padding(clips_, frames, height, width):
    """The first clip fills the batch; the others are padded to a third of it."""
    mask = torch.zeros(clips_, frames, height, width, dtype=torch.bool)
    mask[1:, :, height // 3 :] = True
    mask[1:, :, :, width // 3 :] = True
    return mask


def test_a_frame_keeps_its_size_under_bf16_mixed():
    with start_fabric("cpu", "bf16-mixed") as fabric, torch.inference_mode():
        network = fabric.setup_module(small_model("baseline").eval())
        plain = network(clips(1, 1, 3, HEIGHT, WIDTH)).sizes_B2
        larger = torch.ones(1, 1, 384, 704, dtype=torch.bool)
        larger[..., :HEIGHT, :WIDTH] = False
        padded = network(clips(1, 1, 3, 384, 704), larger).sizes_B2
    for sizes_B2 in (plain, padded):
        assert sizes_B2.dtype == torch.float32 and sizes_B2.tolist() == [[WIDTH, HEIGHT]]


@HALVES
def test_no_box_reference_or_location_is_in_half_precision(half):
    model = filled(small_model("ms_sts_temporal")).eval()
    found = {}

    def note(name, tensor):
        found.setdefault(name, set()).add(tensor.dtype)

    for module in model.modules():
        if isinstance(module, DeformableSampling):
            module.register_forward_pre_hook(lambda _, inputs: note("locations", inputs[1]))
        if isinstance(module, DeformableAttention):
            module.register_forward_pre_hook(lambda _, inputs: note("references of attention", inputs[1]))
    with torch.inference_mode(), torch.autocast("cpu", half):
        output = model(clips(2, 2, 3, 64, 96).to(half), padding(2, 2, 64, 96))
        note("mask logits", output.mask_logits(-1, 1, torch.tensor([1, 3])))
    for layer in output.layers:
        note("boxes", layer.boxes_BTN4)
        note("references", layer.references_BTN2)
    note("sizes", output.sizes_B2)
    assert len(found) == 6 and set().union(*found.values()) == {torch.float32}, found
    assert output.logits.dtype == half  # the network itself does compute in half precision


class Constant(nn.Module):
    """A decoder layer whose queries do not depend on its inputs: what the decoder then returns is its geometry."""

    def forward(self, instances, boxes, positions, references, memory, layout):
        return clips(2, 8, 32), clips(2, 3, 8, 32, seed=4)


def locations(model):
    attention, found = model.encoder.layers[0].branches["deformable"].attention, []
    handle = attention.sample.register_forward_pre_hook(lambda _, inputs: found.append(inputs[1]))
    layout = model.geometry(((8, 12), (4, 6), (2, 3)), None)
    attention(clips(1, 2, 126, 32) * 9, layout.grid.references_B1SL2, clips(1, 2, 126, 32), layout)
    handle.remove()
    return found


def refined_boxes(model):
    decoder: Decoder = model.decoder
    decoder.layers = nn.ModuleList(Constant() for _ in decoder.layers)
    layout = model.geometry(((8, 12), (4, 6), (2, 3)), padding(2, 3, 64, 96)[:, 0])
    return [tensor for _, *geometry in decoder(clips(2, 3, 126, 32), layout) for tensor in geometry]


def grid(model):
    layout = model.geometry(((48, 86), (24, 43), (12, 22)), padding(2, 3, HEIGHT, WIDTH)[:, 0])
    values = [getattr(layout.grid, field.name) for field in fields(layout.grid)]
    return [layout.encodings_B1SC, *(value for value in values if isinstance(value, torch.Tensor))]


def coordinates(model):
    """Masks whose parameters pick the distance to the reference point."""
    parameters = torch.zeros(2, 169)
    parameters[:, :80:10] = 1.0
    parameters[:, 80:152:9] = 1.0
    parameters[:, 152] = 1.0
    centres = torch.tensor([681.0, 382.0]).expand(1, 2, 2, 2)
    return [dynamic_masks(torch.zeros(1, 2, 8, 48, 86), centres, parameters[None], (2,), 8)]


@HALVES
@pytest.mark.parametrize("geometry", [locations, refined_boxes, grid, coordinates])
def test_autocast_changes_no_geometry(geometry, half):
    results = []
    for context in (nullcontext(), torch.autocast("cpu", half)):
        with torch.inference_mode(), context:
            results.append(geometry(filled(small_model("baseline"), seed=3).eval()))
    full, mixed = results
    assert full and all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(full, mixed, strict=True))
