"""The report of a study on a user's videos: only what belongs to the study is missing when it has not been run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mssts import config as configuration
from mssts.core.errors import InputError
from mssts.report.document import report_data, write_document
from mssts.report.tables import attributes, limitations, provenance, published, results, write_tables
from mssts.study.complexity import write_complexity
from mssts.study.complexity_file import FILE
from mssts.study.resolve import load_study
from tests.report import fake_runs
from tests.report.fake_runs import runs_of, table_of


@pytest.fixture
def users_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Study `users` on YouTube-VIS 2019, nothing of it run yet."""
    monkeypatch.chdir(tmp_path)
    fake_runs.write_ablations(tmp_path)
    study = (tmp_path / "ablations/studies/fake.yaml").read_text()
    study = study.replace("[synthvis]", "[ytvis2019]").replace("[valid, control]", "[local_valid]")
    (tmp_path / "ablations/studies/users.yaml").write_text(study)
    return tmp_path


def start_from(root: Path, checkpoint: str) -> None:
    """Let the study start from a checkpoint instead of a stage of its own."""
    scale = root / "ablations/scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("\ntrain: {", f"\ntrain: {{init: {checkpoint}, "))


def finish(root: Path) -> None:
    """Write every run and result of the study, as its own scale resolves."""
    for run in runs_of("users").runs:
        splits = {} if run.variant == configuration.PRETRAIN else {"local_valid": 4}
        fake_runs.write_run(run.variant, run.seed, splits, dataset=run.dataset)


def test_a_report_quotes_the_poster_on_its_own_dataset_in_tables_apart(users_study: Path) -> None:
    for dataset, rows, size in (("ytvis2019", 27, 2), ("ytvis2021", 7, 2)):
        study = users_study / "ablations/studies/users.yaml"
        study.write_text(study.read_text().replace("ytvis2019", dataset))
        poster, sizes = (table.document() for table in published.parts(runs_of("users")))
        quoted = [row for block in poster["blocks"] for row in block["rows"]]
        assert len(quoted) == rows and sum(len(block["rows"]) for block in sizes["blocks"]) == size
        assert f"YouTube-VIS {dataset[-4:]} val, quoted" in poster["blocks"][0]["label"]
        names = {row[0]["text"] if isinstance(row[0], dict) else row[0] for row in quoted}
        assert "MS-STS VIS" in names and names.isdisjoint(results.parts(runs_of("users"))[0].frame["Variant"])
        assert {row[0]["mark"] for row in quoted if isinstance(row[0], dict)} == {m for m, _ in poster["footnotes"]}
        assert set(published.frame(runs_of("users"))["dataset"]) == {f"YouTube-VIS {dataset[-4:]}"}


@pytest.mark.parametrize("split", ["local_valid", "valid"])
def test_only_a_split_that_was_held_out_is_called_a_part_of_the_training_videos(users_study: Path, split: str) -> None:
    study = users_study / "ablations/studies/users.yaml"
    study.write_text(study.read_text().replace("local_valid", split))
    [part] = limitations.parts(runs_of("users"))
    assert ("part of the training videos" in " ".join(part.sentences)) == (split == "local_valid")


def test_the_coco_stage_is_a_run_and_no_result(users_study: Path) -> None:
    runs = runs_of("users")
    assert [run.variant for run in runs.runs].count("pretrain") == 1
    assert {result.run.variant for result in runs.results} == {"baseline", "ms_sts", "temporal"}
    [table] = results.parts(runs_of("users"))
    assert "pre-trained" not in set(table.frame["Variant"])


def test_a_study_that_starts_from_a_checkpoint_has_no_pretraining_run(users_study: Path) -> None:
    start_from(users_study, "weights/seqformer.pt")
    runs = runs_of("users")
    assert len(runs.runs) == len(runs.results) == 3 * 2
    assert "pretrain" not in {run.variant for run in runs.runs}


@pytest.mark.parametrize("init", ["pretrain", "weights/seqformer.pt"])
def test_a_finished_study_never_prints_not_run(users_study: Path, init: str) -> None:
    if init != "pretrain":
        start_from(users_study, init)
    finish(users_study)
    folder = users_study / "reports/users"
    write_tables(runs_of("users"))
    write_complexity(load_study("users"), folder / FILE)
    found = runs_of("users")
    data = report_data(found)
    assert data["warnings"] == []
    assert set(provenance.frame(found)["start"]) == ({"none", "pretrain 1"} if init == "pretrain" else {"aa" * 6})
    assert not attributes.frame(found).empty
    parts = [part for section in data["sections"] for part in section["parts"] if part["kind"] != "picture"]
    assert "not run" not in json.dumps([data["facts"], parts])
    assert (
        table_of(data, "results")["blocks"][0]["label"]
        == "This study: dataset ytvis2019, local valid split, backbone tiny"
    )
    assert "of held-out training videos: not comparable" in table_of(data, "results")["note"]


@pytest.mark.parametrize(
    ("datasets", "splits", "expected"),
    [
        ("[ytvis2019]", "[local_valid]", "Local split (local_valid) of held-out training videos: not"),
        ("[ytvis2019]", "[valid]", "Local split (valid) of validation videos with the user's ground truth: not"),
        ("[ytvis2019]", "[train]", "Local split (train) of training videos: not"),
        (
            "[ytvis2019]",
            "[local_valid, valid]",
            "Local splits (local_valid, valid) of held-out training videos and validation videos with the user's",
        ),
        ("[synthvis, ytvis2019]", "[valid]", "of this project's own data and validation videos with the user's ground"),
        ("[synthvis]", "[valid]", "Local split (valid) of this project's own data: not"),
    ],
)
def test_the_results_say_what_their_videos_are(users_study: Path, datasets: str, splits: str, expected: str) -> None:
    path = users_study / "ablations/studies/users.yaml"
    path.write_text(path.read_text().replace("[ytvis2019]", datasets).replace("[local_valid]", splits))
    assert expected in results.parts(runs_of("users"))[0].note


def test_scores_of_a_server_stand_apart_and_only_for_the_studys_datasets(users_study: Path) -> None:
    folder = users_study / "reports/users"
    write_tables(runs_of("users"))
    write_complexity(load_study("users"), folder / FILE)
    with pytest.raises(StopIteration):
        table_of(report_data(runs_of("users")), "server_scores")
    score = {"study": "paper-2019-official", "split": "valid", "backbone": "resnet50", "variant": "baseline", "seed": 1}
    score |= {"server": "CodaLab", "date": "2026-01-05", "AP": 47.4, "AP50": 69.8, "AP75": 51.8, "AR1": 45.5}
    scores = [score | {"AR10": ar10, "dataset": name} for name, ar10 in (("ytvis2019", 54.8), ("ytvis2021", 11.1))]
    (users_study / "server_scores.yaml").write_text(yaml.safe_dump({"scores": scores}))
    data = report_data(runs_of("users"))
    [block] = table_of(data, "server_scores")["blocks"]
    assert block["label"] == "Official server: dataset ytvis2019, valid split"
    assert [row[4:9] for row in block["rows"]] == [["47.4", "69.8", "51.8", "45.5", "54.8"]]
    assert "entered by hand" in table_of(data, "server_scores")["note"]
    assert "47.4" not in json.dumps([table_of(data, "results"), table_of(data, "ablation")])
    write_document(runs_of("users"), users_study / "table.pdf")
    assert (users_study / "table.pdf").read_bytes().startswith(b"%PDF")


def test_a_result_of_another_start_is_refused(users_study: Path) -> None:
    finish(users_study)
    start_from(users_study, "weights/seqformer.pt")
    with pytest.raises(InputError, match="config_digest"):
        runs_of("users")
