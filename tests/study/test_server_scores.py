"""Scores of a server are shown as official, and refused when a number or a name cannot be right."""

from __future__ import annotations

import pytest
import yaml

from mssts.core.errors import InputError
from mssts.study.server_scores import server_table

SCORE = {"study": "paper-2019-official", "dataset": "ytvis2019", "split": "valid", "backbone": "resnet50"}
SCORE |= {"variant": "baseline", "seed": 1, "server": "CodaLab 20128", "date": "2026-01-05"}
SCORE |= {"AP": 47.4, "AP50": 69.8, "AP75": 51.8, "AR1": 45.5, "AR10": 54.8}


def table(tmp_path, **changes):
    path = tmp_path / "server_scores.yaml"
    path.write_text(yaml.safe_dump({"scores": [SCORE | changes]}))
    return server_table("paper-2019-official", path)


def test_a_score_stands_under_the_word_official(tmp_path):
    text = table(tmp_path)
    assert text.startswith("Official scores, entered by hand")
    assert "| ytvis2019 | valid | resnet50 | baseline | 1 | 47.4 | 69.8 | 51.8 | 45.5 | 54.8 | CodaLab 20128 |" in text
    assert "47.4" not in table(tmp_path, study="paper-2021")


def test_a_missing_file_of_scores_is_reported_in_the_table(tmp_path):
    assert "No score of a server" in server_table("demo", tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"AP": 147.4}, "server_scores.yaml: scores.0.AP: found 147.4"),
        ({"date": "yesterday"}, "scores.0.date"),
        ({"dataset": "davis"}, "dataset 'davis': unknown"),
        ({"AP_best": 3.0}, "scores.0.AP_best: unknown key"),
    ],
)
def test_impossible_values_and_unknown_names_are_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        table(tmp_path, **changes)
