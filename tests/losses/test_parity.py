"""One training step of the public SeqFormer, repeated: every loss term, their sum and all gradient norms.

The expected figures were measured on the public code (float32, CPU, dropout 0, ResNet-50, 42 classes, T=2, 96 x 160).
"""

import json
from pathlib import Path

import pytest
import torch

from mssts.config import ABLATIONS, Config, read_yaml
from mssts.core.records import Batch, Instances
from mssts.inference.public_names import import_public, internal_names
from mssts.losses import Criterion
from mssts.models import build_model
from tests.models.data import fill

CLASSES, FRAMES, HEIGHT, WIDTH = 42, 2, 96, 160
TESTS = Path(__file__).parent.parent
SHAPES = json.loads((TESTS / "models/data/r50_t2.keys.json").read_text())
EXPECTED = json.loads((TESTS / "losses/data/r50_t2_training.json").read_text())
PUBLIC_TERMS = {"loss_class": "loss_ce", "loss_l1": "loss_bbox"}
ROUNDING_NOISE = "time_attention_weights.bias"  # a softmax over frames cancels it


@pytest.fixture(scope="module")
def step():
    """Model with gradients, and the loss terms, after one backward pass."""
    config = Config.model_validate(read_yaml(ABLATIONS / "baseline.yaml"))
    model = build_model(config.model.model_copy(update={"dropout": 0.0}), "resnet50", CLASSES).train()
    model.load_state_dict(import_public(fill.state_dict(SHAPES)))
    frames = fill.frames(21, FRAMES, HEIGHT, WIDTH)[None]
    target = fill.target(1021, 2, FRAMES, HEIGHT, WIDTH)
    instances = Instances(
        labels_N=target["labels"],
        boxes_NT4=target["boxes"].view(2, FRAMES, 4),
        masks_NTHW=target["masks"].view(2, FRAMES, HEIGHT, WIDTH).bool(),
    )
    padding = torch.zeros(1, FRAMES, HEIGHT, WIDTH, dtype=torch.bool)
    batch = Batch(frames_BT3HW=frames, padding_mask_BTHW=padding, sizes=((HEIGHT, WIDTH),), instances=(instances,))
    criterion = Criterion(config.loss)
    terms, _ = criterion(model(frames, padding), batch, num_boxes=2)
    total = criterion.total(terms)
    total.backward()
    return model, {name: values.tolist() for name, values in terms.items()}, total.item()


def close(expected):
    return pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_every_loss_term_equals_the_public_one(step):
    _, terms, _ = step
    public = {}
    for name, values in terms.items():
        for layer, value in enumerate(values):
            suffix = "" if layer == len(values) - 1 else f"_{layer}"
            public[PUBLIC_TERMS.get(name, name) + suffix] = value
    assert public == close(EXPECTED["losses"])


def test_the_weighted_sum_equals_the_public_one(step):
    assert step[2] == close(EXPECTED["total_loss"])


def test_every_gradient_norm_equals_the_public_one(step):
    model, *_ = step
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    norms, named = {}, set()
    for public in EXPECTED["grad_norms"]:
        ours = internal_names(public)
        named.update(ours)
        norms[public] = torch.cat([gradients[name].flatten() for name in ours]).norm().item()
    assert named == set(gradients)  # the same parameters are trained
    noise = [public for public in norms if public.endswith(ROUNDING_NOISE)]
    assert len(noise) == 6
    for public in noise:
        assert norms.pop(public) < 1e-4
    assert norms == close({public: norm for public, norm in EXPECTED["grad_norms"].items() if public not in noise})
