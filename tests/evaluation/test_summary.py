"""What `mssts evaluate` prints: every number of metrics.json that a reader looks for, in the form that they know."""

from __future__ import annotations

import json
import sys

import pytest

from mssts import cli
from mssts.core.files import read_record
from mssts.evaluation.summary import summary

NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
NAMES += ["AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"]


def metrics(first: float) -> dict:
    return {name: first + number / 1000 for number, name in enumerate(NAMES)}


CONTENT = {
    "overall": metrics(0.1) | {"AP_large": None},
    "class_agnostic": metrics(0.2),
    "per_category": {"duck": metrics(0.3), "a\x1b[31mgoose": metrics(0.4)},
    "attributes": {"fog": {"AP": 0.5, "AP75": None, "AP_agnostic": 0.6}},
}


def test_the_twelve_lines_are_those_of_pycocotools():
    lines = summary(CONTENT).split("\n")[:12]
    assert lines[0] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.100"
    assert lines[1] == " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.101"
    assert lines[5] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = -1.000"
    assert lines[6] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.106"
    assert lines[7] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 0.107"
    assert lines[10] == " Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.110"


def test_challenges_and_categories_have_their_rows_and_no_control_characters():
    text = summary(CONTENT, per_category=True)
    rows = {line.split("  ")[0]: line.split()[-5:] for line in text.split("\n")[12:] if line.strip()}
    assert rows["class-agnostic"] == ["0.200", "0.201", "0.202", "0.206", "0.207"]
    assert rows["duck"] == ["0.300", "0.301", "0.302", "0.306", "0.307"]
    assert "shows fog   0.500  -1.000" in text and "\x1b" not in text
    assert "duck" not in summary(CONTENT)


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_prints_what_it_writes(root, tmp_path, monkeypatch, capsys, as_json):
    data, output = root / "tests/evaluation/data", tmp_path / "metrics.json"
    files = ["--annotations", data / "evaluation_small.gt.json"]
    files += ["--predictions", data / "evaluation_small.predictions.json", "--output", output]
    monkeypatch.setattr(sys, "argv", ["mssts", "evaluate", *map(str, files), *(["--json"] if as_json else [])])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    told, written = capsys.readouterr().out, read_record(output)
    if as_json:
        assert json.loads(told) == {key: value for key, value in written.items() if key != "record_sha256"}
    else:
        assert f"maxDets=100 ] = {written['overall']['AP']:.3f}" in told and f"{output}: written." in told
