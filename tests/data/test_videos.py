import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from mssts.core.errors import InputError
from mssts.data.datasets import split_annotations
from mssts.data.videos import read_video


def test_a_video_of_the_wanted_size_is_only_normalised(synthvis_dir, settings):
    annotations = split_annotations("synthvis", synthvis_dir, "valid")
    video = annotations.videos[0]
    frames, size = read_video(annotations, video, 64, settings)
    assert size == (64, 96) and frames.shape == (video.length, 3, 64, 96) and frames.dtype == torch.float32
    pixels = np.asarray(Image.open(annotations.frame_path(video, 1))).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(frames[1].numpy(), (pixels - 0.5) / 0.25, atol=1e-5)


def test_other_sizes_get_the_short_side_and_keep_their_own_size_for_the_masks(synthvis_dir, settings):
    annotations = split_annotations("synthvis", synthvis_dir, "valid")
    portrait = next(v for v in annotations.videos if (v.height, v.width) == (96, 64))
    frames, size = read_video(annotations, portrait, 32, settings)
    assert size == (96, 64) and frames.shape[-2:] == (48, 32)


def test_an_unreadable_frame_is_named(synthvis_dir, settings, tmp_path):
    annotations = split_annotations("synthvis", synthvis_dir, "valid")
    annotations = dataclasses.replace(annotations, image_root=tmp_path)
    with pytest.raises(InputError, match=r"video 1, frame 0 .*no such file"):
        read_video(annotations, annotations.videos[0], 64, settings)
