"""The model for inference computes what the model computes."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from mssts.config import resolve
from mssts.models import build_model, layers
from mssts.models.faster import faster
from tests.models.small_model import clips, everything, filled, small_model


@pytest.mark.parametrize("frames", [1, 3])
def test_batch_norms_are_folded_into_convolutions(frames):
    model = build_model(resolve("smoke").model, "resnet50", 5, torch.Generator().manual_seed(0)).eval()
    generator = torch.Generator().manual_seed(1)
    for norm in model.backbone.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.1, generator=generator)
    names, images = list(model.state_dict()), clips(frames, 3, 64, 96)
    with torch.inference_mode():
        expected = model.backbone(images)
        found = faster(model)
        assert not any(isinstance(module, FrozenBatchNorm2d) for module in found.modules())
        assert found.encoder is model.encoder
        for ours, theirs in zip(found.backbone(images), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))
        assert torch.equal(model.backbone(images)[0], expected[0])
    assert list(model.state_dict()) == names


def test_inference_in_pieces_that_fit_the_cache_computes_the_same(monkeypatch):
    model, frames = filled(small_model("ms_sts_temporal").eval()).double(), clips(2, 3, 3, 64, 96).double()
    with torch.no_grad():
        whole = model(frames)
    monkeypatch.setattr(layers, "CACHED", 64 * 7)  # rows of two linear layers
    with torch.no_grad():
        pieces = model(frames)
    for ours, theirs in zip(everything(pieces), everything(whole), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert not torch.equal(pieces.logits, whole.logits)
