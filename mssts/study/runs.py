"""The runs of a study as found on disk: what was measured, by which run, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mssts import config as configuration
from mssts.config import PRETRAIN, Study
from mssts.core.errors import InputError
from mssts.core.files import read_json, sha256_file
from mssts.study.matrix import RunKey, is_measured, run_keys
from mssts.study.paths import foreign_dir, run_dir

BASELINE = "baseline"
METRICS = ("AP", "AP50", "AP75", "AR1", "AR10", "AP_agnostic")


@dataclass(frozen=True)
class Run:
    """One training run of a study. record: its run.json without the config; None if it has not been run."""

    dataset: str
    backbone: str
    variant: str
    seed: int
    directory: Path
    record: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The run as a report names it: no path, no time."""
        return f"{self.dataset}/{self.backbone}/{self.variant}/seed{self.seed}"


@dataclass(frozen=True)
class Result:
    """One run on one split. metrics: the content of metrics.json (0..1); None if it has not been evaluated."""

    run: Run
    split: str
    metrics: dict[str, Any] | None

    @property
    def matches(self) -> Path:
        """File of the per-video match records."""
        return self.run.directory / self.split / "matches.npz"

    def value(self, metric: str) -> float | None:
        """A metric of `METRICS` over the whole split in percent; None where it is undefined or not run."""
        return _value(self.metrics, metric)

    def attribute(self, attribute: str, metric: str) -> float | None:
        """AP, AP75 or AP_agnostic over the instances with an attribute, in percent; None where undefined."""
        if self.metrics is None or attribute not in self.metrics["attributes"]:
            return None
        return _percent(self.metrics["attributes"][attribute].get(metric))


@dataclass(frozen=True)
class Foreign:
    """Another method's results on the study's first dataset and split. metrics: None if not evaluated yet."""

    title: str
    dataset: str
    split: str
    metrics: dict[str, Any] | None

    def value(self, metric: str) -> float | None:
        """As `Result.value`."""
        return _value(self.metrics, metric)


@dataclass(frozen=True)
class StudyRuns:
    """Every run and result that a study asks for, in the order of the study's file, present or not."""

    name: str
    study: Study
    titles: dict[str, str]
    runs: tuple[Run, ...]
    results: tuple[Result, ...]
    foreign: tuple[Foreign, ...] = ()

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """Variants in the study's order, the pre-trained checkpoint first."""
        return (PRETRAIN, *self.study.variants)

    @cached_property
    def commit(self) -> str | None:
        """The commit of most runs; the first of the study's order among equals; None if nothing has been run."""
        commits = Counter(run.record["commit"] for run in self.runs if run.record)
        return commits.most_common(1)[0][0] if commits else None

    @cached_property
    def results_by_key(self) -> dict[tuple[str, str, str, str, int], Result]:
        """Results by (dataset, split, backbone, variant, seed)."""
        return {(r.run.dataset, r.split, r.run.backbone, r.run.variant, r.run.seed): r for r in self.results}

    def select(self, dataset: str, split: str, backbone: str, variant: str) -> list[Result]:
        """Results of one variant over its seeds, present or not."""
        wanted = (dataset, split, backbone, variant)
        return [result for key, result in self.results_by_key.items() if key[:4] == wanted]

    def settings(self) -> list[tuple[str, str, str]]:
        """(dataset, split, backbone) in the study's order."""
        study = self.study
        return [(d, s, b) for d in study.datasets for s in study.splits for b in study.backbones]


def _value(metrics: dict[str, Any] | None, metric: str) -> float | None:
    if metrics is None:
        return None
    section, key = ("class_agnostic", "AP") if metric == "AP_agnostic" else ("overall", metric)
    return _percent(metrics[section][key])


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _check(record: dict[str, Any] | None, expected: dict[str, Any], path: Path, study: str) -> None:
    if not isinstance(record, dict):
        raise InputError(
            f"{path}: found no record of the run that made it, expected one. "
            "Evaluate again with the run's run.json (mssts evaluate --run)."
        )
    for key, value in expected.items():
        if record.get(key) != value:
            raise InputError(
                f"{path}: {key}: found {record.get(key)!r}, but study {study!r} resolves to {value!r}. "
                "The file comes from another configuration: delete the run's directory and run the study again."
            )


def _read_run(study_name: str, study: Study, key: RunKey, digest: str) -> tuple[Run, dict[str, Any]]:
    dataset, backbone, variant, seed = key
    directory = run_dir(study.scale, dataset, backbone, variant, seed)
    expected = {"dataset": dataset, "backbone": backbone, "variant": variant, "seed": seed, "config_digest": digest}
    path = directory / "run.json"
    record = None
    if path.is_file():
        record = {name: value for name, value in read_json(path).items() if name != "config"}
        _check(record, expected, path, study_name)
    return Run(dataset, backbone, variant, seed, directory, record), expected


def collect(name: str) -> StudyRuns:
    """The runs and results of a study.

    Raises:
        InputError: for a run.json or metrics.json that disagrees with the study on dataset, backbone, variant, seed
            or config digest, or a metrics.json that was made from another checkpoint than the run's present one.
    """
    study = configuration.load_study(name)
    configs = {variant: configuration.resolve(study.scale, variant) for variant in {BASELINE, *study.variants}}
    digests = {variant: configuration.digest(config) for variant, config in configs.items()}
    digests[PRETRAIN] = configuration.digest(configs[BASELINE], PRETRAIN)
    runs, results = [], []
    for key in run_keys(study, configs[BASELINE]):
        run, expected = _read_run(name, study, key, digests[key[2]])
        runs.append(run)
        for split in study.splits if is_measured(run.dataset, run.variant) else []:
            path = run.directory / split / "metrics.json"
            metrics = read_json(path) if path.is_file() else None
            if metrics is not None:
                checkpoint = {"checkpoint_sha256": run.record["checkpoint_sha256"]} if run.record else {}
                _check(metrics["produced_by"].get("run"), expected | checkpoint, path, name)
            results.append(Result(run, split, metrics))
    titles = {PRETRAIN: "pre-trained"}
    titles |= {variant: configuration.load_variant(variant).title for variant in study.variants}
    return StudyRuns(name, study, titles, tuple(runs), tuple(results), tuple(_foreign(study)))


def _foreign(study: Study) -> Iterator[Foreign]:
    """Other methods of the study. Raises InputError for metrics that were made from another file than the present."""
    for title, results in study.foreign.items():
        dataset, split = study.datasets[0], study.splits[0]
        path = foreign_dir(study.scale, dataset, title, split) / "metrics.json"
        metrics = read_json(path) if path.is_file() else None
        if metrics is not None and Path(results).is_file():
            present, known = sha256_file(Path(results)), metrics["produced_by"]["predictions_sha256"]
            if present != known:
                raise InputError(
                    f"{path}: was made from predictions {known[:12]}, but {results} now is {present[:12]}. "
                    f"Evaluate {title} again (mssts evaluate)."
                )
        yield Foreign(title, dataset, split, metrics)
