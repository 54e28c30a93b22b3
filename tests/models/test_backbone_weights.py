"""ImageNet weights of a backbone from a local file, and what is said when they cannot be had."""

import pytest
import torch
from torchvision.models import resnet50

from mssts.core.errors import InputError
from mssts.models.backbones import IMAGENET, RANDOM, build_backbone


def test_a_local_file_in_torchvisions_format_is_taken_whole(tmp_path):
    torch.manual_seed(0)
    public = resnet50(weights=None).state_dict()
    torch.save(public, tmp_path / "resnet50.pth")
    ours = build_backbone("resnet50", str(tmp_path / "resnet50.pth"), 0).state_dict()
    compared = [name for name in ours if not name.endswith("num_batches_tracked")]
    assert len(compared) == len(public) - 2 - 53  # without classifier and counters
    assert all(torch.equal(ours[name], public[name]) for name in compared)


@pytest.mark.parametrize("name", ["resnet50", "swin_l"])
def test_weights_that_are_not_there_are_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"backbone {name}: ImageNet weights .*nowhere.*pretrain.backbone_weights"):
        build_backbone(name, str(tmp_path / "nowhere"), 0)


def test_a_backbone_without_imagenet_weights_starts_at_random():
    first, second = (build_backbone("tiny", weights, 0).state_dict() for weights in (IMAGENET, RANDOM))
    assert all(torch.equal(first[name], second[name]) for name in first)
