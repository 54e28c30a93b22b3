"""Files that are damaged, or made to harm, end with one message within a moment, the same from every command."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import stat
import struct
import time
import zipfile

import pytest
from typer.testing import CliRunner

from mssts.cli import app
from mssts.core.errors import InputError
from mssts.data.datasets import expected_categories
from mssts.ytvis import zip_input
from mssts.ytvis.annotations import parse_annotations, read_annotations
from mssts.ytvis.json_input import shown
from mssts.ytvis.submission import check_submission, parse_submission, read_submission
from tests.data import fake_youtube_vis as fake

LEFT, RIGHT = (0, 0, 5, 10), (5, 0, 10, 10)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("data") / "ytvis2019", "ytvis2019", videos=4)


@pytest.fixture(scope="module")
def annotations(data):
    return read_annotations(data / "valid.json", truth="absent", expected=expected_categories("ytvis2019"))


@pytest.fixture
def message(tmp_path, annotations, data):
    """A function that writes a submission and gives the one message of all commands about it."""

    def message_about(content, name="results.json"):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        start = time.monotonic()
        with pytest.raises(InputError) as caught:
            read_submission(path, annotations)
        assert check_submission(path, annotations) == ([str(caught.value)], [])
        truth, output = data / "train.json", tmp_path / "m" / "metrics.json"
        files = ["--annotations", str(truth), "--predictions", str(path), "--output", str(output)]
        error = CliRunner().invoke(app, ["evaluate", *files]).exception
        assert isinstance(error, InputError)
        assert str(error) == str(caught.value)
        assert time.monotonic() - start < 5
        assert len(str(error)) < 1000
        return str(error)

    return message_about


TEXT = json.dumps([{"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [None] * 3}])
NOT_PLAIN_JSON = {
    "empty": (b"", "the file is empty"),
    "UTF-8 with BOM": (TEXT.encode("utf-8-sig"), "begins with a byte order mark"),
    "UTF-16": (TEXT.encode("utf-16"), "not UTF-8 text but utf-16"),
    "UTF-16 without BOM": (TEXT.encode("utf-16-be"), "not UTF-8 text but utf-16-be"),
    "gzip": (gzip.compress(TEXT.encode()), "packed with gzip; unpack it first"),
    "bzip2": (bz2.compress(TEXT.encode()), "packed with bzip2; unpack it first"),
    "xz": (lzma.compress(TEXT.encode()), "packed with xz; unpack it first"),
    "nested too deeply": (b"[" * 10**6, "nested too deeply"),
    "trailing garbage": (TEXT.encode() * 2, "not valid JSON (Extra data"),
    "key twice": (TEXT.replace("{", '{"score": 1, ').encode(), "an object has the key 'score' twice"),
    "annotation file": (b'{"videos": [], "categories": []}', "this is an annotation file in YouTube-VIS format"),
    "COCO": (b'{"images": [], "annotations": []}', "this is an annotation file in COCO format, of images"),
    "COCO-video": (b'{"videos": [], "images": [{"video_id": 1, "frame_id": 0}]}', "this is a COCO-video file"),
    "detections of images": (b'[{"image_id": 1, "bbox": []}]', "this is a list of detections in COCO format"),
}


@pytest.mark.parametrize("name", NOT_PLAIN_JSON)
def test_every_command_says_the_same_about_a_submission_that_is_something_else(message, name):
    content, said = NOT_PLAIN_JSON[name]
    assert f"results.json: {said}" in message(content)


@pytest.mark.parametrize(("make", "said"), [(os.mkfifo, "found a FIFO"), (os.mkdir, "found a folder")])
def test_only_a_regular_file_is_read(message, tmp_path, make, said):
    make(tmp_path / "results.json")
    assert f"results.json: {said}; expected the list of predictions" in message(None)
    with pytest.raises(InputError, match=f"results.json: {said}; expected the annotation file"):
        read_annotations(tmp_path / "results.json")


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    """A zip with these members: names, or (name, content), or (ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for member in members or ["results.json"]:
            name, content = (member, TEXT) if isinstance(member, str) else member
            archive.writestr(name, content, compression)
    return buffer.getvalue()


def link():
    member = zipfile.ZipInfo("results.json")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped((member, "/etc/passwd"))


def changed(content, offset, value, header=b"PK\1\2"):
    """A zip with another byte in a header (of the central directory)."""
    place = content.index(header) + offset
    return content[:place] + value + content[place + len(value) :]


def encrypted():
    return changed(changed(zipped(), 8, b"\1"), 6, b"\1", b"PK\3\4")


def claiming(size):
    """A zip whose headers claim that the member unpacks to this size."""
    return changed(changed(zipped(), 24, struct.pack("<I", size)), 22, struct.pack("<I", size), b"PK\3\4")


ZIPS = {
    "several members": (zipped("results.json", "readme.txt"), "the zip holds ['results.json', 'readme.txt']"),
    "many members": (zipped(*(f"{n}" for n in range(3000))), "the zip holds ['0', '1', '2'"),
    "the same member twice": (lambda: zipped("results.json", "results.json"), "['results.json', 'results.json']"),
    "member of another name": (zipped("predictions.json"), "the zip holds ['predictions.json']"),
    "member in a folder": (zipped("out/results.json"), "the zip holds ['out/results.json']"),
    "path out of the folder": (zipped("../results.json"), "the zip holds ['../results.json']"),
    "absolute path": (zipped("/results.json"), "the zip holds ['/results.json']"),
    "folder": (zipped(("results.json/", "")), "the zip holds ['results.json/']"),
    "no member": (b"PK\5\6" + bytes(18), "the zip holds []"),
    "link": (link(), "results.json in the zip is not a regular file"),
    "encrypted": (encrypted(), "results.json in the zip is encrypted"),
    "bzip2": (zipped(compression=zipfile.ZIP_BZIP2), "results.json in the zip is not packed with deflate"),
    "lzma": (zipped(compression=zipfile.ZIP_LZMA), "results.json in the zip is not packed with deflate"),
    "zip in a zip": (zipped(("results.json", zipped())), "packed with zip; unpack it first"),
    "gzip in a zip": (zipped(("results.json", gzip.compress(b"[]"))), "packed with gzip; unpack it first"),
    "empty member": (zipped(("results.json", "")), "the file is empty"),
    "UTF-16 in a zip": (zipped(("results.json", TEXT.encode("utf-16"))), "not UTF-8 text but utf-16"),
    "truncated": (zipped()[:-30], "damaged zip: "),
    "cut at the front": (zipped()[20:], "not a zip file"),
    "data before": (b"#!/bin/sh\n" + zipped(), "not a zip file"),
    "zip before": (zipped() + zipped(), "results.json is not at the beginning of the zip"),
    "wrong checksum": (changed(zipped(), 16, b"\0\0\0\0"), "damaged zip: Bad CRC-32"),
    "broken deflate": (changed(zipped(), 42, b"\xff" * 8, b"PK\3\4"), "damaged zip: "),
    "name that is no text": (changed(changed(zipped("é"), 46, b"\xff\xff"), 9, b"\x08"), "damaged zip: "),
    "directory far away": (changed(zipped(), 16, b"\xff\xff\0\0", b"PK\5\6"), "results.json is not at the beginning"),
    "less than the zip says": (claiming(10_000), "damaged zip: "),
    "more than the zip says": (claiming(10), "damaged zip: "),
    "bomb that names its size": (claiming(2**32 - 2), "would unpack to 4294967294 bytes, more than 200 times its size"),
}


@pytest.mark.parametrize("name", ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_command_says_the_same_about_a_bad_zip(message, name):
    content, said = ZIPS[name]
    assert said in message(content() if callable(content) else content, "results.zip")


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(zip_input, "_ALWAYS_ALLOWED", 2**16)
    bomb = zipped(("results.json", b"0" * 2**20))
    with pytest.raises(InputError, match="would unpack to 1048576 bytes"):
        zip_input.unzipped(bomb, "results.json", "a.zip")
    assert len(zip_input.unzipped(zipped(("results.json", b"0" * 2**16)), "results.json", "a.zip")) == 2**16


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_evaluation_reads_the_zip_that_is_ready_to_submit(tmp_path, annotations, compression):
    (tmp_path / "results.zip").write_bytes(zipped(compression=compression))
    assert check_submission(tmp_path / "results.zip", annotations)[0] == []
    assert len(read_submission(tmp_path / "results.zip", annotations).predictions) == 1


@pytest.fixture
def case(new_case):
    return new_case(2).video(1, 2).instance(LEFT, RIGHT).instance(LEFT, LEFT, category=2).predict(LEFT, None)


def endless(character):
    return character * 10**6


COUNTS = {
    "zeros": endless("0"),
    "ones": endless("1"),
    "falling": endless("O"),
    "continued": endless("P"),
    "no digits": endless("\x7f"),
    "zeros that fill the frame": "T3" + endless("0"),
    "surrogates": endless("\ud800"),
}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_run_length_string_of_a_megabyte_is_read_in_a_moment(each_reader, case, name, lenient):
    mask = {"size": [10, 10], "counts": COUNTS[name]}
    start = time.monotonic()
    for records in (case.content["annotations"], case.predictions):
        records[0]["segmentations"] = [mask, mask]
    valid = name == "zeros that fill the frame"
    if valid:
        truth = parse_annotations(case.content, lenient=lenient)
        parse_submission(case.predictions, truth, lenient=lenient)
        assert truth.tracks[0].masks.decode([0, 1]).sum() == 0
    else:
        with pytest.raises(InputError, match=r"annotations\[0\]: segmentations\[0\]: counts: "):
            parse_annotations(case.content, lenient=lenient)
    assert time.monotonic() - start < 3


PLAIN_COUNTS = {"zeros": [0], "ones": [1], "huge": [2**70], "negative": [-1], "floats": [0.5]}


@pytest.mark.parametrize("name", PLAIN_COUNTS)
def test_plain_runs_of_a_megabyte_are_read_in_a_moment(each_reader, case, tmp_path, name):
    case.content["annotations"][0]["segmentations"][1] = {"size": [10, 10], "counts": PLAIN_COUNTS[name] * 300_000}
    (tmp_path / "gt.json").write_text(json.dumps(case.content))
    start = time.monotonic()
    for read in (lambda: read_annotations(tmp_path / "gt.json"), lambda: parse_annotations(case.content)):
        with pytest.raises(InputError, match=r"annotations\[0\]: segmentations\[1\]: counts: "):
            read()
    assert time.monotonic() - start < 5


POLYGONS = {
    "of the largest coordinates": [[2**20, 2**20, -(2**20), 2**20, 0, -(2**20)]],
    "back and forth": [[0, 0, 2**20, 2**20] * 500],
    "many, back and forth": [[0, 0, 3000, 3000] * 2] * 200,
    "many": [[1, 1, 2, 1, 2, 2]] * 10_001,
    "of many points": [[0, 0, 9, 9] * 250_000],
}


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_that_take_long_to_draw_are_refused(case, name):
    case.content["annotations"][0]["segmentations"][1] = POLYGONS[name]
    start = time.monotonic()
    with pytest.raises(InputError, match=r"annotations\[0\]: segmentations\[1\]: (polygon: expected|found 10001)"):
        parse_annotations(case.content)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("polygons", [[[0, 0, 9, 9, 0, 9] * 2001], [[1, 1, 8, 2, 4, 9]] * 1000])
def test_polygons_of_many_points_or_parts_are_drawn(case, polygons):
    case.content["annotations"][0]["segmentations"][1] = polygons
    assert parse_annotations(case.content).tracks[0].masks.areas_T[1] > 0


@pytest.mark.parametrize(
    "size", [[10**9, 10**9], [2**33, 1], [2**14 + 1, 1], [0, 10], [-10, -10], [10.0, 10.0], ["10", 10]]
)
def test_masks_of_an_impossible_size_are_refused_even_leniently(each_reader, case, size):
    mask = {"size": size, "counts": "0"}
    case.predictions[0]["segmentations"][0] = mask
    case.content["annotations"][0]["segmentations"][0] = mask
    for lenient in (False, True):
        with pytest.raises(InputError, match=r"annotations\[0\]: segmentations\[0\]: size: found "):
            parse_annotations(case.content, lenient=lenient)


def test_messages_about_many_categories_stay_short(case):
    case.content["categories"] = [{"id": n, "name": f"kind{n % 9000}"} for n in range(1, 20_000)]
    for record in case.content["annotations"] * 2000:
        case.content["annotations"].append(record | {"id": len(case.content["annotations"]) + 1, "category_id": 0})
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        parse_annotations(case.content)
    assert time.monotonic() - start < 5
    assert max(map(len, str(caught.value).splitlines())) < 1000


LARGE = {
    "text": "x" * 10**6,
    "number": 10**4000,
    "list": [[]] * 10**5,
    "object": {str(n): n for n in range(10**4)},
}


@pytest.mark.parametrize("name", LARGE)
def test_a_value_of_any_size_is_shown_short(name):
    assert len(shown(LARGE[name])) <= 40
