"""The benchmarks run, at a size too small to measure anything."""

import importlib
import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from mssts.evaluation.evaluate import evaluate
from mssts.evaluation.statistics import bootstrap_intervals, resampled_metrics, resamples_of_videos

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_of_the_evaluation_benchmark_are_valid(tmp_path):
    files = load("evaluation").generate(tmp_path, 1)
    metrics = evaluate(*files, tmp_path / "metrics.json")
    assert 0 < metrics["overall"]["AP50"] <= 1
    assert len(json.loads(files[1].read_text())) == 10
    assert [warning["what"].partition(" ")[0] for warning in metrics["warnings"]] == ["categories"]  # 40, in one video


@pytest.mark.parametrize("seed", range(6))
def test_the_cases_of_the_parity_benchmark_are_evaluated_leniently(tmp_path, seed):
    truth, predictions = load("evaluation_parity").random_case(np.random.default_rng(seed), lenient=True)
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "p.json").write_text(json.dumps(predictions))
    metrics = evaluate(tmp_path / "gt.json", tmp_path / "p.json", tmp_path / "metrics.json", lenient=True)
    assert metrics["produced_by"]["videos"] == len(truth["videos"])


@pytest.mark.parametrize("categories", [1, 5])
def test_the_interval_is_close_to_the_simulated_difference(categories):
    simulation = load("statistics_coverage")
    methods = simulation.simulate(np.random.default_rng(0), 300, categories, (0.0, simulation.SHIFT))
    weights = resamples_of_videos(300, 60, np.random.default_rng(1))
    first, second = (resampled_metrics(records, weights, ("AP",))["AP"] for records in methods)
    [(interval, _)] = bootstrap_intervals((second - first)[None], [300])
    assert 0.02 < interval.low < (second - first)[0] < interval.high < 0.15


def test_the_family_of_the_benchmark_has_every_measure_that_is_not_too_small(capsys):
    options = {"categories": 2, "objects": 4, "videos": [120], "sets": 1, "replicates": 19, "seed": 0}
    load("statistics_coverage").family(Namespace(**options))
    assert "families of 36" in capsys.readouterr().out  # four methods, three metrics and six challenges


def test_another_version_is_measured_by_its_own_code(tmp_path):
    (tmp_path / "mssts").mkdir()
    (tmp_path / "mssts/__init__.py").write_text("")
    script = tmp_path / "ask.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import argparse, rounds, mssts\n"
        "serve = lambda: (argparse.Namespace(), lambda: {'file': mssts.__file__})\n"
        "rounds.run(argparse.ArgumentParser(), None, serve)\n"
    )
    with importlib.import_module("rounds").contenders(str(script), {"other": {}}, tmp_path) as started:
        assert Path(started["other"].ask(quantity="time")["file"]) == tmp_path / "mssts/__init__.py"
