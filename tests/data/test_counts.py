"""The clips of a stage are counted without its data: as many as a training will find, or a published number."""

from __future__ import annotations

import pytest

from mssts.config import PRETRAIN, TRAIN, resolve
from mssts.data.counts import COCO_IMAGES, Clips, clips_of
from mssts.data.prepare import prepare, prepare_coco
from mssts.data.training import pretraining_clips, training_clips
from tests.data import fake_youtube_vis as fake
from tests.data.test_training import with_data, write_coco


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_coco(tmp_path_factory.mktemp("prepared"))
    prepare("ytvis2019", fake.write(root / "ytvis2019", "ytvis2019"))
    prepare_coco(root / "coco")
    return root


@pytest.mark.parametrize("protocol", ["local", "official"])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("coco_map", ["corrected", "seqformer"])
def test_the_fingerprints_hold_the_number_of_clips_that_a_training_finds(data, protocol, joint, coco_map):
    config = with_data(resolve("smoke"), protocol=protocol, joint=joint, coco_map=coco_map)
    found = training_clips("ytvis2019", data / "ytvis2019", config)
    assert clips_of(TRAIN, "ytvis2019", data / "ytvis2019", config) == Clips(len(found), assumed=False)


def test_the_pretraining_on_coco_counts_images_with_an_object(data):
    found = pretraining_clips("coco", data / "coco", resolve("smoke"))
    assert clips_of(PRETRAIN, "coco", data / "coco", resolve("smoke")) == Clips(len(found), assumed=False)


def test_generated_data_is_counted_once_it_is_there(synthvis_dir, tmp_path):
    config = resolve("smoke")
    for stage, clips in ((PRETRAIN, pretraining_clips), (TRAIN, training_clips)):
        found = Clips(len(clips("synthvis", synthvis_dir, config)), assumed=False)
        assert clips_of(stage, "synthvis", synthvis_dir, config) == found
        assert clips_of(stage, "synthvis", tmp_path, config) is None


def test_published_numbers_are_assumed_before_the_data_is_prepared(tmp_path):
    config = resolve("paper-2019")
    assert config.data.joint and config.data.protocol == "local"
    videos = with_data(config, joint=False)
    assert clips_of(PRETRAIN, "coco", tmp_path / "coco", config) == Clips(COCO_IMAGES, assumed=True)
    local = clips_of(TRAIN, "ytvis2019", tmp_path / "ytvis2019", videos)
    assert local == Clips(round(61_800 * (2238 - 302) / 2238), assumed=True)
    both = clips_of(TRAIN, "ytvis2019", tmp_path / "ytvis2019", config)
    assert both == Clips(local.number + COCO_IMAGES, assumed=True)
    assert clips_of(TRAIN, "ovis", tmp_path / "ovis", videos) is None
