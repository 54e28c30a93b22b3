"""Every field of the configuration has bounds: a value outside them is refused, and any other builds and runs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mssts.config import MAPPING_KEYS, Config, canonical, leaves, override, resolve, validated
from mssts.core.errors import InputError
from mssts.core.yaml_files import read_yaml
from mssts.losses import Criterion
from mssts.models import build_model
from mssts.training.micro_batches import MicroBatches
from mssts.training.optimizer import rate_factor

ABLATIONS = Path(__file__).resolve().parent.parent / "ablations"
MAPPINGS = ("model.encoder.branches", "model.decoder.blocks", "loss.terms", "execution.backbones")
WRONG = (0, -1, 3, 10**30, -(10**30), 0.5, 1.0, 1e-9, 1e30, math.nan, math.inf)
WRONG += ("x", "", " ", "a\x00b", "{a}", {}, {"a": 1}, [], [{}], [0], [1, 1], [-1.0], None, True, False)
HUGE = (10**30, -(10**30), 1e30, math.nan, math.inf)


@cache
def smoke() -> dict[str, Any]:
    """The complete configuration at scale smoke, with all modules enabled."""
    config = resolve("smoke", "ms_sts_temporal_fgbg", ABLATIONS)
    return config.model_dump(mode="json", by_alias=True)


def keys() -> list[str]:
    return list(leaves(read_yaml(ABLATIONS / "baseline.yaml"), MAPPING_KEYS))


def changed(values: dict[str, Any]) -> dict[str, Any]:
    tree = copy.deepcopy(smoke())
    for key, value in values.items():
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        assert last in node
        node[last] = value
    return tree


@dataclass
class Used:
    """What a study does with a configuration before and during its first steps, without the data."""

    model: Any

    def __call__(self, config: Config) -> None:
        if canonical(config, ("model",)) != canonical(self.model, ("model",)):
            with torch.device("meta"):
                model = build_model(config.model, "tiny", 5).train()
                model(torch.empty(1, 2, 3, 64, 96, device="meta"))
        Criterion(config.loss)
        for stage in (config.pretrain, config.train):
            MicroBatches.split(stage.batch_clips, config.execution)
            steps = stage.steps_of(1000)
            assert all(0 <= rate_factor(step, steps, stage) <= 1 for step in (0, 1, steps - 1))
        assert math.isfinite(math.log(config.predict.mask_threshold / (1 - config.predict.mask_threshold)))


@pytest.mark.parametrize("key", sorted({*keys()} - {*MAPPINGS}))
def test_every_value_is_refused_or_can_be_used(key):
    use, accepted = Used(validated(Config, smoke(), "smoke")), []
    for value in WRONG:
        try:
            config = validated(Config, changed({key: value}), "file.yaml")
        except InputError as error:
            assert str(error).startswith("file.yaml: ")
            assert ": found " in str(error)
            continue
        use(config)
        accepted.append(value)
    assert not [value for value in accepted if any(value is huge for huge in HUGE)]
    assert not [value for value in accepted if value in ({}, [{}], {"a": 1}, "", " ", "{a}", "a\x00b")]


NULLABLE = ("execution.clips_per_device", "execution.validate_every", "pretrain.short_sides", "pretrain.max_long_side")
NULLABLE += ("pretrain.epochs", "train.epochs")  # smoke states steps


@pytest.mark.parametrize("value", [{}, {"x": {}}, None])
def test_an_empty_value_in_a_scale_is_never_passed_over(value):
    for key in keys():
        if (value is None and key in NULLABLE) or (key in MAPPINGS and value is not None):
            continue
        tree: Any = value
        for part in reversed(key.split(".")):
            tree = {part: tree}
        with pytest.raises(InputError, match=r"^file\.yaml: .*(found|unknown key)"):
            validated(Config, override(smoke(), leaves(tree, MAPPING_KEYS), Path("file.yaml")), "file.yaml")


TOGETHER = [
    ({"data.synthetic.height": 96, "data.synthetic.width": 64}, "data.synthetic.height: found 96; expected at most"),
    ({"model.heads": 5}, "model.hidden_dim: found 32; expected a multiple of the number of heads, 5"),
    ({"model.hidden_dim": 30}, "model.hidden_dim: found 30; Input should be a multiple of 4"),
    ({"model.levels": 2}, "model.levels: found 2"),
    ({"model.encoder.ms_sts.heads": 3}, "model.encoder.ms_sts.width: found 16; expected a multiple"),
    ({"model.decoder.temporal.width": 18}, "model.decoder.temporal.width: found 18; expected a multiple"),
    (
        {"model.encoder.ms_sts.intra_scale": False, "model.encoder.ms_sts.inter_scale": False},
        "model.encoder.ms_sts.enabled: found True; expected false",
    ),
    ({f"loss.matching.{key}": 0.0 for key in ("class", "box", "giou")}, "loss.matching.class: found 0.0; expected one"),
    ({"train.schedule": "step"}, "train.drop_fractions: found []; expected fractions for the schedule step"),
    ({"pretrain.schedule": "step"}, "pretrain.drop_fractions: found []"),
    (
        {"train.epochs": 12},
        "train.steps: found 8; expected null beside epochs: 12; to state the length in steps, write",
    ),
    ({"pretrain.steps": None}, "pretrain.steps: found None; expected a number of steps with epochs: null, or a number"),
    (
        {"train.schedule": "step", "train.drop_fractions": [0.5], "data.joint": True},
        "train.joint_drop_fractions: found []; expected fractions for the schedule step with data.joint",
    ),
    ({"runtime.precision": "16-mixed"}, "runtime.precision: found '16-mixed'; did you mean 'bf16-mixed'"),
    ({"execution.devices": 4}, "pretrain.batch_clips: found 2; expected a multiple of execution.devices"),
    ({"execution.clips_per_device": 3}, "batch_clips: found 2; expected a multiple"),
    (
        {"execution.backbones": {"tiny": {"devices": 4}}},
        "batch_clips: found 2; expected a multiple of execution.devices * nodes * clips_per_device of tiny, 4",
    ),
    ({"train.batch_clips": 3, "execution.nodes": 2}, "train.batch_clips: found 3; expected a multiple"),
    ({"data.pad_multiple": 12}, "data.pad_multiple: found 12; Input should be a multiple of 8"),
    ({"data.short_sides": []}, "data.short_sides: found []"),
    ({"predict.mask_threshold": 0.0}, "predict.mask_threshold: found 0.0; Input should be greater than 0"),
    ({"predict.mask_threshold": 1.0}, "predict.mask_threshold: found 1.0; Input should be less than 1"),
    ({"predict.mask_threshold": 1}, "predict.mask_threshold: found 1"),
    ({"model.dropout": 1.0}, "model.dropout: found 1.0; Input should be less than 1"),
    ({"evaluation.bootstrap_replicates": 38}, "bootstrap_replicates: found 38"),
]


@pytest.mark.parametrize(("values", "complaint"), TOGETHER, ids=[next(iter(values)) for values, _ in TOGETHER])
def test_values_that_do_not_go_together_are_named(values, complaint):
    with pytest.raises(InputError) as caught:
        validated(Config, changed(values), "file.yaml")
    assert complaint in str(caught.value)


def test_the_shipped_files_hold_nothing_that_old_yaml_reads_otherwise():
    for path in ABLATIONS.rglob("*.yaml"):
        assert read_yaml(path) == yaml.safe_load(path.read_text()), path
