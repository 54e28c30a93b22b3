"""One file, one verdict: every stage accepts an annotation file, or every stage refuses it with the same message.

The one documented difference: stages that need frames refuse a file without `file_names`.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
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
CONFIG = SimpleNamespace(
    data=SimpleNamespace(protocol="official", joint=False),
    train=SimpleNamespace(frames=2),
    loss=SimpleNamespace(foreground_background=SimpleNamespace(enabled=False)),
)


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
    """A function that gives the verdict of each entrance on a changed training file: None or the message.

    change: changes the content. write: gives the bytes of the file, from its content as JSON.
    """

    def all_verdicts(change=lambda content: None, write=str.encode):
        content = fake.annotations(DATASET, "train", VIDEOS)
        change(content)
        written = write(json.dumps(content))
        found = {}
        for name, entrance in (READ_ALL | READ_NO_TRUTH).items():
            root = tmp_path / name.replace(" ", "_")
            root.mkdir()
            (root / "train.json").write_bytes(written)
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


def area(entry):
    return lambda content: content["annotations"][0]["areas"].__setitem__(1, entry)


def crowds(content):
    for record in content["annotations"]:
        record["iscrowd"] = 1


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


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
    "attribute of two surrogates": annotation(attributes={"\U0001f600": True}),
    "area null in an absent frame": both(frame(None), area(None)),
    "area 0": area(0),
    "area -0.0": area(-0.0),
    "area of the whole frame": area(PIXELS),
    "no mask in any frame": annotation(segmentations=[None] * 3, areas=[None] * 3),
    "negative id of a video": both(video(id=-5), annotation(video_id=-5)),
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
    "areas text": (annotation(areas=["big"] * 3), "annotations[0]: areas[0]: found 'big', expected a number"),
    "areas number": (annotation(areas=720), "annotations[0]: areas: found int, expected a list"),
    "area text": (area("720"), "annotations[0]: areas[1]: found '720', expected a number"),
    "area true": (area(True), "annotations[0]: areas[1]: found True"),
    "area list": (area([720]), "annotations[0]: areas[1]: found [720]"),
    "area NaN": (area(float("nan")), "annotations[0]: areas[1]: found nan"),
    "area infinite": (area(float("inf")), "annotations[0]: areas[1]: found inf"),
    "area beyond floats": (area(10**400), "annotations[0]: areas[1]: found 1000"),
    "area negative": (area(-1), "annotations[0]: areas[1]: found -1, expected a number of pixels from 0 to 6144"),
    "area larger than the frame": (area(PIXELS + 1), "annotations[0]: areas[1]: found 6145, expected a number"),
    "area null where there is a mask": (area(None), "annotations[0]: areas[1]: found null, but the object has a mask"),
    "an area short": (annotation(areas=[720] * 2), "annotations[0]: areas: found 2 areas, but video 1 has 3 frames"),
    "an area too many": (annotation(areas=[720] * 4), "annotations[0]: areas: found 4 areas, but video 1 has 3"),
    "areas empty": (annotation(areas=[]), "annotations[0]: areas: found 0 areas, but video 1 has 3 frames"),
    "all objects are crowds": (crowds, "annotations: every object is a crowd"),
    "attribute with NUL": (annotation(attributes={"a\0": True}), "annotations[0]: attributes: found the name 'a\\x00'"),
    "attribute of half a surrogate pair": (
        annotation(attributes={"\ud800": True}),
        "annotations[0]: attributes: found",
    ),
    "deeply nested id": (annotation(id=nested(900)), "annotations[0]: id: found [[["),
    "many polygons": (frame([TRIANGLE] * 10_001), "annotations[0]: segmentations[1]: found 10001 polygons"),
    "long outline": (frame([[0, 0, 2**20, 2**20] * 2]), "annotations[0]: segmentations[1]: polygon: expected outlines"),
    "size of floats": (mask([PIXELS], (64.0, 96.0)), "annotations[0]: segmentations[1]: size: found [64.0, 96.0]"),
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
    "file_names absolute": (
        lambda c: c["videos"][0]["file_names"].__setitem__(0, "/a.jpg"),
        "videos[0]: file_names: '/a.jpg' points outside of the image folder",
    ),
    "file_names with a drive": (
        lambda c: c["videos"][0]["file_names"].__setitem__(0, "C:\\a.jpg"),
        "videos[0]: file_names: 'C:\\\\a.jpg' points outside of the image folder",
    ),
    "file_names with NUL": (video(file_names=["a\0b"] * 3), "videos[0]: file_names: found ['a\\x00b'"),
    "file_names with escapes": (video(file_names=["\x1b[31m"] * 3), "videos[0]: file_names: found ['\\x1b[31m'"),
    "file_names of any length": (video(file_names=["a" * 5000] * 3), "videos[0]: file_names: found ['aaaa"),
    "file_names of half a surrogate pair": (
        video(file_names=["\udc80"] * 3),
        "videos[0]: file_names: found ['\\udc80'",
    ),
    "height 0": (video(height=0), "videos[0]: height: found 0"),
    "height negative": (video(height=-64), "videos[0]: height: found -64"),
    "height huge": (video(height=10**9), "videos[0]: height: found 1000000000, expected an integer from 1 to 16384"),
    "width huge": (video(width=2**14 + 1), "videos[0]: width: found 16385, expected an integer from 1 to 16384"),
    "length huge": (video(length=10**9), "videos[0]: length: found 1000000000, expected an integer from 1 to 1048576"),
    "length of 400 digits": (video(length=10**400), "videos[0]: length: found 1000"),
    "length infinite": (video(length=float("inf")), "videos[0]: length: found inf"),
    "length nested": (video(length=nested(900)), "videos[0]: length: found [[["),
    "width float": (video(width=96.0), "videos[0]: width: found 96.0"),
    "no width": (without("width"), "videos[0]: missing width"),
    "category id float": (category(id=1.0), "categories[0]: id: found 1.0"),
    "category id true": (category(id=True), "categories[0]: id: found True"),
    "category id twice": (category(id=2), "categories[1]: id 2 occurs twice"),
    "category name empty": (category(name=""), "categories[0]: name: found '', expected text of 1 to 4096 characters"),
    "category name with a line break": (category(name="a\nb"), "categories[0]: name: found 'a\\nb', expected text"),
    "category name of any length": (category(name="a" * 5000), "categories[0]: name: found 'aaaa"),
    "category name with NUL": (category(name="a\0"), "categories[0]: name: found 'a\\x00', expected text"),
    "category name of half a surrogate pair": (category(name="\ud800"), "categories[0]: name: found '\\ud800'"),
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


NOT_PLAIN_JSON = {
    "empty": (lambda text: b"", "the file is empty; expected the annotation file"),
    "blank": (lambda text: b" \n", "the file is empty; expected the annotation file"),
    "UTF-8 with BOM": (lambda text: text.encode("utf-8-sig"), "begins with a byte order mark (BOM); write the file as"),
    "UTF-16 with BOM": (lambda text: text.encode("utf-16"), "not UTF-8 text but utf-16; write the file as UTF-8"),
    "UTF-16": (lambda text: text.encode("utf-16-le"), "not UTF-8 text but utf-16-le; write the file as UTF-8"),
    "UTF-32": (lambda text: text.encode("utf-32-be"), "not UTF-8 text but utf-32-be; write the file as UTF-8"),
    "Latin-1": (lambda text: text.replace("info", "é").encode("latin-1"), "not UTF-8 text; expected the annotation"),
    "gzip": (lambda text: gzip.compress(text.encode()), "packed with gzip; unpack it first"),
    "bzip2": (lambda text: bz2.compress(text.encode()), "packed with bzip2; unpack it first"),
    "xz": (lambda text: lzma.compress(text.encode()), "packed with xz; unpack it first"),
    "zip": (lambda text: b"PK\3\4" + text.encode(), "packed with zip; unpack it first"),
    "NUL": (lambda text: text.replace("info", "\0").encode(), "not valid JSON (Invalid control character"),
    "truncated": (lambda text: text[:-9].encode(), "not valid JSON ("),
    "trailing garbage": (lambda text: text.encode() + b"]", "not valid JSON (Extra data"),
    "nested too deeply": (lambda text: text.replace("{}", "[" * 10**5, 1).encode(), "nested too deeply; expected the"),
    "number of 5000 digits": (lambda text: text.replace("{}", "1" * 5000, 1).encode(), "not valid JSON (Exceeds"),
    "key twice": (
        lambda text: text.replace('"id"', '"width": 9, "width": 9, "id"', 1).encode(),
        "an object has the key",
    ),
    "key twice at the top": (
        lambda text: text.replace("{", '{"videos": [], ', 1).encode(),
        "an object has the key 'vid",
    ),
    "list of predictions": (
        lambda text: json.dumps([{"video_id": 1, "category_id": 1, "score": 1, "segmentations": []}]).encode(),
        "this is a submission (a list of predictions); expected the annotation file in YouTube-VIS format",
    ),
    "COCO-video": (lambda text: coco_video(json.loads(text)), "this is a COCO-video file (layout of mmtracking and"),
    "COCO": (
        lambda text: json.dumps({"images": [{"id": 1}], "categories": [], "annotations": []}).encode(),
        "this is an annotation file in COCO format, of images; expected the annotation file in YouTube-VIS format",
    ),
}


def coco_video(content):
    """The content in the layout of mmtracking: an image per frame, an annotation per object and image."""
    videos, images, annotations = content["videos"], [], []
    for video, track in zip(videos, content["annotations"], strict=True):
        for frame, (name, entry) in enumerate(zip(video.pop("file_names"), track["segmentations"], strict=True)):
            number = len(images) + 1
            images.append({"id": number, "video_id": video["id"], "frame_id": frame, "file_name": name})
            own = {"id": number, "image_id": number, "instance_id": track["id"], "segmentation": entry}
            annotations.append(own | {"video_id": video["id"], "category_id": track["category_id"]})
        del video["length"]
    return json.dumps(content | {"images": images, "annotations": annotations}).encode()


@pytest.mark.parametrize("name", NOT_PLAIN_JSON)
def test_every_stage_says_the_same_about_a_file_that_is_something_else(verdicts, name):
    write, message = NOT_PLAIN_JSON[name]
    [verdict] = set(verdicts(write=write).values())
    assert verdict.startswith(f"train.json: {message}")


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
    "area text": (still(area="big"), "annotations[0]: area: found 'big', expected a number"),
    "area negative": (still(area=-1.5), "annotations[0]: area: found -1.5, expected a number"),
    "all objects are crowds": (crowds, "annotations: every object is a crowd"),
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
        lambda: read_coco(tmp_path / "coco"),
        lambda: read_coco(tmp_path / "coco", DATASET),
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
