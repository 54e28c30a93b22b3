"""What a stage trains on: a user's videos by protocol, COCO's images with the right categories, both as one set."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.data.categories import coco_map
from mssts.data.coco import read_coco
from mssts.data.datasets import entry
from mssts.data.prepare import prepare
from mssts.data.training import JointClips, pretraining_clips, training_clips
from tests.data import fake_youtube_vis as fake

COCO_NAMES = {1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 7: "train", 8: "truck", 9: "boat"}
COCO_NAMES |= {16: "bird", 17: "cat", 18: "dog", 19: "horse", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra"}
COCO_NAMES |= {25: "giraffe", 34: "frisbee", 35: "skis", 36: "snowboard", 41: "skateboard", 42: "surfboard"}
COCO_NAMES |= {43: "tennis racket", 74: "mouse", 90: "toothbrush"}


def write_coco(root, categories=COCO_NAMES):
    """One image for each category, with one object of it; the last is a crowd."""
    images = [{"id": n, "height": 48, "width": 64, "file_name": f"{n:012d}.jpg"} for n in categories]
    polygon = [[10.0, 8.0, 40.0, 8.0, 40.0, 30.0, 10.0, 30.0]]
    items = [
        {"id": n, "image_id": n, "category_id": n, "iscrowd": int(n == 43), "segmentation": polygon} for n in categories
    ]
    content = {
        "images": images,
        "annotations": items,
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }
    (root / "coco/annotations").mkdir(parents=True)
    (root / "coco/train2017").mkdir()
    (root / "coco/annotations/instances_train2017.json").write_text(json.dumps(content))
    for image in images:
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(root / "coco/train2017" / image["file_name"])
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    fake.write(root / "ytvis2019", "ytvis2019")
    prepare("ytvis2019", root / "ytvis2019")
    return write_coco(root)


@pytest.fixture
def config():
    return resolve("smoke")


def with_data(config, **changes):
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def test_protocol_decides_which_videos_are_trained_on(data, config):
    local = training_clips("ytvis2019", data / "ytvis2019", config)
    official = training_clips("ytvis2019", data / "ytvis2019", with_data(config, protocol="official"))
    assert (len(local), len(official)) == (10 * fake.FRAMES, 12 * fake.FRAMES)
    held_out = set(json.loads((data / "ytvis2019/local_split.json").read_text())["valid"])
    assert not held_out & {video.file_names[0].split("/")[0] for video in local.split.videos}


def test_joint_set_is_videos_then_images_each_drawn_once_an_epoch(data, config):
    joint = training_clips("ytvis2019", data / "ytvis2019", with_data(config, joint=True))
    assert isinstance(joint, JointClips)
    videos, stills = joint.parts
    assert len(joint) == len(videos) + len(stills) == 10 * fake.FRAMES + 20
    assert stills.max_instances == 25
    assert joint.categories == entry("ytvis2019").categories
    rng = np.random.default_rng(0)
    assert joint.clip(len(videos) - 1, rng).video_id == videos.split.videos[-1].id
    clip = joint.clip(len(videos), rng)
    assert clip.video_id == 1 and clip.frames_T3HW.shape[0] == config.train.frames
    assert clip.instances.labels_N.tolist() == [0]
    with pytest.raises(IndexError):
        joint.clip(len(joint), rng)


@pytest.mark.parametrize(("which", "mouse"), [("corrected", None), ("seqformer", "fox")])
def test_the_computer_mouse_of_coco_becomes_a_fox_only_with_the_seqformer_map(data, which, mouse):
    stills = read_coco(data / "coco", "ytvis2019", which)
    names = dict(stills.categories)
    found = {track.id: names[track.category_id] for track in stills.annotations.tracks}
    assert found.get(74) == mouse
    assert found[2] == found[4] == "motorbike"
    assert 43 not in found and 90 not in found  # only a crowd; no category of the videos


@pytest.mark.parametrize("dataset", ["ytvis2019", "ytvis2021", "ytvis2022"])
def test_the_corrected_map_merges_near_kinds_and_gives_fox_and_mouse_no_source(dataset):
    names = dict(entry(dataset).categories)
    pairs = Counter(names[number] for number in coco_map(dataset).values())
    assert pairs["snowboard"] == 2 and pairs["motorbike"] == 2
    assert "fox" not in pairs and "mouse" not in pairs


def test_pretraining_takes_all_categories_of_coco_and_every_image_with_an_object(data, config):
    clips = pretraining_clips("coco", data / "coco", config)
    assert len(clips.categories) == len(COCO_NAMES) and clips.categories[-1] == (90, "toothbrush")
    assert {video.id for video in clips.split.videos} == set(COCO_NAMES) - {43}  # which shows a crowd only
    assert clips.max_instances is None


def test_pretraining_has_image_sizes_of_its_own(data, config):
    sizes = {"short_sides": [40], "max_long_side": 200}
    own = config.model_copy(update={"pretrain": config.pretrain.model_copy(update=sizes)})
    for clip_config, size in ((config, (64, 85)), (own, (40, 53))):  # images of 48 x 64 px
        clips = pretraining_clips("coco", data / "coco", clip_config)
        assert clips.clip(0, np.random.default_rng(0)).frames_T3HW.shape[-2:] == size
    paper = resolve("paper-2019").pretrain
    assert (paper.short_sides[0], paper.short_sides[-1], paper.max_long_side) == (480, 768, 1333)  # [code]


def test_annotations_with_other_categories_than_coco_are_refused(tmp_path):
    write_coco(tmp_path, COCO_NAMES | {18: "cat", 17: "dog"})
    with pytest.raises(InputError, match="id 17 is 'dog', expected 'cat'"):
        read_coco(tmp_path / "coco", "ytvis2019")
    with pytest.raises(InputError, match="no mapping from COCO"):
        read_coco(tmp_path / "coco", "ovis")


def test_missing_coco_files_are_refused_with_where_to_get_them(tmp_path):
    with pytest.raises(InputError, match=r"(?s)instances_train2017\.json.*train2017/.*cocodataset\.org"):
        read_coco(tmp_path / "coco", "ytvis2019")


def test_clips_of_every_source_have_a_foreign_foreground_where_the_loss_compares_with_it(data):
    config = with_data(resolve("smoke", "fgbg"), joint=True)
    joint = training_clips("ytvis2019", data / "ytvis2019", config)
    pretraining = pretraining_clips("coco", data / "coco", config)
    for clips, index in ((joint, 0), (joint, len(joint) - 1), (pretraining, 0)):
        clip = clips.clip(index, np.random.default_rng(0))
        assert clip.foreign_foreground_THW.shape == clip.frames_T3HW[:, 0].shape and clip.foreign_foreground_THW.any()
    baseline = training_clips("ytvis2019", data / "ytvis2019", resolve("smoke"))
    assert baseline.clip(0, np.random.default_rng(0)).foreign_foreground_THW is None
