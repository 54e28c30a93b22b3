import itertools
import math
from dataclasses import replace

import pytest
import torch

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.core.records import Instances
from mssts.losses.matcher import Matcher
from tests.losses.stand_in import batch_of, clip_of, no_instances, random_batch, random_output

CONFIG = resolve("embedded").loss


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def test_cost_equals_the_formula_by_hand_with_euclidean_boxes():
    target = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.25, 0.5, 0.5, 1.0]]])  # one instance, two frames
    boxes = torch.tensor([[[[[0.5, 0.5, 0.2, 0.2]], [[0.75, 0.5, 0.5, 1.0]]]]])  # frame 2: the other half of the frame
    logits = torch.tensor([[[[-math.log(3), math.log(3)]]]])  # probabilities 1/4, 3/4
    instances = Instances(torch.tensor([1]), target, torch.zeros(1, 2, 8, 8).bool())
    yes, no = 0.25 * 0.25**2 * -math.log(0.75), 0.75 * 0.75**2 * -math.log(0.25)
    giou = (1 + 0) / 2  # halves that touch: no overlap, no empty hull
    expected = 2 * (yes - no) + 5 * 0.5 - 2 * giou
    cost = Matcher(CONFIG).pair_costs(logits, boxes, (instances,))
    assert cost.shape == (1, 1, 1, 1)
    assert cost.item() == pytest.approx(expected, rel=1e-5)


def test_box_cost_is_the_euclidean_distance_over_all_frames_not_l1():
    target = torch.full((1, 3, 4), 0.5)
    boxes = (target + 0.1)[:, :, None][None]
    instances = Instances(torch.tensor([0]), target, torch.zeros(1, 3, 8, 8).bool())
    only_boxes = Matcher(CONFIG.model_copy(update={"matching": CONFIG.matching.model_copy(update={"giou": 0.0})}))
    cost = only_boxes.pair_costs(torch.zeros(1, 1, 1, 2), boxes, (instances,))
    class_cost = only_boxes.class_costs(torch.zeros(1))
    assert (cost - 2 * class_cost).item() == pytest.approx(5 * math.sqrt(12 * 0.01), rel=1e-5)


def test_each_layer_and_clip_is_matched_on_its_own_and_at_least_cost(generator):
    output, batch = random_output(generator), random_batch(generator)
    matches = Matcher(CONFIG)(output, batch)
    assert matches.counts == (2, 3)
    for layer in range(2):
        for clip, (first, count) in enumerate(((0, 2), (2, 3))):
            alone = output.clip(clip).layers[layer]
            instances = (batch.instances[clip],)
            costs = Matcher(CONFIG).pair_costs(alone.logits_BNK[None], alone.boxes_BTN4[None], instances)[0, 0].tolist()
            best = min(
                sum(costs[query][instance] for instance, query in enumerate(queries))
                for queries in itertools.permutations(range(6), count)
            )
            queries = matches.queries(layer, clip).tolist()
            targets = matches.targets_LP[layer, first : first + count].tolist()
            assert sorted(targets) == list(range(first, first + count))
            assert len(set(queries)) == count
            chosen = sum(costs[q][t - first] for q, t in zip(queries, targets, strict=True))
            assert chosen == pytest.approx(best, rel=1e-5)
    assert matches.clips_P.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(matches.queries(-1, 1), matches.queries(1, 1))


def test_layers_that_differ_are_matched_differently(generator):
    output, batch = random_output(generator, clips=1, queries=4), random_batch(generator, (2,), ((64, 96),))
    first, last = output.layers
    order = torch.tensor([2, 3, 0, 1])
    for name in ("logits_BNK", "masks"):
        setattr(last, name, getattr(first, name)[:, order])
    last.boxes_BTN4 = first.boxes_BTN4[:, :, order]
    matches = Matcher(CONFIG)(output, batch)
    by_target = [
        dict(zip(matches.targets_LP[i].tolist(), matches.queries(i, 0).tolist(), strict=True)) for i in range(2)
    ]
    assert {target: order[query].item() for target, query in by_target[1].items()} == by_target[0]
    assert by_target[0] != by_target[1]


def test_a_clip_is_matched_the_same_alone_and_in_a_batch(generator):
    output, batch = random_output(generator), random_batch(generator)
    together = Matcher(CONFIG)(output, batch)
    for clip in range(2):
        alone = Matcher(CONFIG)(output.clip(clip), clip_of(batch, clip))
        for layer in range(2):
            assert torch.equal(alone.queries(layer, 0), together.queries(layer, clip))


def test_empty_clips_match_nothing(generator):
    output, batch = random_output(generator), random_batch(generator)
    half = replace(batch, instances=(no_instances(), batch.instances[1]))
    matches = Matcher(CONFIG)(output, half)
    assert matches.counts == (0, 3)
    assert matches.queries(0, 0).tolist() == []
    assert len(matches.queries(0, 1)) == 3
    nothing = Matcher(CONFIG)(output, batch_of((no_instances(), no_instances()), batch.sizes))
    assert nothing.queries_LP.shape == (2, 0) and nothing.queries_LP.dtype == torch.int64


def test_more_instances_than_queries_leave_instances_unmatched(generator):
    output = random_output(generator, queries=2)
    matches = Matcher(CONFIG)(output, random_batch(generator, counts=(3, 1)))
    assert matches.counts == (2, 1)
    assert sorted(matches.queries(0, 0).tolist()) == [0, 1]


@pytest.mark.parametrize(("name", "words"), [("logits_BNK", "class logits contain"), ("boxes_BTN4", "boxes contain")])
def test_a_cost_that_is_not_finite_is_refused_with_its_layer_and_clip(generator, name, words):
    output, batch = random_output(generator), random_batch(generator)
    with torch.no_grad():
        getattr(output.layers[1], name)[1] = float("nan")
    with pytest.raises(InputError, match=f"decoder layer 1, clip 1.*{words} NaN.*learning_rate"):
        Matcher(CONFIG)(output, batch)


def test_half_precision_is_matched_in_single_precision(generator):
    output, batch = random_output(generator), random_batch(generator)
    layer = output.layers[0]
    costs = Matcher(CONFIG).pair_costs(
        layer.logits_BNK[None].bfloat16(), layer.boxes_BTN4[None].bfloat16(), batch.instances
    )
    assert costs.dtype == torch.float32
