"""A user's dataset: found in the layouts people have, split the same everywhere, refused with every reason at once."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from mssts.config import resolve
from mssts.core.errors import InputError
from mssts.core.files import read_record
from mssts.data.datasets import entry, split_annotations
from mssts.data.fingerprints import read_fingerprint, verify_annotations
from mssts.data.frames import read_frame
from mssts.data.prepare import prepare, prepare_coco
from mssts.data.synthvis import generate as synthvis
from mssts.evaluation.evaluate import evaluate
from mssts.ytvis.annotations import Annotations
from mssts.ytvis.masks import read_track
from mssts.ytvis.splits import local_split
from mssts.ytvis.track_list import TrackList
from mssts.ytvis.tracks import Track, Video
from tests.data import fake_youtube_vis as fake
from tests.data.test_training import COCO_NAMES, write_coco

LAYOUTS = [
    ("train.json", "train/JPEGImages", "valid.json", "valid/JPEGImages"),
    ("instances_train_sub.json", "train/JPEGImages", "instances_val_sub.json", "val/JPEGImages"),
    (
        "annotations/instances_train_sub.json",
        "train/JPEGImages",
        "annotations/instances_val_sub.json",
        "val/JPEGImages",
    ),
    ("train/instances.json", "train/JPEGImages", "valid/instances.json", "valid/JPEGImages"),
    ("annotations_train.json", "train", "annotations_valid.json", "valid"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_known_layouts_give_the_same_split(tmp_path, layout):
    files = {"train": layout[:2], "valid": layout[2:]}
    record = prepare("ytvis2019", fake.write(tmp_path, "ytvis2019", files))
    assert record["digest"] == "5e83a53a0ddc1ff2f223c0a1a030dadfc34ecad3e922379f893472b6c2734cb9"
    local = split_annotations("ytvis2019", tmp_path, "local_valid")
    assert sorted(video.file_names[0].split("/")[0] for video in local.videos) == record["valid"]
    assert json.loads((tmp_path / "fingerprint.json").read_text())["splits"] == {
        "train": {"videos": 12, "instances": 12, "frames": 36},
        "valid": {"videos": 2, "instances": 0, "frames": 6},
        "local_train": {"videos": 10, "instances": 10, "frames": 30},
        "local_valid": {"videos": 2, "instances": 2, "frames": 6},
    }


def numbered(videos: int, categories) -> Annotations:
    """Annotations of videos v0.. of one object each; categories: number of a video -> category id."""
    records = {n: Video(n, 4, 4, 1, (f"v{n}/0.jpg",)) for n in range(videos)}
    masks = read_track([None], 4, 4)
    tracks = TrackList.of(Track(n + 1, n, categories(n), False, 0.0, None, masks) for n in range(videos))
    names = dict(entry("ytvis2019").categories)
    return Annotations(Path("train.json"), records, names, tracks, (), tuple(range(videos)))


def test_as_many_videos_are_held_out_as_the_official_validation_split_has():
    assert len(local_split(numbered(2238, lambda n: n % 40 + 1), entry("ytvis2019").local_share)["valid"]) == 302
    assert len(local_split(numbered(2985, lambda n: n % 40 + 1), entry("ytvis2021").local_share)["valid"]) == 421


def test_rare_categories_are_on_both_sides_and_exceptions_are_listed():
    rare = {**dict.fromkeys(range(4), 7), **dict.fromkeys(range(4, 7), 8), 7: 9}
    annotations = numbered(200, lambda n: rare.get(n, 1))
    record = local_split(annotations, 0.1)
    assert len(record["valid"]) == 20 and not set(record["valid"]) & set(record["train"])
    counts = Counter(rare.get(int(name[1:]), 1) for name in record["valid"])
    assert counts[7] == 2
    names = annotations.categories
    assert {names[8], names[9]} < set(record["exceptions"])
    assert names[1] not in record["exceptions"] and names[7] not in record["exceptions"]


def test_the_split_depends_on_names_and_not_on_ids_or_order():
    plain = local_split(numbered(50, lambda n: n % 5 + 1), 0.2)
    turned = numbered(50, lambda n: n % 5 + 1)
    turned = dataclasses.replace(turned, videos=dict(reversed(turned.videos.items())))
    assert local_split(turned, 0.2) == plain


def test_the_fingerprint_sees_annotations_and_frames(tmp_path):
    fake.write(tmp_path, "ytvis2021")

    def fingerprint():
        prepare("ytvis2021", tmp_path)
        return json.loads((tmp_path / "fingerprint.json").read_text())["fingerprint"]

    first = fingerprint()
    assert fingerprint() == first
    frame = tmp_path / "train/JPEGImages/train0001/00005.jpg"
    frame.write_bytes(frame.read_bytes() + b"0")
    second = fingerprint()
    (tmp_path / "train.json").write_text((tmp_path / "train.json").read_text() + "\n")
    assert len({first, second, fingerprint()}) == 3


def test_all_errors_of_both_splits_are_listed_at_once(tmp_path):
    fake.write(tmp_path, "ytvis2021")
    path = tmp_path / "train.json"
    content = json.loads(path.read_text())
    content["categories"] = [{"id": number, "name": name} for number, name in entry("ytvis2019").categories]
    content["videos"][1]["id"] = 1
    content["videos"][4]["file_names"][0] = "../../etc/passwd"
    content["annotations"][2]["segmentations"] = content["annotations"][2]["segmentations"][:2]
    content["annotations"][3]["segmentations"][1] = fake.rle((1, 1, 4, 4), 96, 64)
    content["annotations"][7]["segmentations"][2]["counts"] += "5"
    path.write_text(json.dumps(content))
    (tmp_path / "train/JPEGImages/train0006/00010.jpg").unlink()
    (tmp_path / "valid/JPEGImages/valid0001/00000.jpg").unlink()
    with pytest.raises(InputError) as caught:
        prepare("ytvis2021", tmp_path)
    message = str(caught.value)
    for said in (
        "categories: id 1 is 'person', expected 'airplane'",
        "these are the categories of ytvis2019",
        "videos[1]: id 1 occurs twice",
        "points outside of the image folder",
        "annotations[2]: segmentations: found 2 frames, but video 3 has 3",
        "annotations[3]: segmentations[1]: size: found [96, 64], expected [64, 96]",
        "annotations[7]: segmentations[2]: counts: the runs add up to",
        "train0006/00010.jpg): no such file",
        "valid0001/00000.jpg): no such file",
    ):
        assert said in message
    assert not (tmp_path / "fingerprint.json").exists()


def test_the_fingerprint_of_coco_sees_annotations_and_images(tmp_path):
    directory = write_coco(tmp_path) / "coco"
    first = prepare_coco(directory)
    images = first["splits"]["stills"].pop("images_with_objects")
    assert first["splits"] == {"stills": {"videos": 25, "instances": 25, "frames": 25}}
    assert images["coco"] == 24 and images["ytvis2019 corrected"] == 20 and images["ytvis2019 seqformer"] == 20
    first["splits"]["stills"]["images_with_objects"] = images
    assert prepare_coco(directory) == first == read_record(directory / "fingerprint.json")
    image = directory / "train2017/000000000018.jpg"
    image.write_bytes(image.read_bytes() + b"0")
    second = prepare_coco(directory)["fingerprint"]
    annotations = directory / "annotations/instances_train2017.json"
    annotations.write_text(annotations.read_text() + "\n")
    assert len({first["fingerprint"], second, prepare_coco(directory)["fingerprint"]}) == 3


def test_all_errors_of_coco_are_listed_at_once(tmp_path):
    directory = write_coco(tmp_path) / "coco"
    path = directory / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][3]["file_name"] = "../../secret.jpg"
    content["annotations"][5]["segmentation"] = [[1.0, 2.0]]
    path.write_text(json.dumps(content))
    (directory / "train2017/000000000018.jpg").unlink()
    with pytest.raises(InputError) as caught:
        prepare_coco(directory)
    for said in ("points outside of the image folder", "polygon", "000000000018.jpg): no such file"):
        assert said in str(caught.value)
    assert not (directory / "fingerprint.json").exists()


def test_other_categories_than_cocos_are_found_before_training(tmp_path):
    with pytest.raises(InputError, match="id 17 is 'dog', expected 'cat'"):
        prepare_coco(write_coco(tmp_path, COCO_NAMES | {18: "cat", 17: "dog"}) / "coco")


def test_data_that_is_not_prepared_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"fingerprint\.json: no such file\. Run `mssts prepare`"):
        read_fingerprint(tmp_path)


def test_training_annotations_that_are_null_are_explained(tmp_path):
    fake.write(tmp_path, "ytvis2019")
    content = json.loads((tmp_path / "train.json").read_text())
    content["videos"][1]["id"] = 1
    (tmp_path / "train.json").write_text(json.dumps(content | {"annotations": None}))
    with pytest.raises(
        InputError,
        match=r"id 1 occurs twice.*\n.*annotations: found None, expected a list.*cannot be evaluated or trained on",
    ):
        prepare("ytvis2019", tmp_path)


def test_missing_parts_are_all_named_with_where_to_get_them(tmp_path):
    with pytest.raises(InputError) as caught:
        prepare("ytvis2019", tmp_path)
    message = str(caught.value)
    assert "train.json" in message and "valid.json" in message and "youtube-vos.org" in message
    assert "instances_train_sub.json" in message
    fake.write(tmp_path, "ytvis2019")
    with pytest.raises(InputError, match="mssts prepare"):
        entry("ytvis2019").files(tmp_path, "local_train")


def only_in(*videos):
    """Objects in these videos only."""
    return lambda content: content.update(annotations=[content["annotations"][n - 1] for n in videos])


def crowds_but_in(*videos):
    """Nothing but crowds in the other videos."""
    return lambda content: [one.update(iscrowd=int(one["video_id"] not in videos)) for one in content["annotations"]]


def first_videos(count):
    def change(content):
        content["videos"] = content["videos"][:count]
        content["annotations"] = content["annotations"][:count]

    return change


def in_one_folder(content):
    for video in content["videos"][2:4]:
        video["file_names"] = [f"train0002/{name[-9:]}" for name in video["file_names"]]


LOCAL_SPLITS = {
    **{f"{n} videos": (first_videos(n), None) for n in (2, 3, 4, 7)},
    **{f"objects in {one} and {other}": (only_in(one, other), None) for one, other in ((1, 2), (6, 9), (3, 12))},
    **{f"no crowd in {one} and {other}": (crowds_but_in(one, other), None) for one, other in ((1, 2), (6, 9))},
    "one video": (first_videos(1), "found 1 video, expected 2 or more"),
    "objects in one video": (only_in(7), "found objects other than crowds in 1 video(s), expected them in 2 or more"),
    "crowds only": (crowds_but_in(), ""),
    "no crowd in one video": (crowds_but_in(5), "found objects other than crowds in 1 video(s), expected"),
    "one first frame of two videos": (
        in_one_folder,
        "the videos 3 and 4 both begin with 'train0002/00000.jpg'; expected a first frame of its own",
    ),
    "NaN where nobody reads it": (lambda content: content["info"].update(version=float("nan")), "cannot hold"),
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("frames"), "ytvis2019")


@pytest.fixture
def changed(tmp_path, frames):
    """A function that gives a dataset whose annotation file of a split is changed."""

    def write(change, split="train"):
        for name in ("train", "valid"):
            (tmp_path / name).symlink_to(frames / name)
            content = fake.annotations("ytvis2019", name, 12 if name == "train" else 2)
            if name == split:
                change(content)
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def evaluated(annotations):
    predictions = annotations.with_name("predictions.json")
    predictions.write_text("[]")
    output = annotations.with_name("results") / "metrics.json"
    return evaluate(annotations, predictions, output, dataset="ytvis2019")["overall"]["AP"]


def plain_runs(content):
    """A mask in each object that is written as run lengths, as in the published files."""
    content["info"] = {"counts": [1, 2], "title": "\u00fc"}
    for item in content["annotations"]:
        item["segmentations"][1:] = [None, {"size": [fake.HEIGHT, fake.WIDTH], "counts": [0, 64, 6080]}]


def test_the_local_parts_hold_the_records_of_the_file(changed):
    root = changed(plain_runs)
    record = prepare("ytvis2019", root)
    whole = json.loads((root / "train.json").read_text())
    for side in ("train", "valid"):
        videos = [video for video in whole["videos"] if video["file_names"][0].split("/")[0] in record[side]]
        ids = {video["id"] for video in videos}
        items = [item for item in whole["annotations"] if item["video_id"] in ids]
        expected = whole | {"videos": videos, "annotations": items}
        assert json.loads((root / f"local_{side}.json").read_text()) == expected


@pytest.mark.parametrize(("runs", "written"), [("[0, 64, 6080]", "[00, 64, 6080]"), ("[1, 2]", "[1 2]")])
def test_runs_that_are_not_json_are_refused(changed, runs, written):
    root = changed(plain_runs)
    path = root / "train.json"
    path.write_text(path.read_text().replace(runs, written, 1))
    with pytest.raises(InputError, match=r"train\.json: holds what JSON cannot hold"):
        prepare("ytvis2019", root)
    assert not [*root.glob("local_*")]


@pytest.mark.parametrize("name", LOCAL_SPLITS)
def test_a_local_split_can_be_trained_on_and_evaluated_or_is_refused(changed, name):
    change, message = LOCAL_SPLITS[name]
    root = changed(change)
    if message is not None:
        with pytest.raises(InputError) as caught:
            prepare("ytvis2019", root)
        assert message in str(caught.value) and "train.json: " in str(caught.value)
        assert not [*root.glob("local_*")] and not (root / "fingerprint.json").exists()
        return
    record = prepare("ytvis2019", root)
    assert record["train"] and record["valid"]
    sides = [split_annotations("ytvis2019", root, f"local_{side}") for side in ("train", "valid")]
    assert all(any(not track.crowd for track in side.annotations.tracks) for side in sides)
    assert evaluated(root / "local_valid.json") == 0.0


def annotated(**changes):
    """A split `valid` with ground truth, of which a track is changed."""

    def change(content):
        content["annotations"] = fake.annotations("ytvis2019", "train", 2)["annotations"]
        content["annotations"][1].update(changes)

    return change


@pytest.mark.parametrize(
    "change",
    [
        annotated(),
        annotated(segmentations=[None]),
        annotated(areas="big"),
        annotated(video_id=9),
        annotated(attributes=7),
        *(lambda content, value=value: content.update(annotations=value) for value in ({}, "", 0, False)),
    ],
)
def test_a_users_own_annotated_valid_gets_the_verdict_of_its_evaluation(changed, change):
    root = changed(change, "valid")
    verdicts = []
    for check in (lambda: prepare("ytvis2019", root), lambda: evaluated(root / "valid.json")):
        try:
            check()
            verdicts.append(None)
        except InputError as error:
            verdicts.append(str(error))
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("annotations", [None, [], "absent"])
def test_an_official_valid_without_ground_truth_is_accepted(changed, annotations):
    root = changed(lambda content: content.update(annotations=annotations), "valid")
    if annotations == "absent":
        content = json.loads((root / "valid.json").read_text())
        (root / "valid.json").write_text(json.dumps({key: content[key] for key in ("videos", "categories")}))
    assert prepare("ytvis2019", root)["valid"]


@pytest.mark.parametrize("changed", ["train.json", "local_train.json", "a frame", "a missing frame"])
def test_prepared_files_that_changed_are_refused(tmp_path, changed):
    files = {"train": LAYOUTS[0][:2], "valid": LAYOUTS[0][2:]}
    prepare("ytvis2019", fake.write(tmp_path, "ytvis2019", files))
    split = "train" if changed == "train.json" else "local_train"
    part = split_annotations("ytvis2019", tmp_path, split)
    path = tmp_path / changed if changed.endswith("json") else next(part.frame_paths())
    if changed == "a missing frame":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"changed|no such file, though"):
        split_annotations("ytvis2019", tmp_path, split)
    if changed.endswith("json"):
        prepare("ytvis2019", tmp_path)
        split_annotations("ytvis2019", tmp_path, split)


def test_a_generated_frame_or_annotation_file_that_changed_is_refused(tmp_path):
    section = resolve("smoke").data.synthetic
    synthvis.generate(section, "synthvis", tmp_path / "data")
    part = split_annotations("synthvis", tmp_path / "data", "valid")
    video = part.videos[0]
    read_frame(part, video, 0)
    path = part.frame_path(video, 0)
    path.write_bytes(part.frame_path(part.videos[1], 0).read_bytes())
    with pytest.raises(InputError, match="was changed after its digest was recorded"):
        read_frame(part, video, 0)
    annotations = tmp_path / "data/valid.json"
    annotations.write_text(annotations.read_text().replace('"areas": [', '"areas": [ '))
    reads = partial(split_annotations, "synthvis", tmp_path / "data", "valid"), partial(verify_annotations, annotations)
    for read in reads:
        with pytest.raises(InputError, match=r"valid\.json: was changed after its digest was recorded"):
            read()
