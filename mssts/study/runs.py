"""The runs of a study as found on disk: what was measured, by which run, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mssts.config import PRETRAIN, TRAIN, digest
from mssts.core.errors import InputError
from mssts.core.files import read_json, sha256_file
from mssts.study.matrix import run_keys
from mssts.study.paths import external_dir, external_name, run_dir, split_dir
from mssts.study.resolve import ResolvedStudy

METRICS = ("AP", "AP50", "AP75", "AR1", "AR10", "AP_agnostic")


class Benchmark(NamedTuple):
    """What two results share that may be compared."""

    dataset: str
    split: str
    backbone: str


@dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
        dataset, backbone, variant, seed: As in `matrix.RunKey`.
        directory: Where its files lie.
        record: Its run.json without the configuration; None if it has not been run.
    """

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
    """One run on one split. metrics: content of metrics.json (0..1); None if it has not been evaluated."""

    run: Run
    split: str
    metrics: dict[str, Any] | None

    @property
    def matches(self) -> Path:
        """File of the match records of every video."""
        return split_dir(self.run.directory, self.split) / "matches.npz"

    def value(self, metric: str) -> float | None:
        """A metric of `METRICS` over the whole split in percent; None where it is undefined or not run."""
        return _value(self.metrics, metric)

    def attribute(self, attribute: str, metric: str) -> float | None:
        """AP, AP75 or AP_agnostic over the instances with an attribute, in percent; None where undefined."""
        if self.metrics is None or attribute not in self.metrics["attributes"]:
            return None
        return _percent(self.metrics["attributes"][attribute].get(metric))


@dataclass(frozen=True)
class External:
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
    """Every run and result that a study asks for, in the order of its file, present or not."""

    study: ResolvedStudy
    runs: tuple[Run, ...]
    results: tuple[Result, ...]
    external: tuple[External, ...] = ()

    @cached_property
    def commit(self) -> str | None:
        """The commit of most runs; the first of the study's order among equals; None if nothing has been run."""
        commits = Counter(run.record["commit"] for run in self.runs if run.record)
        return commits.most_common(1)[0][0] if commits else None

    def select(self, dataset: str, split: str, backbone: str, variant: str) -> list[Result]:
        """Results of one variant over its seeds, present or not."""
        wanted = (dataset, split, backbone, variant)
        return [r for r in self.results if (r.run.dataset, r.split, r.run.backbone, r.run.variant) == wanted]

    def benchmarks(self) -> list[Benchmark]:
        """Every dataset, split and backbone in the study's order."""
        spec = self.study.spec
        return [Benchmark(d, s, b) for d in spec.datasets for s in spec.splits for b in spec.backbones]

    def by_variant(self) -> Iterator[tuple[Benchmark, str, list[Result]]]:
        """Benchmark, variant and results over seeds of every variant that is measured, the pre-trained one first."""
        for benchmark in self.benchmarks():
            for variant in (PRETRAIN, *self.study.spec.variants):
                if results := self.select(*benchmark, variant):
                    yield benchmark, variant, results


def _value(metrics: dict[str, Any] | None, metric: str) -> float | None:
    if metrics is None:
        return None
    section, key = ("class_agnostic", "AP") if metric == "AP_agnostic" else ("overall", metric)
    return _percent(metrics[section][key])


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def collect(study: ResolvedStudy) -> StudyRuns:
    """Read the records and metrics of all runs of a study.

    Raises:
        InputError: A run.json or metrics.json disagrees with the study on dataset, backbone, variant, seed or
            configuration digest, or a metrics.json was made from another checkpoint than the run's present one.
    """
    runs, results = [], []
    for key in run_keys(study):
        stage = PRETRAIN if key.variant == PRETRAIN else TRAIN
        expected = key._asdict() | {"config_digest": digest(study.config(key.variant), stage)}
        directory = run_dir(study.spec.scale, *key)
        record = _read(directory / "run.json")
        if record is not None:
            _check(record, expected, directory / "run.json", study.name)
            record.pop("config", None)
            expected["checkpoint_sha256"] = record["checkpoint_sha256"]
        run = Run(*key, directory, record)
        runs.append(run)
        for split in study.spec.splits if key.is_measured else []:
            path = split_dir(directory, split) / "metrics.json"
            metrics = _read(path)
            if metrics is not None:
                _check(metrics["produced_by"].get("run"), expected, path, study.name)
            results.append(Result(run, split, metrics))
    return StudyRuns(study, tuple(runs), tuple(results), tuple(_external(study)))


def _read(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def _check(record: Any, expected: dict[str, Any], path: Path, study: str) -> None:
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


def _external(study: ResolvedStudy) -> Iterator[External]:
    """Other methods of the study. Raises InputError for metrics that were made from another file than the present."""
    for title, results in study.spec.external.items():
        dataset, split = study.spec.datasets[0], study.spec.splits[0]
        path = external_dir(study.spec.scale, dataset, external_name(title), split) / "metrics.json"
        metrics = _read(path)
        if metrics is not None and Path(results).is_file():
            present, known = sha256_file(Path(results)), metrics["produced_by"]["predictions_sha256"]
            if present != known:
                raise InputError(
                    f"{path}: was made from predictions {known[:12]}, but {results} now is {present[:12]}. "
                    f"Evaluate {title} again (mssts evaluate)."
                )
        yield External(title, dataset, split, metrics)
