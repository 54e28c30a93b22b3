"""A submission that would fail on the server, or count for less in silence, is told so here, with every reason."""

from __future__ import annotations

import json
import zipfile

import pytest

from mssts.cli import main
from mssts.data.datasets import expected_categories
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.submission import check_submission
from tests.data import fake_youtube_vis as fake


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("data") / "ytvis2019", "ytvis2019")


@pytest.fixture(scope="module")
def annotations(data):
    return read_annotations(data / "valid.json", truth="absent", expected=expected_categories("ytvis2019"))


def legal():
    mask = fake.rle((4, 4, 20, 10))
    return [
        {"video_id": 1, "category_id": 40, "score": 0.5, "segmentations": [mask, None, mask]},
        {"video_id": 2, "category_id": 1, "score": 1, "segmentations": [mask] * 3},
    ]


def checked(tmp_path, annotations, content):
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return check_submission(path, annotations)


def zipped(tmp_path, name="results.json", content="[]"):
    with zipfile.ZipFile(tmp_path / "submission.zip", "w") as archive:
        archive.writestr(name, content)
    return tmp_path / "submission.zip"


def test_a_legal_submission_passes_as_json_and_zipped(tmp_path, annotations):
    assert checked(tmp_path, annotations, legal()) == ([], [])
    assert check_submission(zipped(tmp_path, content=json.dumps(legal())), annotations) == ([], [])


def put(key, value, index=0):
    return lambda found: found[index].update({key: value})


def mask_of(**changes):
    return put("segmentations", [fake.rle((4, 4, 20, 10)) | changes, None, None])


POISON = {
    "no score": (lambda c: c[1].pop("score"), ["[1]: missing score"]),
    "score is text": (put("score", "0.5"), ["[0]: score: found '0.5'"]),
    "score is true": (put("score", True), ["[0]: score: found True"]),
    "video of nowhere": (
        put("video_id", 3),
        ["[0]: video_id: found 3, which is not one of the 2 video ids of the annotations"],
    ),
    "video as text": (put("video_id", "1"), ["[0]: video_id: found '1'"]),
    "category 0": (put("category_id", 0), ["[0]: category_id: found 0, expected one of 1 (person), 2 (giant_panda)"]),
    "category 41": (put("category_id", 41), ["found 41"]),
    "a frame short": (put("segmentations", [None] * 2), ["found 2 frames, but video 1 has 3"]),
    "no list": (put("segmentations", {}), ["segmentations: found dict"]),
    "turned size": (mask_of(size=[96, 64]), ["segmentations[0]: size: found [96, 64], expected [64, 96]"]),
    "uncompressed": (
        mask_of(counts=[6144]),
        ["segmentations[0]: found counts of type list, expected a compressed run-length string"],
    ),
    "runs too short": (mask_of(counts="5"), ["segmentations[0]: counts: the runs add up to 5 pixels, expected 6144"]),
    "polygon": (
        put("segmentations", [[[1, 2, 3, 4, 5, 6]], None, None]),
        ["segmentations[0]: found list, expected null or an object"],
    ),
    "no object": (lambda c: c.append(3), ["[2]: found int"]),
}


@pytest.mark.parametrize("name", POISON)
def test_each_broken_rule_is_named(tmp_path, annotations, name):
    change, said = POISON[name]
    content = legal()
    change(content)
    problems, _ = checked(tmp_path, annotations, content)
    assert len(problems) == len(said)
    assert all(part in problem for part, problem in zip(said, problems, strict=True))


def test_all_problems_are_listed(tmp_path, annotations):
    content = legal() * 100
    for index, record in enumerate(content):
        content[index] = record | {"category_id": 0}
    assert len(checked(tmp_path, annotations, content)[0]) == 200


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("{}", "found dict at the top"),
        ("[]", "the list is empty"),
        ("[NaN", "not valid JSON"),
    ],
)
def test_a_file_that_is_no_list_is_named(tmp_path, annotations, content, said):
    [problem] = checked(tmp_path, annotations, content)[0]
    assert said in problem


def test_a_score_that_is_no_number_is_named(tmp_path, annotations):
    [problem] = checked(tmp_path, annotations, json.dumps(legal()).replace("0.5", "NaN"))[0]
    assert "score: found nan" in problem


def test_zips_that_the_server_refuses_are_named(tmp_path, annotations):
    problems, _ = check_submission(zipped(tmp_path, "out/results.json"), annotations)
    assert "the zip holds ['out/results.json']" in problems[0]
    (tmp_path / "submission.zip").write_bytes(b"PK")
    assert "not a zip file" in check_submission(tmp_path / "submission.zip", annotations)[0][0]


def test_legal_predictions_that_count_for_less_get_a_remark(tmp_path, annotations):
    content = [legal()[0]] * 101 + [legal()[0] | {"segmentations": [None] * 3, "category_id": 2}]
    problems, remarks = checked(tmp_path, annotations, content)
    assert not problems
    assert "1 of 2 videos have no prediction" in remarks
    assert any("predictions beyond the top 100" in remark for remark in remarks)
    assert "1 predictions are null in every frame" in remarks


def test_neither_ground_truth_nor_frames_are_needed(tmp_path, data, monkeypatch):
    directory = tmp_path / "ytvis2019"
    directory.mkdir()
    (directory / "valid.json").write_bytes((data / "valid.json").read_bytes())
    (tmp_path / "r.json").write_text(json.dumps(legal()))
    monkeypatch.setattr("sys.argv", ["mssts", "check-submission", str(tmp_path / "r.json"), "--data", str(directory)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_ends_with_a_verdict(tmp_path, data, monkeypatch, capsys, broken):
    content = legal()
    content[0]["category_id"] = 41 if broken else 1
    (tmp_path / "r.json").write_text(json.dumps(content))
    monkeypatch.setattr("sys.argv", ["mssts", "check-submission", str(tmp_path / "r.json"), "--data", str(data)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == (2 if broken else 0)
    assert "1 problem(s)" in said.err if broken else "ready to submit; 7 rules checked" in said.out
