"""What people are told, by dry run, when a study cannot be run."""

from __future__ import annotations

import pytest


def changed_study(directory, old: str, new: str) -> None:
    path = directory / "ablations/studies/smoke.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def sources(copy_sources, tmp_path):
    return copy_sources(tmp_path / "clone")


def message(snakemake, directory, study: str = "smoke") -> str:
    run = snakemake(directory, "-n", "--cores", "1", "--config", f"study={study}")
    assert run.returncode != 0
    assert "Traceback (most recent call last)" not in run.stdout
    return run.stdout


def test_an_unknown_study_is_refused_with_the_known_ones(snakemake, sources):
    text = message(snakemake, sources, study="dmeo")
    assert "ablations/studies/dmeo.yaml: no such file" in text
    assert "Did you mean 'demo'?" in text


def test_a_missing_dataset_is_refused_with_where_to_get_it_and_where_to_put_it(snakemake, sources):
    changed_study(sources, "datasets: [synthvis]", "datasets: [ytvis2019]")
    changed_study(sources, "splits: [valid, control]", "splits: [valid]")
    text = message(snakemake, sources)
    assert "data/ytvis2019/train.json" in text
    assert "youtube-vos.org" in text


def test_an_unknown_dataset_is_refused_with_the_known_ones(snakemake, sources):
    changed_study(sources, "datasets: [synthvis]", "datasets: [sinthvis]")
    assert "dataset 'sinthvis': unknown; did you mean 'synthvis'?" in message(snakemake, sources)


def test_a_split_that_the_dataset_lacks_is_named(snakemake, sources):
    changed_study(sources, "splits: [valid, control]", "splits: [valid, test]")
    assert "splits: synthvis: found 'test'; expected one of train, valid, control" in message(snakemake, sources)
