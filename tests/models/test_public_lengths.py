"""Any number of frames, any size, padded or not, every backbone: figures of the public code on the parity weights.

`lengths.npz` holds what it says for frames(100 + T, T, H, W): the first 8 queries' logits and boxes, and the masks of
queries 2 and 7 in the last two frames. `*_padded.npz`: for two padded clips the first 24 queries' logits and boxes, and
chosen masks of the first and last decoder layer.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mssts
from mssts.inference.import_weights import import_weights
from tests.models.data import fill

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    models = {}

    def load(case):
        if case not in models:
            folder = tmp_path_factory.mktemp(case)
            shapes = json.loads((DATA / f"{case}.keys.json").read_text())
            torch.save({"model": fill.state_dict(shapes)}, folder / "public.pth")
            import_weights(folder / "public.pth", folder / "ours.pt")
            (folder / "public.pth").unlink()
            models[case] = mssts.load_model(folder / "ours.pt").network
        return models[case]

    return load


def long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("case", "frames", "height", "width"),
    [
        ("r50_t2", 1, 64, 96),
        ("r50_t2", 3, 61, 90),
        long("r50_t2", 5, 64, 96),
        long("r50_t2", 36, 48, 64),
        long("r101", 2, 61, 90),
        long("swinl", 2, 61, 90),
        long("swinl", 5, 48, 64),
        long("swinl", 36, 32, 48),
    ],
)
def test_outputs_equal_the_public_ones_at_any_length_and_size(imported, case, frames, height, width):
    figures = np.load(DATA / "lengths.npz")
    expected = {part: figures[f"{case}_{frames}_{height}_{width}_{part}"] for part in ("logits", "boxes", "masks")}
    with torch.inference_mode():
        out = imported(case)(fill.frames(100 + frames, frames, height, width)[None], padding_mask=None)
        masks = out.mask_logits(-1, 0, torch.tensor([2, 7]))[:, -2:]
    np.testing.assert_allclose(out.logits[0, :8], expected["logits"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(out.boxes[0, :, :8], expected["boxes"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(masks, expected["masks"], rtol=0, atol=1e-2)


@pytest.mark.parametrize("case", ["r50_t2", long("r101"), long("swinl")])
def test_outputs_equal_the_public_ones_for_two_padded_clips_of_different_sizes(imported, case):
    expected = np.load(DATA / f"{case.removesuffix('_t2')}_padded.npz")
    frames, padding = torch.zeros(2, 2, 3, 96, 160), torch.ones(2, 2, 96, 160, dtype=torch.bool)
    for clip, (height, width) in enumerate([(96, 130), (61, 160)]):
        frames[clip, :, :, :height, :width] = fill.frames(30 + clip, 2, height, width)
        padding[clip, :, :height, :width] = False
    with torch.inference_mode():
        output = imported(case)(frames, padding)
        np.testing.assert_allclose(output.logits[:, :24], expected["logits"], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(output.boxes[:, :, :24], expected["boxes"], rtol=1e-3, atol=1e-4)
        for layer in (0, 5):
            for clip, queries in enumerate(([3, 7, 20], [0, 5])):
                masks = output.mask_logits(layer, clip, torch.tensor(queries))
                np.testing.assert_allclose(masks, expected[f"masks_layer{layer}_clip{clip}"], rtol=0, atol=1e-2)
