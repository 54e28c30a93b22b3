"""From the network's output to submission entries, where ours departs from the public code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as run_length
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.data.clips import boxes_of_masks
from mssts.inference.predict import (
    FRAMES_AT_ONCE,
    boxes_at_video_size,
    masks_at_video_size,
    parts_of_window,
    predict_video,
)
from tests.models.small_model import clips, small_model

CATEGORIES = [(n, str(n)) for n in range(1, 6)]


@pytest.mark.parametrize(
    "part",
    ["class_heads.1.bias", "mask_parameter_head.layers.2.weight", "decoder.box_heads.1.layers.2.bias", "backbone"],
)
def test_scores_masks_and_boxes_that_are_not_finite_are_an_error(part):
    model = small_model("baseline").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(part):
                weight.fill_(torch.nan)
    with pytest.raises(InputError, match="video 7: the scores, masks or boxes that the model predicts are not finite"):
        predict_video(model, clips(2, 3, 64, 96), 7, (64, 96), CATEGORIES, resolve("smoke").predict)


@pytest.mark.parametrize(("bias", "visible"), [(-50.0, False), (50.0, True)])
def test_results_without_a_mask_or_with_a_tiny_score_are_kept(bias, visible):
    model = small_model("baseline").eval()
    with torch.no_grad():
        for head in model.class_heads:
            head.bias.fill_(-12.0)
        last = model.mask_parameter_head.layers[-1]
        last.weight.zero_()
        last.bias.zero_()
        last.bias[-1] = bias
    results, _ = predict_video(model, clips(2, 3, 64, 96), 7, (64, 96), CATEGORIES, resolve("smoke").predict)
    assert len(results) == 10 and all(0 < result["score"] < 0.001 for result in results)
    assert {mask is not None for result in results for mask in result["segmentations"]} == {visible}


class LargestTensor(TorchDispatchMode):
    """Number of elements of the largest tensor that an operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        found = [one.numel() for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
        self.elements = max(self.elements, *found, 0)
        return result


def test_no_tensor_holds_more_than_a_block_of_frames_of_one_instance_at_the_size_of_the_video():
    length, size = 2 * FRAMES_AT_ONCE + 3, (240, 360)
    with torch.no_grad():
        prediction = small_model("baseline").eval()(clips(1, length, 3, 64, 96))
        with LargestTensor() as largest:
            parts = parts_of_window(prediction, 0, (64, 96), 7, size, CATEGORIES, resolve("smoke").predict)
    assert largest.elements == FRAMES_AT_ONCE * size[0] * size[1]
    queries = torch.arange(prediction.logits.shape[1])
    with torch.no_grad():
        whole = masks_at_video_size(prediction.mask_logits(-1, 0, queries), (64, 96), size, 0.5)
    scores_NK = prediction.logits[0].sigmoid().double()
    for part in parts:
        [query] = (scores_NK == torch.from_numpy(part.scores_K)).all(1).nonzero()[:, 0].tolist()
        assert len(part.segmentations) == length
        for mask, expected in zip(part.segmentations, whole[query], strict=True):
            found = np.zeros(size, np.uint8) if mask is None else run_length.decode(mask)
            assert np.array_equal(found, expected)


def test_the_margin_beyond_the_frame_is_cut_off_and_not_squeezed_in():
    logits = torch.full((1, 1, 16, 24), -9.0)  # stride 4: 64 x 96 px of a frame of 61 x 90
    logits[..., :12] = 9.0  # up to 48 px
    assert masks_at_video_size(logits, (61, 90), (61, 90), 0.5)[0, 0].sum(-1).tolist() == [48] * 61
    doubled = masks_at_video_size(logits, (61, 90), (122, 180), 0.5)[0, 0].sum(-1)
    assert doubled.shape == (122,) and set(doubled.tolist()) == {96}


def test_boxes_are_in_pixels_of_the_video_and_not_clipped():
    boxes = torch.tensor([[[0.5, 0.25, 0.2, 0.5], [0.0, 0.0, 0.1, 1e-6]]])
    # 0.5 - 0.1 and 0.25 - 0.25 of 300 x 100; then half of 30 px to the left of the frame
    assert boxes_at_video_size(boxes, (100, 300)).tolist() == [[[120, 0, 60, 50], [-15, 0, 30, 0]]]
    assert boxes_at_video_size(torch.full((1, 1, 4), 1 / 3), (10, 10)).tolist() == [[[1.67, 1.67, 3.33, 3.33]]]


@pytest.mark.parametrize("size", [(64, 96), (61, 90), (128, 192)])
def test_boxes_that_the_decoder_is_trained_with_come_back_as_those_around_the_masks(size):
    masks = torch.zeros(1, 1, *size, dtype=torch.bool)
    masks[0, 0, 3:10, 40:75] = True
    assert boxes_at_video_size(boxes_of_masks(masks), size).tolist() == [[[40, 3, 35, 7]]]


def test_every_result_has_the_boxes_of_its_query_in_every_frame():
    model, frames = small_model("baseline").eval(), clips(3, 3, 64, 96)
    with torch.no_grad():
        prediction = model(frames[None])
    results, boxes = predict_video(model, frames, 7, (32, 48), CATEGORIES, resolve("smoke").predict)
    assert len(results) == len(boxes) == 10
    scores_NK = prediction.logits[0].sigmoid()
    for result, found in zip(results, boxes, strict=True):
        [[query]] = (scores_NK[:, result["category_id"] - 1] == result["score"]).nonzero().tolist()
        expected_T4 = prediction.boxes[0, :, query].double().numpy() * (48, 32, 48, 32)
        expected_T4[:, :2] -= expected_T4[:, 2:] / 2
        np.testing.assert_allclose(found, expected_T4, atol=0.0051)


def test_boxes_of_a_padded_clip_are_those_of_its_frame():
    model, frames = small_model("baseline").eval(), clips(1, 2, 3, 64, 96)
    padded, padding = torch.zeros(1, 2, 3, 96, 128), torch.ones(1, 2, 96, 128, dtype=torch.bool)
    padded[..., :64, :96], padding[..., :64, :96] = frames, False
    with torch.no_grad():
        plain, other = model(frames), model(padded, padding)
    found, again = (boxes_at_video_size(output.boxes[0].transpose(0, 1), (64, 96)) for output in (plain, other))
    np.testing.assert_allclose(again, found, atol=0.05)
