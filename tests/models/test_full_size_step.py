"""One real training step of the paper's models on a CPU: loss and gradients finite, memory printed."""

import resource

import numpy as np
import pytest
import torch

from mssts.config import load_baseline, resolve
from mssts.data.clips import ClipDataset, collate
from mssts.data.datasets import split_annotations
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model, count_parameters
from mssts.training.optimizer import build_optimizer
from tests.data import fake_youtube_vis as fake

ALL = "ms_sts_temporal_fgbg"


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Two clips of two frames with the paper's augmentation, small."""
    root = fake.write(tmp_path_factory.mktemp("data"), "ytvis2019", videos=2)
    annotations = split_annotations("ytvis2019", root, "train")
    settings = load_baseline().data.model_copy(update={"short_sides": [64], "max_long_side": 96, "crop": False})
    clips = ClipDataset(annotations, 2, settings)
    return collate([clips.clip(index, np.random.default_rng(index)) for index in (0, 4)], settings.pad_multiple)


@pytest.mark.parametrize("name", ["baseline", ALL])
@pytest.mark.parametrize("backbone", ["resnet50", "resnet101", "swin_l"])
@pytest.mark.long
def test_one_step_of_a_full_size_model_keeps_loss_gradients_and_weights_finite(batch, backbone, name):
    config = resolve("paper-2019", name)
    model = build_model(config.model, backbone, 40).train()
    optimizer = build_optimizer(model, config.train)
    criterion = Criterion(config.loss)
    zero = {
        key for key, value in model.named_parameters() if value.requires_grad and value.ndim > 1 and not value.any()
    }
    torch.manual_seed(0)
    prediction = model(batch.frames_BT3HW, batch.padding_mask_BTHW)
    terms, matches = criterion(prediction, batch, sum(len(clip.labels_N) for clip in batch.instances))
    loss = criterion.total(terms)
    settings = config.loss.foreground_background.model_copy(update={"min_score": 0.0})
    if settings.enabled:
        adversary = ForegroundBackgroundAdversary(settings, config.model.hidden_dim, torch.Generator().manual_seed(0))
        terms["loss_adversary"] = adversary.generator_loss(batch, prediction, matches)
        loss = loss + terms["loss_adversary"]
    loss.backward()
    assert all(torch.isfinite(term).all() for term in terms.values())
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    assert not [key for key, value in trained.items() if value.grad is None or not torch.isfinite(value.grad).all()]
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.gradient_clip_norm)
    optimizer.step()
    assert zero and not [key for key in zero if not trained[key].any()]  # what starts at zero has left it
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{backbone} {name}: {count_parameters(model) / 1e6:.2f} M, loss {loss.item():.2f}, peak {peak:.2f} GB")
