import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torch.utils.data._utils.pin_memory import pin_memory

from mssts.core.errors import InputError
from mssts.data.augmentation import normalise, photometric_distortion, resized_size
from mssts.data.clips import ClipDataset, ClipLoader, boxes_of_masks, collate, sample_frames
from mssts.data.datasets import split_annotations
from mssts.ytvis.track_list import TrackList


def generator(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 10**6), st.data())
def test_frames_are_sorted_in_range_and_hold_the_reference_and_its_neighbours(length, frames, seed, data):
    reference = data.draw(st.integers(0, length - 1))
    found = sample_frames(generator(seed), length, reference, frames)
    assert len(found) == frames and found == sorted(found) and reference in found
    assert found[0] >= 0 and found[-1] < length
    near = [t for t in found if 0 < abs(t - reference) <= 3]
    assert frames == 1 or length == 1 or near
    if frames == 2 and length > 1:
        assert found[0] != found[1]
    if frames >= 3 and 3 < reference < length - 4:
        assert any(t < reference for t in near) and any(t > reference for t in near)


@given(st.integers(0, 10**6))
def test_further_frames_come_from_outside_the_neighbours_span(seed):
    found = sample_frames(generator(seed), 30, 15, 5)
    position = found.index(15)
    low, high = found[position - 1], found[position + 1]
    assert all(t <= low or t >= high for t in found if t != 15)


def test_frames_outside_are_all_taken_where_they_just_suffice():
    for seed in range(60):
        before, after = generator(seed).integers(1, 4, 2)
        low, high = max(0, 2 - before), min(5, 2 + after)
        outside = [*range(low), *range(high, 6)]
        if len(outside) == 2:
            assert sample_frames(generator(seed), 6, 2, 5) == sorted([low, 2, high, *outside])


def test_brightness_is_a_factor():
    """Black stays black, as it would not if something were added."""
    black = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    assert not any(photometric_distortion(black, generator(seed)).any() for seed in range(20))


@pytest.mark.parametrize(
    ("size", "short_side", "longest", "expected"),
    [
        ((720, 1280), 360, None, (360, 640)),
        ((1280, 722), 360, None, (638, 360)),  # 638.2: rounded down
        ((480, 854), 512, 768, (432, 768)),  # 431.66, then 768.6
        ((500, 400), 288, 768, (360, 288)),
    ],
)
def test_sizes_are_those_of_the_public_code(size, short_side, longest, expected):
    assert resized_size(*size, short_side, longest) == expected


def test_all_of_a_short_video_can_be_drawn_and_longer_clips_repeat():
    assert len(set(sample_frames(generator(), 2, 1, 6))) == 2
    drawn = [set(sample_frames(generator(seed), 5, 2, 5)) for seed in range(200)]
    assert set.union(*drawn) == {0, 1, 2, 3, 4}


def annotated(dataset, clip):
    """Masks of the clip's frames straight from the annotation file, without those that show nothing."""
    content = json.loads(dataset.split.annotations.path.read_text())
    tracks = [t for t in content["annotations"] if t["video_id"] == clip.video_id and not t["iscrowd"]]
    frames = [[t["segmentations"][i] for i in clip.frame_indices] for t in tracks]
    size = next((v["height"], v["width"]) for v in content["videos"] if v["id"] == clip.video_id)
    masks = [np.stack([coco_mask.decode(one) if one else np.zeros(size) for one in shown]) > 0 for shown in frames]
    kept = [n for n, mask in enumerate(masks) if mask.any()]
    return torch.from_numpy(np.stack([masks[n] for n in kept])), [tracks[n]["category_id"] - 1 for n in kept]


def test_without_augmentation_a_clip_is_what_the_files_hold(train):
    for index in range(len(train)):
        clip = train.clip(index, generator(index))
        masks, labels = annotated(train, clip)
        if masks.shape[-2:] != clip.instances.masks_NTHW.shape[-2:]:
            continue  # resized to the training short side
        assert torch.equal(clip.instances.masks_NTHW, masks) and clip.instances.labels_N.tolist() == labels
        assert clip.frames_T3HW.dtype == torch.float32 and -2 <= clip.frames_T3HW.min() < clip.frames_T3HW.max() <= 2


def test_every_reference_frame_is_in_its_clip_or_the_clip_was_drawn_again(train):
    references = [(v.id, t) for v in train.split.videos for t in range(v.length)]
    assert len(train) == len(references)
    hits = 0
    for index, (video_id, reference) in enumerate(references):
        clip = train.clip(index, generator(index))
        hits += clip.video_id == video_id and reference in clip.frame_indices
    assert hits >= 0.95 * len(references)


def test_a_flip_mirrors_frames_masks_and_boxes(train, settings):
    flipped = ClipDataset(train.split, 4, settings.model_copy(update={"flip": 1.0}))
    for index in range(0, len(train), 5):
        plain, mirror = train.clip(index, generator(index)), flipped.clip(index, generator(index))
        assert plain.frame_indices == mirror.frame_indices
        assert torch.equal(plain.instances.masks_NTHW.flip(-1), mirror.instances.masks_NTHW)
        if plain.instances.masks_NTHW.shape[-2:] == (64, 96):
            assert torch.equal(plain.frames_T3HW.flip(-1), mirror.frames_T3HW)
        expected = plain.instances.boxes_NT4.clone()
        present = expected[..., 2] > 1e-5
        expected[..., 0][present] = 1 - expected[..., 0][present]
        torch.testing.assert_close(mirror.instances.boxes_NT4, expected)


def test_boxes_are_the_outer_edges_of_the_masks():
    masks = torch.zeros(2, 2, 10, 20, dtype=torch.bool)
    masks[0, 0, 2:4, 5:15] = True
    masks[1, 1, 9, 19] = True
    boxes = boxes_of_masks(masks)
    torch.testing.assert_close(boxes[0, 0], torch.tensor([0.5, 0.3, 0.5, 0.2]))
    torch.testing.assert_close(boxes[1, 1], torch.tensor([0.975, 0.95, 0.05, 0.1]))
    assert torch.equal(boxes[0, 1], torch.full((4,), 1e-6)) and torch.equal(boxes[1, 0], torch.full((4,), 1e-6))


def test_full_augmentation_keeps_frames_masks_and_boxes_together(train, settings):
    update = {"crop": True, "photometric": True, "flip": 0.5, "short_sides": [288, 320], "max_long_side": 400}
    dataset = ClipDataset(train.split, 3, settings.model_copy(update=update))
    shapes = set()
    for seed in range(6):
        clip = dataset.clip(seed, generator(seed))
        assert clip.frames_T3HW.shape[-2:] == clip.instances.masks_NTHW.shape[-2:]
        assert clip.instances.masks_NTHW.flatten(1).any(1).all() and max(clip.frames_T3HW.shape[-2:]) <= 400
        assert torch.equal(boxes_of_masks(clip.instances.masks_NTHW), clip.instances.boxes_NT4)
        shapes.add(tuple(clip.frames_T3HW.shape[-2:]))
    assert len(shapes) > 2


def test_colours_are_distorted_after_flip_crop_and_resizing(train, settings):
    update = {"crop": True, "flip": 0.5, "short_sides": [40]}
    plain, distorted = (
        ClipDataset(train.split, 3, settings.model_copy(update=update | {"photometric": on})) for on in (False, True)
    )
    for seed in range(4):
        rng = generator(seed)
        frames = (255 * (plain.clip(seed, rng).frames_T3HW * 0.25 + 0.5)).round().to(torch.uint8)
        expected = normalise(photometric_distortion(frames, rng), settings)
        found = distorted.clip(seed, generator(seed)).frames_T3HW
        assert torch.equal(found, expected) and not torch.equal(found, normalise(frames, settings))


def test_nothing_is_drawn_from_global_state(train, settings):
    dataset = ClipDataset(train.split, 3, settings.model_copy(update={"photometric": True, "flip": 0.5}))
    torch.manual_seed(1)
    first, state = dataset.clip(3, generator(5)), torch.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(3)
    assert torch.equal(dataset.clip(3, generator(5)).frames_T3HW, first.frames_T3HW)
    torch.manual_seed(1)
    next(iter(ClipLoader(dataset, 2, 4, 1, 32)))
    assert torch.equal(torch.get_rng_state(), state)


def test_crowds_are_dropped_and_a_clip_without_an_instance_is_drawn_again(train, settings):
    annotations = train.split.annotations
    kept = train.split.videos[0].id

    def clips(tracks):
        changed = dataclasses.replace(annotations, tracks=TrackList.of(tracks))
        return ClipDataset(dataclasses.replace(train.split, annotations=changed), 3, settings)

    crowds = [track.crowd or track.video_id != kept for track in annotations.tracks]
    tracks = [dataclasses.replace(t, crowd=crowd) for t, crowd in zip(annotations.tracks, crowds, strict=True)]
    dataset = clips(tracks)
    assert {dataset.clip(index, generator(index)).video_id for index in range(len(dataset))} == {kept}
    with pytest.raises(InputError, match=r"train\.json: 100 consecutive clips contain no instance"):
        clips(track for track in tracks if track.video_id != kept).clip(0, generator())


@pytest.fixture
def with_foreign(train, settings):
    """The clips of `train`, each with the foreground of another video."""
    return ClipDataset(train.split, 4, settings, with_foreign_foreground=True)


def test_a_foreign_foreground_is_the_union_of_true_masks_in_frames_of_another_video(train, with_foreign):
    unions = {
        video.id: np.stack(
            [
                track.masks.decode(range(video.length))
                for track in train.split.annotations.tracks_of[video.id]
                if not track.crowd
            ]
        ).any(0)
        for video in train.split.videos
    }
    sources = set()
    for index in range(0, len(train), 3):
        clip = with_foreign.clip(index, generator(index))
        foreign = clip.foreign_foreground_THW
        assert foreign.dtype == torch.bool and foreign.shape == clip.frames_T3HW[:, 0].shape and foreign.any()
        same_size = {number: frames for number, frames in unions.items() if frames.shape[1:] == foreign.shape[1:]}
        found = [
            number
            for number, frames in same_size.items()
            if all((frames == mask).all((1, 2)).any() for mask in foreign.numpy())
        ]
        assert clip.video_id not in found
        sources.update(found)
    assert len(sources) > 1


def test_drawing_foreign_foregrounds_changes_no_other_draw(train, with_foreign):
    plain, foreign = (next(iter(ClipLoader(clips, 4, 1, 3, 32))) for clips in (train, with_foreign))
    assert same(dataclasses.replace(foreign, foreign_foregrounds_THW=()), plain)
    assert len(foreign.foreign_foregrounds_THW) == 4 and not plain.foreign_foregrounds_THW
    after = [rng.random() for clips in (train, with_foreign) for rng in [generator(1)] if clips.clip(0, rng)]
    assert after[0] == after[1]


def test_foreign_foregrounds_are_augmented_like_the_masks_of_clips(with_foreign, settings):
    update = {"crop": True, "flip": 0.5, "short_sides": [288, 320], "max_long_side": 400}
    dataset = ClipDataset(with_foreign.split, 3, settings.model_copy(update=update), with_foreign_foreground=True)
    for seed in range(4):
        clip = dataset.clip(seed, generator(seed))
        assert clip.foreign_foreground_THW.shape == clip.frames_T3HW[:, 0].shape


def test_foreign_foregrounds_need_objects_in_a_second_video(train, settings):
    annotations, video = train.split.annotations, train.split.videos[0]

    def clips(videos, tracks, foreign=True):
        changed = dataclasses.replace(annotations, videos=videos, tracks=TrackList.of(tracks))
        return ClipDataset(dataclasses.replace(train.split, annotations=changed), 3, settings, foreign)

    own = [track for track in annotations.tracks if track.video_id == video.id]
    assert clips({video.id: video}, own, foreign=False).clip(0, generator()).video_id == video.id
    with pytest.raises(InputError, match=rf"train\.json: .* videos other than {video.id} \(0 frames"):
        clips({video.id: video}, own).clip(0, generator())
    crowds = [dataclasses.replace(track, crowd=True) for track in annotations.tracks if track.video_id != video.id]
    with pytest.raises(InputError, match="100 draws"):
        clips(annotations.videos, own + crowds).clip(0, generator())


def same(a, b):
    return (
        torch.equal(a.frames_BT3HW, b.frames_BT3HW)
        and torch.equal(a.padding_mask_BTHW, b.padding_mask_BTHW)
        and a.video_ids == b.video_ids
        and len(a.foreign_foregrounds_THW) == len(b.foreign_foregrounds_THW)
        and all(map(torch.equal, a.foreign_foregrounds_THW, b.foreign_foregrounds_THW))
        and all(
            torch.equal(x.masks_NTHW, y.masks_NTHW) and torch.equal(x.labels_N, y.labels_N)
            for x, y in zip(a.instances, b.instances, strict=True)
        )
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_resumed_loader_gives_the_batches_of_an_unbroken_one(with_foreign, workers):
    whole = list(ClipLoader(with_foreign, 2, 12, 9, 32))
    rest = list(ClipLoader(with_foreign, 2, 12, 9, 32, start_step=5, workers=workers))
    assert len(whole) == 12 and len(rest) == 7
    assert all(same(a, b) for a, b in zip(whole[5:], rest, strict=True))
    assert not same(whole[0], next(iter(ClipLoader(with_foreign, 2, 1, 10, 32))))


def test_an_epoch_shows_every_reference_frame_once(train, monkeypatch):
    seen = []
    clip = train.clip
    monkeypatch.setattr(train, "clip", lambda index, rng: (seen.append(index), clip(index, rng))[1])
    list(ClipLoader(train, 1, 2 * len(train), 4, 32))
    first, second = seen[: len(train)], seen[len(train) :]
    assert sorted(first) == sorted(second) == list(range(len(train))) and first != second


def test_a_batch_is_padded_at_right_and_bottom(train):
    clips = [train.clip(index, generator(index)) for index in range(len(train))]
    wide = next(c for c in clips if c.frames_T3HW.shape[-2:] == (64, 96))
    tall = next(c for c in clips if c.frames_T3HW.shape[-2:] == (96, 64))
    batch = collate([wide, tall], 32)
    assert batch.frames_BT3HW.shape == (2, 4, 3, 96, 96) and batch.sizes == ((64, 96), (96, 64))
    assert torch.equal(batch.frames_BT3HW[0, :, :, :64], wide.frames_T3HW)
    assert not batch.frames_BT3HW[0, :, :, 64:].any() and batch.padding_mask_BTHW[0, :, 64:].all()
    assert not batch.padding_mask_BTHW[1, ..., :64].any() and batch.padding_mask_BTHW[1, ..., 64:].all()
    assert batch.padding is batch.padding_mask_BTHW
    assert collate([wide, wide], 32).padding is None and collate([wide], 128).padding is not None


def test_the_loader_pins_every_tensor_of_a_batch_and_keeps_the_rest(with_foreign, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: pinned.append(tensor.clone()) or pinned[-1])
    batch = next(iter(ClipLoader(with_foreign, 2, 1, 3, 32)))
    copy = pin_memory(batch)  # what DataLoader does with a batch where there is a GPU
    tensors = [copy.frames_BT3HW, copy.padding_mask_BTHW, *copy.foreign_foregrounds_THW]
    tensors += [value for instances in copy.instances for value in vars(instances).values()]
    assert {id(tensor) for tensor in tensors} == {id(tensor) for tensor in pinned} and len(tensors) == 2 + 2 + 2 * 3
    assert (copy.sizes, copy.video_ids) == (batch.sizes, batch.video_ids)
    assert torch.equal(copy.frames_BT3HW, batch.frames_BT3HW)


@pytest.mark.parametrize("poison", ["truncated", "missing", "no image", "other size"])
def test_an_unreadable_image_is_named_with_file_video_and_frame(train, settings, tmp_path, poison):
    root = shutil.copytree(train.split.annotations.path.parent / "train", tmp_path / "train")
    shutil.copy(train.split.annotations.path, tmp_path / "train.json")
    image = root / "JPEGImages" / "00000" / "00001.jpg"
    if poison == "truncated":
        image.write_bytes(image.read_bytes()[:700])
    elif poison == "no image":
        image.write_bytes(b"text")
    elif poison == "other size":
        shutil.copy(next((root / "JPEGImages" / "00003").iterdir()), image)
    else:
        image.unlink()
    split = split_annotations("synthvis", tmp_path, "train")
    with pytest.raises(InputError, match=r"video 1, frame 1 \(.*00000/00001.jpg\)"):
        for seed in range(20):
            ClipDataset(split, 4, settings).clip(0, generator(seed))
