import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.data.datasets import VideoSplit, expected_categories
from mssts.ytvis.annotations import STILLS, VIDEOS, parse_annotations, read_annotations
from tests.ytvis.cases import set_in

NAMES = ["disc", "square", "triangle", "cross", "ring"]


def rle(height=4, width=6):
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[1:3, 2:4] = 1
    encoded = coco_mask.encode(mask)
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def content():
    video = {"id": 7, "height": 4, "width": 6, "length": 2, "file_names": ["v/0.jpg", "v/1.jpg"]}
    item = {"id": 1, "video_id": 7, "category_id": 2, "iscrowd": 0, "segmentations": [rle(), None]}
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)]
    return {"videos": [video], "categories": categories, "annotations": [item]}


def read(tmp_path, found, layout=VIDEOS):
    text = found if isinstance(found, str) else json.dumps(found)
    (tmp_path / "a.json").write_text(text)
    expected = expected_categories("synthvis")
    return read_annotations(tmp_path / "a.json", layout=layout, expected=expected, image_root=tmp_path)


POISON = {
    "annotations null": (set_in("annotations", None), "annotations: found None.*without public ground truth"),
    "no annotations": (lambda c: c.pop("annotations"), "missing annotations; expected the annotation file"),
    "empty list": (set_in("annotations", []), r"annotations: found \[\], expected a list with an entry"),
    "wrong name": (set_in("categories", 3, "name", "star"), "id 4 is 'star', expected 'cross'"),
    "missing category": (lambda c: c["categories"].pop(), "id 5 is missing; expected 'ring'"),
    "foreign category": (lambda c: c["categories"].append({"id": 9, "name": "x"}), "9 .'x'. does not belong"),
    "wrong category id": (set_in("annotations", 0, "category_id", 6), "category_id: found 6, expected one of"),
    "duplicate video": (lambda c: c["videos"].append(c["videos"][0]), r"videos\[1\]: id 7 occurs twice"),
    "duplicate annotation": (
        lambda c: c["annotations"].append(c["annotations"][0]),
        r"annotations\[1\]: id 1 occurs twice",
    ),
    "too few masks": (
        set_in("annotations", 0, "segmentations", [None]),
        "segmentations: found 1 frames, but video 7 has 2",
    ),
    "wrong size": (
        set_in("annotations", 0, "segmentations", 0, rle(6, 4)),
        r"segmentations\[0\]: size: found \[6, 4\], expected \[4, 6\]",
    ),
    "runs too long": (
        set_in("annotations", 0, "segmentations", 1, {"size": [4, 6], "counts": [20, 5]}),
        r"segmentations\[1\]: counts: the runs add up to 25 pixels, expected 24",
    ),
    "mask of another type": (set_in("annotations", 0, "segmentations", 1, 3), r"segmentations\[1\]: found int"),
    "short polygon": (set_in("annotations", 0, "segmentations", 0, [[1, 2, 3, 4]]), "three finite x, y pairs"),
    "no such video": (set_in("annotations", 0, "video_id", 8), "video_id: found 8, which is not an id in videos"),
    "climbing": (set_in("videos", 0, "file_names", 1, "v/../../x.jpg"), "'v/../../x.jpg' points outside of the image"),
    "absolute": (set_in("videos", 0, "file_names", 1, "/etc/x.jpg"), "'/etc/x.jpg' points outside of the image folder"),
    "length": (set_in("videos", 0, "length", 3), "length: found 3, but there are 2 file_names"),
    "height": (set_in("videos", 0, "height", 0), "height: found 0, expected an integer from 1 to"),
    "no file names": (lambda c: c["videos"][0].pop("file_names"), "missing file_names; needed to find the frames"),
}


@pytest.mark.parametrize("name", POISON)
def test_every_annotation_error_is_refused_with_its_file_and_reason(tmp_path, name):
    change, message = POISON[name]
    found = content()
    change(found)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, found)
    assert "a.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the file is empty"), ("{", "not valid JSON"), ("[]", "found list, expected an object")],
)
def test_a_file_that_is_no_annotation_file_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"b\.json: no such file"):
        read_annotations(tmp_path / "b.json")
    (tmp_path / "a.json").write_text(json.dumps(content()))
    with pytest.raises(InputError, match="frames/: no such folder"):
        read_annotations(tmp_path / "a.json", image_root=tmp_path / "frames")


def test_all_problems_are_listed_at_once(tmp_path):
    found = content()
    for name in ("wrong name", "climbing", "too few masks", "length"):
        POISON[name][0](found)
    with pytest.raises(InputError) as caught:
        read(tmp_path, found)
    assert len(str(caught.value).splitlines()) == 4


def test_labels_are_positions_of_the_sorted_ids(tmp_path):
    found = content()
    found["categories"].reverse()
    annotations = read(tmp_path, found)
    split = VideoSplit(annotations, tmp_path)
    assert split.categories == tuple((i + 1, name) for i, name in enumerate(NAMES))
    [track] = annotations.tracks_of[7]
    assert (track.category_id, split.labels[track.category_id]) == (2, 1)


def decode(segmentation):
    found = content()
    found["annotations"][0]["segmentations"] = [segmentation, None]
    return parse_annotations(found).tracks[0].masks.decode([0])[0]


def test_run_lengths_and_polygons_decode_to_the_same_mask():
    runs = {"size": [4, 6], "counts": [9, 2, 2, 2, 9]}
    polygon = [[2, 1, 4, 1, 4, 3, 2, 3]]
    expected = decode(rle())
    assert expected.sum() == 4 and expected[1:3, 2:4].all()
    assert (decode(runs) == expected).all() and (decode(polygon) == expected).all()
    assert not decode(None).any()


@pytest.mark.parametrize("counts", ["zzzz", "5", "52203zzz", "", "S"])
def test_compressed_runs_that_do_not_fill_the_frame_are_named(counts):
    with pytest.raises(InputError, match=r"annotations\[0\]: segmentations\[0\]: counts: "):
        decode({"size": [4, 6], "counts": counts})


def test_stills_are_read_as_videos_of_one_frame(tmp_path):
    found = content()
    image = {"id": 7, "height": 4, "width": 6, "file_name": "0.jpg"}
    item = {"id": 1, "image_id": 7, "category_id": 5, "iscrowd": 1, "segmentation": [[2, 1, 4, 1, 4, 3]]}
    single = item | {"id": 2, "iscrowd": 0}
    found = {"images": [image], "categories": found["categories"], "annotations": [item, single]}
    annotations = read(tmp_path, found, STILLS)
    assert annotations.videos[7].length == 1 and annotations.tracks[0].crowd
    item["segmentation"] = None
    item["image_id"] = 8
    with pytest.raises(InputError, match="image_id: found 8, which is not an id in images"):
        read(tmp_path, found, STILLS)
