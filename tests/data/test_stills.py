import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from mssts.data.datasets import VideoSplit, split_annotations
from mssts.data.stills import MAX_INSTANCES, StillClipDataset, homography_of_corners, motion_blur, warp_corners
from mssts.ytvis.annotations import STILLS, Annotations
from mssts.ytvis.masks import read_track
from mssts.ytvis.track_list import TrackList
from mssts.ytvis.tracks import Track, Video


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def bright_square(tmp_path):
    """One grey still with a white square that is annotated 30 times."""
    mask = np.zeros((64, 96), np.uint8, order="F")
    mask[20:44, 30:60] = 1
    Image.fromarray(np.where(mask[..., None] > 0, 250, 60).repeat(3, -1).astype(np.uint8)).save(tmp_path / "0.png")
    rle = coco_mask.encode(mask)
    masks = read_track([rle], 64, 96)
    tracks = TrackList.of(Track(n, 1, 1, False, masks.mean_area, None, masks) for n in range(1, 31))
    videos = {1: Video(1, 64, 96, 1, ("0.png",))}
    annotations = Annotations(tmp_path / "s.json", videos, {1: "disc"}, tracks, (), tuple(range(30)))
    return VideoSplit(annotations, tmp_path, STILLS)


def test_warped_masks_stay_on_the_warped_object(bright_square, settings):
    dataset = StillClipDataset(bright_square, 3, settings)
    for seed in range(20):
        clip = dataset.clip(0, generator(seed))
        pixels = clip.frames_T3HW[:, 0] * 0.25 + 0.5
        for frame, mask in zip(pixels, clip.instances.masks_NTHW[0], strict=True):
            assert (frame[mask] > 0.55).float().mean() > 0.93
            assert (frame[~mask] < 0.55).float().mean() > 0.97


def test_pixels_from_outside_the_image_get_the_mean_colour(bright_square, settings):
    dataset = StillClipDataset(bright_square, 3, settings)
    frames = torch.cat([dataset.clip(0, generator(seed)).frames_T3HW for seed in range(5)])
    assert (frames.abs() < 0.01).any() and frames.min() > -1.9  # mean colour is 0, black would be -2


def test_one_frame_is_the_image_itself_and_its_place_varies(bright_square, settings):
    dataset = StillClipDataset(bright_square, 4, settings)
    original = StillClipDataset(bright_square, 1, settings).clip(0, generator()).frames_T3HW[0]
    places = set()
    for seed in range(12):
        frames = dataset.clip(0, generator(seed)).frames_T3HW
        equal = [t for t in range(4) if torch.equal(frames[t], original)]
        assert len(equal) == 1
        places.add(equal[0])
    assert len(places) > 2


@pytest.mark.parametrize(("most", "kept"), [(None, 30), (MAX_INSTANCES, 25)])
def test_only_a_limit_leaves_instances_out(bright_square, settings, most, kept):
    dataset = StillClipDataset(bright_square, 2, settings, max_instances=most)
    assert len(dataset.clip(0, generator()).instances.labels_N) == kept


def test_generated_stills_give_clips_of_their_instances(synthvis_dir, settings):
    annotations = split_annotations("synthvis", synthvis_dir, "stills")
    dataset = StillClipDataset(annotations, 2, settings)
    assert len(dataset) == 24
    for index in range(len(dataset)):
        clip = dataset.clip(index, generator(index))
        tracks = annotations.annotations.tracks_of[clip.video_id]
        expected = [annotations.labels[track.category_id] for track in tracks if not track.crowd]
        assert clip.instances.labels_N.tolist() == expected and clip.frame_indices == (0, 0)


def test_the_homography_takes_warped_corners_back():
    start, end = warp_corners(64, 96, generator(3))
    a, b, c, d, e, f, g, h = homography_of_corners(start, end)
    for (x, y), (u, v) in zip(start, end, strict=True):
        scale = g * u + h * v + 1
        assert np.allclose([(a * u + b * v + c) / scale, (d * u + e * v + f) / scale], [x, y])


def test_blur_spreads_along_its_direction_only():
    image = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    image[..., 4, 4] = 250
    blurred = motion_blur(image, 4.0, 0.0)
    assert blurred[0, 0, 4].tolist() == [0, 0, 50, 50, 50, 50, 50, 0, 0] and blurred[0, 0, :4].sum() == 0
    assert torch.equal(motion_blur(image, 1.9, 0.0), image)
