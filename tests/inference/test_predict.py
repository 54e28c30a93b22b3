"""From the network's output to submission entries, where ours departs from the public code."""

from __future__ import annotations

import pytest
import torch

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.inference.predict import masks_at_video_size, video_results
from tests.models.small_model import clips, small_model

CATEGORIES = [(n, str(n)) for n in range(1, 6)]


@pytest.mark.parametrize("part", ["class_heads.1.bias", "mask_parameter_head.layers.2.weight", "backbone"])
def test_scores_and_masks_that_are_not_finite_are_an_error(part):
    model = small_model("baseline").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(part):
                weight.fill_(torch.nan)
        prediction = model(clips(1, 2, 3, 64, 96))
    with pytest.raises(InputError, match="video 7: the scores or masks that the model predicts are not finite"):
        video_results(prediction, 7, (64, 96), (64, 96), CATEGORIES, resolve("smoke").predict)


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
        prediction = model(clips(1, 2, 3, 64, 96))
    results = video_results(prediction, 7, (64, 96), (64, 96), CATEGORIES, resolve("smoke").predict)
    assert len(results) == 10 and all(0 < result["score"] < 0.001 for result in results)
    assert {mask is not None for result in results for mask in result["segmentations"]} == {visible}


def test_the_margin_beyond_the_frame_is_cut_off_and_not_squeezed_in():
    logits = torch.full((1, 1, 16, 24), -9.0)  # stride 4: 64 x 96 px of a frame of 61 x 90
    logits[..., :12] = 9.0  # up to 48 px
    assert masks_at_video_size(logits, (61, 90), (61, 90), 0.5)[0, 0].sum(-1).tolist() == [48] * 61
    doubled = masks_at_video_size(logits, (61, 90), (122, 180), 0.5)[0, 0].sum(-1)
    assert doubled.shape == (122,) and set(doubled.tolist()) == {96}
