"""Scores of a server are shown as official, and refused when a number or a name cannot be right."""

from __future__ import annotations

import pytest
import yaml

from mssts import cli
from mssts.core.errors import InputError
from mssts.study.server_scores import FILE

SCORE = {"study": "paper-2019-official", "dataset": "ytvis2019", "split": "valid", "backbone": "resnet50"}
SCORE |= {"variant": "baseline", "seed": 1, "server": "CodaLab 20128", "date": "2026-01-05"}
SCORE |= {"AP": 47.4, "AP50": 69.8, "AP75": 51.8, "AR1": 45.5, "AR10": 54.8}


@pytest.fixture(autouse=True)
def workplace(root, tmp_path, monkeypatch):
    (tmp_path / "ablations").symlink_to(root / "ablations")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def printed(capsys):
    """A function that enters one score and says what the command prints."""

    def enter(**changes) -> str:
        FILE.write_text(yaml.safe_dump({"scores": [SCORE | changes]}))
        cli.server_scores("paper-2019-official")
        return capsys.readouterr().out

    return enter


def test_a_score_stands_above_the_word_official(printed):
    text = printed()
    assert "Official scores of submissions, in percent, entered by hand" in text
    numbers = "1 | 47.4 | 69.8 | 51.8 | 45.5 | 54.8 | CodaLab 20128 |"
    assert f"| ytvis2019 | valid | baseline | paper-2019-official | resnet50 | {numbers}" in text
    assert "47.4" not in printed(study="paper-2021")


def test_a_missing_file_of_scores_is_reported_in_the_table(capsys):
    cli.server_scores("demo")
    assert "No score has been entered for study demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AP": 147.4}, "server_scores.yaml: scores.0.AP: found 147.4"),
        ({"date": "yesterday"}, "scores.0.date"),
        ({"dataset": "davis"}, "dataset 'davis': unknown"),
        ({"AP_best": 3.0}, "scores.0.AP_best: unknown key"),
    ],
)
def test_impossible_values_and_unknown_names_are_refused(printed, changes, message):
    with pytest.raises(InputError, match=message):
        printed(**changes)
