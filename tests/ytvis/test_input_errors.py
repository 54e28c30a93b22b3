"""Bad files give one message that lists every problem with its place, what was found and what was expected."""

import copy
import json

import pytest

from mssts.core.errors import InputError
from mssts.ytvis.annotations import parse_annotations, read_annotations
from mssts.ytvis.submission import parse_submission, read_submission
from tests.ytvis.cases import set_in

pytestmark = pytest.mark.usefixtures("each_reader")

LEFT, RIGHT = (0, 0, 5, 10), (5, 0, 10, 10)


@pytest.fixture
def case(new_case):
    return new_case(2).video(1, 2).instance(LEFT, RIGHT).predict(LEFT, None).predict(RIGHT, RIGHT, category=2)


def message_for(case, content):
    with pytest.raises(InputError) as error:
        parse_submission(content, parse_annotations(case.content), "p.json")
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "bad", "said"),
    [
        ("video_id", 7, ["[1]", "video_id: found 7"]),
        ("video_id", "1", ["video_id: found '1'"]),
        ("category_id", 0, ["category_id: found 0", "1 (kind1), 2 (kind2)"]),
        ("category_id", True, ["category_id: found True"]),
        ("score", float("nan"), ["score: found nan", "finite"]),
        ("score", float("inf"), ["score: found inf"]),
        ("score", 10**400, ["score: found 1000"]),
        ("score", "0.5", ["score: found '0.5'"]),
        ("segmentations", None, ["segmentations: found NoneType"]),
        ("segmentations", [None], ["found 1 frames, but video 1 has 2", "null"]),
        ("segmentations", [None] * 3, ["found 3 frames, but video 1 has 2"]),
        ("segmentations", [None, {"size": [10, 11], "counts": "x"}], ["segmentations[1]", "[10, 11]", "[10, 10]"]),
        ("segmentations", [None, {"size": [10, 10]}], ["found no counts"]),
        ("segmentations", [None, {"size": [10, 10], "counts": [0, 100]}], ["counts of type list", "compressed"]),
        ("segmentations", [None, {"size": [10, 10], "counts": "\x7f!"}], ["counts: not a compressed"]),
        ("segmentations", [None, {"size": [10, 10], "counts": "P"}], ["counts: not a compressed"]),
        ("segmentations", [None, {"size": [10, 10], "counts": ""}], ["counts: not a compressed"]),
        ("segmentations", [None, {"size": [10, 10], "counts": "0" * 9}], ["runs add up to 0 pixels, expected 100"]),
        ("segmentations", [None, {"size": [10, 10], "counts": "O" + "U3"}], ["runs add up to"]),
        ("segmentations", [None, 3], ["segmentations[1]: found int"]),
    ],
)
def test_a_bad_prediction_is_refused_with_its_place_and_what_was_found(case, key, bad, said):
    case.predictions[1][key] = bad
    message = message_for(case, case.predictions)
    for words in ["p.json: [1]", *said]:
        assert words in message


def test_all_problems_of_predictions_are_listed_at_once(case):
    del case.predictions[0]["score"], case.predictions[0]["video_id"]
    case.predictions[1] |= {"video_id": 3, "category_id": 9, "score": None}
    lines = message_for(case, [*case.predictions, "x"]).splitlines()
    assert len(lines) == 5
    assert "missing video_id, score" in lines[0]
    assert "found str" in lines[4]


def test_problems_beyond_the_listed_ones_are_counted(case):
    assert message_for(case, [3] * 100).splitlines()[-1] == "p.json: and 70 more problems"


def test_predictions_that_are_no_list_are_refused(case):
    assert "found dict at the top, expected the list of predictions" in message_for(case, {"results": []})


def test_an_empty_list_of_predictions_is_accepted(case):
    assert parse_submission([], parse_annotations(case.content)).predictions == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("annotations"), ["missing annotations", "YouTube-VIS"]),
        (set_in("annotations", None), ["annotations: found None", "cannot be evaluated"]),
        (set_in("annotations", []), ["annotations: found []"]),
        (set_in("annotations", {"a": 1}), ["annotations: found {'a': 1}"]),
        (set_in("videos", []), ["videos: found []"]),
        (set_in("categories", [{"id": 1}]), ["categories[0]: missing name"]),
        (set_in("categories", 1, "id", 1), ["id 1 occurs twice"]),
        (set_in("categories", 1, "name", "kind1"), ["name 'kind1' occurs twice"]),
        (set_in("videos", 0, "height", 0), ["videos[0]: height: found 0"]),
        (set_in("videos", 0, "length", 3), ["annotations[0]: segmentations: found 2 frames, but video 1 has 3"]),
        (set_in("annotations", 0, "id", 0), ["id: found 0"]),
        (set_in("annotations", 0, "video_id", 4), ["video_id: found 4"]),
        (set_in("annotations", 0, "category_id", 3), ["category_id: found 3, expected one of [1, 2]"]),
        (set_in("annotations", 0, "iscrowd", "no"), ["iscrowd: found 'no'"]),
        (set_in("annotations", 0, "areas", ["big", None]), ["areas[0]: found 'big'"]),
        (set_in("annotations", 0, "attributes", ["fog"]), ["attributes: found list, expected an object"]),
        (set_in("annotations", 0, "segmentations", 0, [[1, 2, 3]]), ["segmentations[0]: polygon"]),
        (set_in("annotations", 0, "segmentations", 0, {"size": [10, 10], "counts": [5, 5]}), ["add up to 10 pixels"]),
        (
            set_in("annotations", 0, "segmentations", 0, {"size": [10, 10], "counts": [110, -10]}),
            ["add up to 100", "below 0"],
        ),
        (
            set_in("annotations", 0, "segmentations", 0, {"size": [10, 10], "counts": [50.5, 49.5]}),
            ["expected integers only"],
        ),
        (
            set_in("annotations", 0, "segmentations", 0, {"size": [10, 10], "counts": [2**32 + 50, 50]}),
            ["runs add up to"],
        ),
        (set_in("annotations", 0, "segmentations", 0, {"size": [10, 10], "counts": []}), ["add up to 0 pixels"]),
    ],
)
def test_a_bad_annotation_is_refused_with_its_place_and_what_was_found(case, change, said):
    content = copy.deepcopy(case.content)
    change(content)
    with pytest.raises(InputError) as error:
        parse_annotations(content, "gt.json")
    for words in ["gt.json", *said]:
        assert words in str(error.value)


@pytest.mark.parametrize(
    "runs",
    [
        "[50,,50]",
        "[50, 50,]",
        "[5 0, 50]",
        "[50, 4294967346]",
        "[50, -50, 100]",
        "[]",
        "[50, ,100]",
        "[50, 50, ]",
        "[50, +50]",
        "[50, 5e1]",
        "[50, 50}",
    ],
)
def test_broken_plain_runs_of_a_file_are_refused(case, tmp_path, runs):
    path = tmp_path / "gt.json"
    case.content["annotations"][0]["segmentations"][0] = {"size": [10, 10], "counts": "here"}
    path.write_text(json.dumps(case.content).replace('"here"', runs))
    with pytest.raises(InputError):
        read_annotations(path)


def test_a_number_too_long_for_python_is_refused_as_invalid_json(case, tmp_path):
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(case.content).replace('"length": 2', '"length": ' + "2" * 5000))
    with pytest.raises(InputError, match="not valid JSON"):
        read_annotations(path)


@pytest.mark.parametrize("key", ["height", "width", "length"])
@pytest.mark.parametrize("value", [0, -1, 2**20 + 1, 10**9, 2**70, True, 1.0])
def test_an_impossible_size_of_a_video_is_refused(case, key, value):
    case.content["videos"][0][key] = value
    with pytest.raises(InputError, match=f"{key}: found .*, expected an integer from 1 to (16384|1048576)"):
        parse_annotations(case.content)


def test_a_json_error_behind_plain_runs_is_reported_at_its_place_in_the_file(case, tmp_path):
    path = tmp_path / "gt.json"
    case.content["annotations"][0]["segmentations"] = [{"size": [10, 10], "counts": [3, 5, 12, 80]}] * 2
    text = json.dumps(case.content)
    path.write_text(text[:-1] + "?}")
    with pytest.raises(InputError, match=rf"\(char {len(text) - 1}\)"):
        read_annotations(path)


@pytest.mark.parametrize("indent", [None, 1])
def test_plain_runs_of_a_file_are_those_of_its_content(case, tmp_path, indent):
    path = tmp_path / "gt.json"
    case.content["annotations"][0]["segmentations"] = [{"size": [10, 10], "counts": [3, 5, 12, 80]}, None]
    path.write_text(json.dumps(case.content, indent=indent))
    (read,), (parsed,) = (found.tracks for found in (read_annotations(path), parse_annotations(case.content)))
    assert read.masks.run_lengths() == parsed.masks.run_lengths()
    assert read.masks.areas_T.tolist() == [85, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no such file"), ("", "the file is empty"), ("[1, ", "not valid JSON"), ("\udcff", "not UTF-8")],
)
def test_an_unreadable_file_is_refused_with_its_path(case, tmp_path, text, said):
    path = tmp_path / "file.json"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    truth = parse_annotations(case.content)
    for read in (lambda: read_annotations(path), lambda: read_submission(path, truth)):
        with pytest.raises(InputError, match=said) as error:
            read()
        assert str(path) in str(error.value)


def test_nan_written_by_python_is_refused_as_a_score(case, tmp_path):
    case.predictions[0]["score"] = float("nan")
    path = tmp_path / "p.json"
    path.write_text(json.dumps(case.predictions))
    with pytest.raises(InputError, match="score: found nan"):
        read_submission(path, parse_annotations(case.content))
