"""ImageNet weights of a backbone from a local file, and what is said when they cannot be had."""

import pytest
import torch
from torchvision.models import resnet50, resnet101

from mssts.config import IMAGENET, RANDOM
from mssts.core.errors import InputError
from mssts.models.backbones import build_backbone, swin


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


@pytest.fixture
def small_swin(tmp_path):
    """Sizes of a small Swin, and a folder of its weights as the public ones are stored: with a classifier."""
    from transformers import SwinConfig, SwinForImageClassification

    sizes = {"image_size": 32, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2}
    model = SwinForImageClassification(SwinConfig(**sizes))
    model.save_pretrained(tmp_path / "swin")
    return sizes, tmp_path / "swin", model


def test_a_local_folder_of_swin_is_taken_whole(small_swin):
    sizes, folder, public = small_swin
    ours = swin.build(str(folder), "", **sizes).state_dict()
    for name, weight in public.swin.encoder.state_dict().items():
        assert torch.equal(ours[f"swin.swin.encoder.{name}"], weight), name


def test_a_folder_of_another_swin_is_refused(small_swin):
    sizes, folder, _ = small_swin
    with pytest.raises(ValueError, match=r"another architecture: 1 different sizes \(window_size\)"):
        swin.build(str(folder), "", **sizes | {"window_size": 4})


def renamed(state):
    return {f"encoder.{name}": weight for name, weight in state.items()}


def shortened(state):
    return {name: weight for name, weight in state.items() if not name.startswith("layer4.2")}


@pytest.mark.parametrize(
    ("name", "of", "change"),
    [
        ("resnet101", resnet50, dict),
        ("resnet50", resnet101, dict),
        ("resnet50", resnet50, renamed),
        ("resnet50", resnet50, shortened),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, name, of, change):
    with torch.device("meta"):
        state = of(weights=None).state_dict()
    state = change({name: torch.zeros((), dtype=weight.dtype).expand(weight.shape) for name, weight in state.items()})
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=rf"backbone {name}: .*weights\.pth.*another architecture: \d+ weights"):
        build_backbone(name, str(tmp_path / "weights.pth"), 0)
