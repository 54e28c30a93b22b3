"""One file, one verdict: every stage accepts an annotation file, or every stage refuses it with the same message.

The one documented difference: stages that need frames refuse a file without `file_names`.
"""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mssts.cli import app
from mssts.core.errors import InputError
from mssts.data.coco import read_coco
from mssts.data.datasets import split_annotations
from mssts.data.training import training_clips
from tests.data import fake_youtube_vis as fake
from tests.data.test_training import write_coco

DATASET = "ytvis2019"
VIDEOS = 4
CONFIG = SimpleNamespace(data=SimpleNamespace(protocol="official", joint=False), train=SimpleNamespace(frames=2))


def command(*arguments):
    found = CliRunner().invoke(app, [str(one) for one in arguments])
    if found.exception is not None:
        raise found.exception


def evaluate(root, *options):
    (root / "predictions.json").write_text("[]")
    files = ["--annotations", root / "train.json", "--predictions", root / "predictions.json"]
    command("evaluate", *files, "--output", root / "metrics" / "metrics.json", *options)


def check_submission(root):
    prediction = {"video_id": 2, "category_id": 1, "score": 0.5, "segmentations": [None] * fake.FRAMES}
    (root / "submission.json").write_text(json.dumps([prediction]))
    command("check-submission", root / "submission.json", "--data", root, "--dataset", DATASET, "--split", "train")


READ_ALL = {
    "training": lambda root: training_clips(DATASET, root, CONFIG),
    "prepare": lambda root: command("prepare", "--dataset", DATASET, "--data", root),
    "evaluate --dataset": lambda root: evaluate(root, "--dataset", DATASET),
    "evaluate": evaluate,
}
READ_NO_TRUTH = {
    "predict": lambda root: split_annotations(DATASET, root, "train", truth="absent"),
    "check-submission": check_submission,
}
NEED_FRAMES = {"training", "prepare", "predict"}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("frames"), DATASET, videos=VIDEOS)


@pytest.fixture
def verdicts(tmp_path, frames):
    """A function that gives the verdict of each entrance on a changed training file: None or the message."""

    def all_verdicts(change):
        content = fake.annotations(DATASET, "train", VIDEOS)
        change(content)
        found = {}
        for name, entrance in (READ_ALL | READ_NO_TRUTH).items():
            root = tmp_path / name.replace(" ", "_")
            root.mkdir()
            (root / "train.json").write_text(json.dumps(content))
            shutil.copy(frames / "valid.json", root)
            for split in ("train", "valid"):
                (root / split).symlink_to(frames / split)
            try:
                entrance(root)
                found[name] = None
            except InputError as error:
                found[name] = str(error).replace(f"{root}/", "")
        return found

    return all_verdicts


def video(**changes):
    return lambda content: content["videos"][0].update(changes)


def without(key, *more):
    return lambda content: [content["videos"][0].pop(one) for one in (key, *more)]


def annotation(**changes):
    return lambda content: content["annotations"][0].update(changes)


def frame(entry):
    return lambda content: content["annotations"][0]["segmentations"].__setitem__(1, entry)


def category(**changes):
    return lambda content: content["categories"][0].update(changes)


def both(*changes):
    return lambda content: [change(content) for change in changes]


def mask(counts, size=(fake.HEIGHT, fake.WIDTH)):
    return frame({"size": list(size), "counts": counts})


PIXELS = fake.HEIGHT * fake.WIDTH
TRIANGLE = [1, 2, 30, 4, 5, 40]

ACCEPTED = {
    "unchanged": lambda content: None,
    "[] in a frame": frame([]),
    "{} in a frame": frame({}),
    "null in a frame": frame(None),
    "polygon": frame([TRIANGLE]),
    "plain runs": mask([PIXELS - 5, 5]),
    "no length": without("length"),
    "id 0 of a video": both(video(id=0), annotation(video_id=0)),
    "iscrowd true": annotation(iscrowd=True),
    "no iscrowd": lambda content: content["annotations"][0].pop("iscrowd"),
    "attributes of CVAT": annotation(attributes={"occluded": False, "rotation": 0.0, "track_id": 1}),
    "attributes without a boolean": annotation(attributes={"rotation": 0.0}),
    "attributes null": annotation(attributes=None),
    "no areas": lambda content: content["annotations"][0].pop("areas"),
    "areas null": annotation(areas=None),
}

REFUSED = {
    "id 0": (annotation(id=0), "annotations[0]: id: found 0, expected 1 or more"),
    "id float": (annotation(id=1.0), "annotations[0]: id: found 1.0"),
    "id true": (annotation(id=True), "annotations[0]: id: found True"),
    "id text": (annotation(id="1"), "annotations[0]: id: found '1'"),
    "id too large": (annotation(id=2**63), "annotations[0]: id: found 9223372036854775808"),
    "id twice": (annotation(id=2), "annotations[1]: id 2 occurs twice"),
    "iscrowd 2": (annotation(iscrowd=2), "annotations[0]: iscrowd: found 2, expected 0 or 1"),
    "iscrowd null": (annotation(iscrowd=None), "annotations[0]: iscrowd: found None, expected 0 or 1"),
    "iscrowd text": (annotation(iscrowd="0"), "annotations[0]: iscrowd: found '0', expected 0 or 1"),
    "unknown video": (annotation(video_id=99), "annotations[0]: video_id: found 99"),
    "video float": (annotation(video_id=1.0), "annotations[0]: video_id: found 1.0"),
    "unknown category": (annotation(category_id=41), "annotations[0]: category_id: found 41, expected one of [1, 2"),
    "category true": (annotation(category_id=True), "annotations[0]: category_id: found True"),
    "attributes list": (annotation(attributes=["occluded"]), "annotations[0]: attributes: found list"),
    "areas text": (annotation(areas=["big"] * 3), "annotations[0]: areas: expected a number or null"),
    "areas number": (annotation(areas=720), "annotations[0]: areas: expected a number or null"),
    "no segmentations": (lambda c: c["annotations"][0].pop("segmentations"), "annotations[0]: missing segmentations"),
    "segmentations null": (annotation(segmentations=None), "annotations[0]: segmentations: found NoneType"),
    "a frame short": (annotation(segmentations=[None] * 2), "annotations[0]: segmentations: found 2 frames"),
    "0 in a frame": (frame(0), "annotations[0]: segmentations[1]: found int"),
    "text in a frame": (frame(""), "annotations[0]: segmentations[1]: found str"),
    "wrong size": (mask([PIXELS], (96, 64)), "annotations[0]: segmentations[1]: size: found [96, 64]"),
    "no size": (frame({"counts": [PIXELS]}), "annotations[0]: segmentations[1]: size: found None"),
    "no counts": (frame({"size": [64, 96]}), "annotations[0]: segmentations[1]: found no counts"),
    "wrong sum": (
        mask([5, 5]),
        "annotations[0]: segmentations[1]: counts: the runs add up to 10 pixels, expected 6144",
    ),
    "negative run": (
        mask([PIXELS + 5, -5]),
        "annotations[0]: segmentations[1]: counts: the runs add up to 6144 pixels",
    ),
    "run that is no integer": (
        mask([PIXELS / 2] * 2),
        "annotations[0]: segmentations[1]: counts: expected integers only",
    ),
    "wrong compressed sum": (mask("5"), "annotations[0]: segmentations[1]: counts: the runs add up to 5 pixels"),
    "bad characters": (mask("é~"), "annotations[0]: segmentations[1]: counts: not a compressed run-length string"),
    "unfinished number": (mask("S"), "annotations[0]: segmentations[1]: counts: not a compressed run-length string"),
    "short polygon": (frame([[1, 2, 3, 4]]), "annotations[0]: segmentations[1]: polygon: expected"),
    "infinite polygon": (frame([[1e400, *TRIANGLE[1:]]]), "annotations[0]: segmentations[1]: polygon: expected"),
    "distant polygon": (frame([[1e9, *TRIANGLE[1:]]]), "annotations[0]: segmentations[1]: polygon: expected"),
    "integer beyond floats": (frame([[10**400, *TRIANGLE[1:]]]), "annotations[0]: segmentations[1]: polygon: expected"),
    "annotations null": (lambda c: c.update(annotations=None), "annotations: found None, expected a list"),
    "no annotation": (lambda c: c.update(annotations=[]), "annotations: found [], expected a list"),
}

REFUSED_BY_ALL = {
    "video id float": (video(id=1.0), "videos[0]: id: found 1.0"),
    "video id true": (video(id=True), "videos[0]: id: found True"),
    "video id too large": (video(id=-(2**63)), "videos[0]: id: found -9223372036854775808"),
    "video id twice": (video(id=2), "videos[1]: id 2 occurs twice"),
    "length null": (video(length=None), "videos[0]: length: found None, expected an integer"),
    "length that disagrees": (video(length=4), "videos[0]: length: found 4, but there are 3 file_names"),
    "file_names empty": (video(file_names=[]), "videos[0]: file_names: found [], expected the names"),
    "file_names null": (video(file_names=None), "videos[0]: file_names: found None, expected the names"),
    "file_names of numbers": (video(file_names=[1, 2, 3]), "videos[0]: file_names: found [1, 2, 3], expected"),
    "file that points outside": (
        lambda c: c["videos"][0]["file_names"].__setitem__(0, "../a"),
        "videos[0]: file_names: '../a' points outside of the image folder",
    ),
    "height 0": (video(height=0), "videos[0]: height: found 0"),
    "width float": (video(width=96.0), "videos[0]: width: found 96.0"),
    "no width": (without("width"), "videos[0]: missing width"),
    "category id float": (category(id=1.0), "categories[0]: id: found 1.0"),
    "category id true": (category(id=True), "categories[0]: id: found True"),
    "category id twice": (category(id=2), "categories[1]: id 2 occurs twice"),
    "category name null": (category(name=None), "categories[0]: name: found None, expected text"),
    "categories null": (lambda c: c.update(categories=None), "categories: found None, expected a list"),
    "no videos": (lambda c: c.pop("videos"), "missing videos"),
}

OTHER_CATEGORIES = {
    "extra category": (lambda c: c["categories"].append({"id": 41, "name": "x"}), "categories: id 41 ('x') does not"),
    "category of another name": (category(name="human"), "categories: id 1 is 'human', expected 'person' (ytvis2019)"),
    "a category less": (lambda c: c["categories"].pop(), "categories: id 40 is missing; expected 'tennis_racket'"),
    "category of id 0": (lambda c: c["categories"].append({"id": 0, "name": "x"}), "categories: id 0 ('x') does not"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_stage_accepts_it(verdicts, name):
    assert set(verdicts(ACCEPTED[name]).values()) == {None}


@pytest.mark.parametrize("name", REFUSED)
def test_every_stage_that_reads_ground_truth_refuses_it_with_one_message(verdicts, name):
    change, message = REFUSED[name]
    found = verdicts(change)
    assert f"train.json: {message}" in found["training"]
    assert {found[entrance] for entrance in READ_ALL} == {found["training"]}
    assert {found[entrance] for entrance in READ_NO_TRUTH} == {None}


@pytest.mark.parametrize("name", REFUSED_BY_ALL)
def test_every_stage_refuses_it_with_one_message(verdicts, name):
    change, message = REFUSED_BY_ALL[name]
    found = verdicts(change)
    assert all(verdict and f"train.json: {message}" in verdict for verdict in found.values())
    assert {found[entrance] for entrance in READ_NO_TRUTH} == {found["predict"]}
    with_dataset = READ_ALL.keys() - {"evaluate"}
    assert {found[entrance] for entrance in with_dataset} == {found["training"]}


@pytest.mark.parametrize("name", OTHER_CATEGORIES)
def test_categories_are_compared_wherever_a_data_set_is_named(verdicts, name):
    change, message = OTHER_CATEGORIES[name]
    found = verdicts(change)
    assert found.pop("evaluate") is None
    assert all(verdict and verdict.startswith(f"train.json: {message}") for verdict in found.values())
    assert len(set(found.values())) == 1


def test_file_names_are_needed_only_to_find_the_frames(verdicts):
    found = verdicts(without("file_names"))
    message = "train.json: videos[0]: missing file_names; needed to find the frames"
    assert found == {name: message if name in NEED_FRAMES else None for name in found}


def test_neither_length_nor_file_names_is_refused_by_every_stage(verdicts):
    found = verdicts(without("file_names", "length"))
    assert all("train.json: videos[0]: missing length (and no file_names" in verdict for verdict in found.values())


def still(**changes):
    return lambda content: content["annotations"][0].update(changes)


STILLS = {
    "unchanged": (lambda content: None, None),
    "absent": (still(segmentation=[]), None),
    "mask": (still(segmentation={"size": [48, 64], "counts": [3000, 72]}), None),
    "attributes": (still(attributes={"rotation": 0.0}), None),
    "extra key of an image": (lambda c: c["images"][0].update(length=7), None),
    "id 0": (still(id=0), "annotations[0]: id: found 0, expected 1 or more"),
    "iscrowd 2": (still(iscrowd=2), "annotations[0]: iscrowd: found 2"),
    "area text": (still(area="big"), "annotations[0]: area: expected a number"),
    "wrong sum": (
        still(segmentation={"size": [48, 64], "counts": [3000]}),
        "segmentation: counts: the runs add up to 3000",
    ),
    "bad characters": (still(segmentation={"size": [48, 64], "counts": "~"}), "segmentation: counts: not a compressed"),
    "short polygon": (still(segmentation=[[1, 2, 3, 4]]), "annotations[0]: segmentation: polygon: expected"),
    "unknown image": (still(image_id=999), "annotations[0]: image_id: found 999, which is not an id in images"),
    "no file_name": (lambda c: c["images"][0].pop("file_name"), "images[0]: missing file_name; needed to find"),
    "category id twice": (lambda c: c["categories"].append(c["categories"][0]), "]: id 1 occurs twice"),
    **{
        f"another name for {name}": (
            lambda c, name=name: next(one for one in c["categories"] if one["name"] == name).update(name="x"),
            f"is 'x', expected '{name}'",
        )
        for name in ("person", "frisbee", "mouse")
    },
}


@pytest.mark.parametrize("name", STILLS)
def test_stills_get_one_verdict_from_preparation_and_both_stages_of_training(tmp_path, name):
    change, message = STILLS[name]
    directory = write_coco(tmp_path) / "coco"
    path = directory / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    entrances = (
        lambda: command("prepare", "--dataset", "coco", "--data", directory),
        lambda: read_coco(tmp_path),
        lambda: read_coco(tmp_path, DATASET),
    )
    found = []
    for entrance in entrances:
        try:
            entrance()
            found.append(None)
        except InputError as error:
            found.append(str(error))
    assert len(set(found)) == 1
    assert found[0] is None if message is None else message in found[0]
