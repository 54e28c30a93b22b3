"""Registered loss terms: each has its own weight, and none takes part without one."""

import pytest
import torch

from mssts.config import LossTermSection, Section, resolve
from mssts.core.errors import InputError
from mssts.losses import Criterion
from mssts.losses.registry import TERMS
from mssts.losses.terms import BUILT_IN
from mssts.models.parts import Part, Registry
from tests.losses.stand_in import random_batch, random_output

CONFIG = resolve("embedded").loss


class ConstantSection(LossTermSection):
    value: float


class UnweightedSection(Section):
    value: float


def constant(section, config):
    return lambda matched: matched.boxes[0].flatten(1).sum(1) * 0 + section.value


@pytest.fixture
def register(monkeypatch):
    def add(**parts):
        monkeypatch.setattr(TERMS, "parts", parts)

    return add


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(5)
    return random_output(generator), random_batch(generator)


def config_with(**terms):
    return CONFIG.model_copy(update={"terms": terms})


def test_a_registered_term_has_its_own_weight(register, case):
    register(mask_edges=Part(ConstantSection, constant))  # its name begins with that of a built-in term
    before, own = Criterion(CONFIG), Criterion(config_with(mask_edges={"weight": 7.0, "value": 3.0}))
    assert own.weights == before.weights | {"loss_mask_edges": 7.0}
    terms, _ = own(*case, num_boxes=1)
    assert torch.equal(terms["loss_mask_edges"], torch.tensor([3.0, 3.0]))
    built_in, _ = before(*case, num_boxes=1)
    torch.testing.assert_close(own.total(terms), before.total(built_in) + 2 * 7 * 3)


def test_a_registered_term_is_divided_like_the_others(register, case):
    register(own=Part(ConstantSection, constant))
    terms, _ = Criterion(config_with(own={"weight": 1.0, "value": 3.0}))(*case, num_boxes=5)
    torch.testing.assert_close(terms["loss_own"], torch.tensor([0.6, 0.6]))


def test_a_registered_term_that_is_not_named_is_not_computed(register):
    register(own=Part(ConstantSection, constant))
    assert set(Criterion(CONFIG).weights) == {f"loss_{name}" for name in ("class", "l1", "giou", "mask", "dice")}


def test_a_term_without_a_weight_is_refused_at_construction(register):
    register(own=Part(UnweightedSection, constant))
    with pytest.raises(InputError, match=r"loss\.terms\.own\.weight: missing.*'own' needs a weight"):
        Criterion(config_with(own={"value": 1.0}))


def test_a_built_in_term_without_a_weight_is_refused_at_construction(monkeypatch):
    monkeypatch.setitem(BUILT_IN, "mask_edges", lambda config, matched: matched.boxes[0].flatten(1).sum(1))
    with pytest.raises(InputError, match=r"loss\.weights\.mask_edges: missing.*'mask_edges' needs a weight"):
        Criterion(CONFIG)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"own": {"value": 1.0}}, r"loss\.terms\.own: weight: missing"),
        ({"own": {"weight": -1.0, "value": 1.0}}, r"loss\.terms\.own: weight: found -1\.0"),
        ({"own": {"weight": 1.0, "vallue": 1.0, "value": 1.0}}, r"vallue: unknown key; did you mean 'value'"),
        ({"other": {"weight": 1.0}}, r"loss\.terms: found 'other', which is not registered; expected one of own"),
    ],
)
def test_a_mistake_in_the_section_of_a_term_is_named(register, terms, complaint):
    register(own=Part(ConstantSection, constant))
    with pytest.raises(InputError, match=complaint):
        Criterion(config_with(**terms))


def test_a_term_without_a_value_for_each_layer_is_refused(register, case):
    register(own=Part(ConstantSection, lambda section, config: lambda matched: torch.tensor(section.value)))
    criterion = Criterion(config_with(own={"weight": 1.0, "value": 3.0}))
    with pytest.raises(InputError, match=r"loss term loss_own: found shape \(\), expected \(2,\)"):
        criterion(*case, num_boxes=1)


@pytest.mark.parametrize("name", ["class", "dice", "adversary", "discriminator"])
def test_the_name_of_a_built_in_term_cannot_be_registered(name):
    with pytest.raises(ValueError, match=name):
        Registry(TERMS.key, TERMS.built_in, {name: Part(ConstantSection, constant)})
