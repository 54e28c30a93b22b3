"""`mssts show`: the right videos by rule, with ground truth and predictions in the same colours."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from mssts.core.errors import InputError
from mssts.data.datasets import split_annotations
from mssts.data.frames import frame_pixels
from mssts.data.video_files import read_video_frames
from mssts.inference.overlay import COLOURS
from mssts.study import show


@pytest.fixture(scope="module")
def split(smoke_data):
    return split_annotations("synthvis", smoke_data, "valid")


def submission(split, path, keep):
    """The ground truth of the videos that `keep` accepts as a submission; of the others nothing is found."""
    content = json.loads(split.annotations.path.read_text())
    entries = [
        {"video_id": a["video_id"], "category_id": a["category_id"], "score": 0.9, "segmentations": a["segmentations"]}
        for a in content["annotations"]
        if keep(a["video_id"])
    ]
    path.write_text(json.dumps(entries))
    return show.read_result(path, split.annotations)


def test_the_share_found_is_one_for_the_truth_and_zero_for_nothing(split, tmp_path):
    found = submission(split, tmp_path / "a.json", lambda key: key % 2).found
    assert found == {key: float(key % 2) for key in split.annotations.videos}


def test_each_rule_chooses_the_videos_it_names(split, tmp_path):
    ids = list(split.annotations.videos)
    good = submission(split, tmp_path / "good.json", lambda key: key != ids[3])
    other = submission(split, tmp_path / "other.json", lambda key: key not in ids[2:4])
    assert show.choose([good], "worst", 1) == [ids[3]]
    assert ids[3] not in show.choose([good], "best", len(ids) - 1)
    assert show.choose([good, other], "differ", 1) == [ids[2]]
    with pytest.raises(InputError, match="--differ: found 1 --predictions; expected 2"):
        show.choose([good], "differ", 1)


def test_strip_and_video_show_truth_and_prediction_of_an_object_in_one_colour(split, tmp_path):
    result = submission(split, tmp_path / "a.json", lambda key: True)
    key = next(iter(split.annotations.videos))
    video, tracks = split.annotations.videos[key], split.annotations.tracks_of[key]
    (line,) = show.show(split, [result], [key], tmp_path / "shown", 0.3)
    assert line.startswith(f"ground truth, video {key}, from {video.file_names[0]}; ") and "found 1.00" in line
    frames, _ = read_video_frames([tmp_path / f"shown/01_video{key}.mp4"])
    assert frames.shape == (video.length, video.height, 2 * video.width + show.GAP, 3)
    left, right = frames[:, :, : video.width].astype(int), frames[:, :, -video.width :].astype(int)
    assert np.abs(left - right).mean() < 12  # but for the labels
    mask = tracks[0].masks.decode([0])[0]
    plain = frame_pixels(split, video, 0).astype(int)
    assert (np.abs(left[0][mask] - COLOURS[0]).mean() < np.abs(plain[mask] - COLOURS[0]).mean()) or not mask.any()
    with Image.open(tmp_path / f"shown/01_video{key}.png") as strip:
        assert strip.height > 2 * show.HEADING


def test_an_unknown_video_or_a_folder_in_use_is_refused(split, tmp_path):
    with pytest.raises(InputError, match="--video: found 999"):
        show.show(split, [], [999], tmp_path / "new", 0.3)
    (tmp_path / "a file").write_text("")
    with pytest.raises(InputError, match="exists already"):
        show.show(split, [], [], tmp_path, 0.3)
