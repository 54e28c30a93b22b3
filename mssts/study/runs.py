"""The runs of a study as found on disk: what was measured, by which run, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mssts.config import PRETRAIN, TRAIN, digest
from mssts.core.errors import InputError
from mssts.core.files import read_record, verify_digest
from mssts.evaluation.matching import MatchRecords
from mssts.evaluation.records_file import BOX_MATCHES, MATCHES, read_records
from mssts.study.matrix import Run, planned_runs
from mssts.study.paths import external_dir, external_name, report_dir
from mssts.study.resolve import ResolvedStudy
from mssts.study.server_scores import METRICS as SERVER_METRICS
from mssts.study.server_scores import ServerScore, read_server_scores

BOX_AP = "AP_box"
METRICS = (*SERVER_METRICS, "AP_agnostic", BOX_AP)
ALL_INSTANCES = "all"


class Benchmark(NamedTuple):
    """What two results share that may be compared."""

    dataset: str
    split: str
    backbone: str


@dataclass(frozen=True)
class Evaluated:
    """Anything that is evaluated on a split. metrics: content of metrics.json (0..1); None if not evaluated yet."""

    split: str
    metrics: dict[str, Any] | None

    def value(self, subset: str, metric: str) -> float | None:
        """A metric in percent.

        Args:
            subset: `ALL_INSTANCES`, or an attribute for AP, AP75 or AP_agnostic over the instances that have it.
            metric: One of `METRICS`; `BOX_AP` is AP of the decoder's boxes.

        Returns:
            None where it is undefined or not run.
        """
        if self.metrics is None:
            return None
        if subset != ALL_INSTANCES:
            value = self.metrics["attributes"].get(subset, {}).get(metric)
        elif metric == "AP_agnostic":
            value = self.metrics["class_agnostic"]["AP"]
        elif metric == BOX_AP:
            value = self.metrics["boxes"]["overall"]["AP"] if "boxes" in self.metrics else None
        else:
            value = self.metrics["overall"][metric]
        return None if value is None else 100.0 * value


@dataclass(frozen=True)
class Result(Evaluated):
    """One run on one split."""

    run: Run

    @property
    def directory(self) -> Path:
        """Directory of predictions.json, metrics.json and the match records."""
        return self.run.directory / self.split

    def read_matches(self) -> MatchRecords:
        """The match records of every video. Raises InputError if they are not those that metrics.json records."""
        return read_records(self.directory / MATCHES, self.recorded("matches_sha256"))

    def read_box_matches(self) -> MatchRecords:
        """As `read_matches`, of the decoder's boxes."""
        return read_records(self.directory / BOX_MATCHES, self.recorded("box_matches_sha256"))

    def recorded(self, digest: str) -> str:
        """A digest that metrics.json records under `produced_by`."""
        return str((self.metrics or {}).get("produced_by", {}).get(digest))


@dataclass(frozen=True)
class External(Evaluated):
    """Another method's results on the study's first dataset and split."""

    title: str
    dataset: str


@dataclass(frozen=True)
class StudyRuns:
    """What has been run and measured of a study.

    Attributes:
        study: The study.
        runs: Every run that it asks for, in the order of its file, present or not.
        results: Every run that is evaluated, on every split.
        external: Results of other methods.
        server_scores: Scores of official servers on the study's datasets, whichever study was submitted.
    """

    study: ResolvedStudy
    runs: tuple[Run, ...]
    results: tuple[Result, ...]
    external: tuple[External, ...] = ()
    server_scores: tuple[ServerScore, ...] = ()

    @property
    def folder(self) -> Path:
        """Directory of the study's tables and figures."""
        return report_dir(self.study.name)

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


def read_runs(study: ResolvedStudy) -> StudyRuns:
    """Read the records and metrics of all runs of a study.

    Raises:
        InputError: A run.json or metrics.json disagrees with the study on dataset, backbone, variant, seed or
            configuration digest, or a metrics.json was made from another checkpoint than the run's present one.
    """
    runs, results = [], []
    for run in planned_runs(study):
        stage = PRETRAIN if run.variant == PRETRAIN else TRAIN
        expected = {key: getattr(run, key) for key in ("dataset", "backbone", "variant", "seed")}
        expected["config_digest"] = digest(study.run_config(run.dataset, run.backbone, run.variant), stage)
        path = run.directory / "run.json"
        record = _read(path)
        if record is not None:
            _check(record, expected, path, study.name)
            record.pop("config", None)
            expected["checkpoint_sha256"] = record["checkpoint_sha256"]
        run = replace(run, record=record)
        runs.append(run)
        for split in study.spec.splits if run.is_measured else []:
            path = run.directory / split / "metrics.json"
            metrics = _read(path)
            if metrics is not None:
                _check(metrics["produced_by"].get("run"), expected, path, study.name)
            results.append(Result(split, metrics, run))
    scores = tuple(score for score in read_server_scores() if score.dataset in study.spec.datasets)
    return StudyRuns(study, tuple(runs), tuple(results), tuple(_external(study)), scores)


def _read(path: Path) -> dict[str, Any] | None:
    return read_record(path) if path.is_file() else None


def _check(record: Any, expected: dict[str, Any], path: Path, study: str) -> None:
    if not isinstance(record, dict):
        raise InputError(
            f"{path}: does not record the run that produced it. "
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
        path = external_dir(study.folder, dataset, external_name(title), split) / "metrics.json"
        metrics = _read(path)
        if metrics is not None and Path(results).is_file():
            advice = f"{path} was computed from another version. Evaluate {title} again (mssts evaluate)."
            verify_digest(Path(results), metrics["produced_by"]["predictions_sha256"], advice)
        yield External(split, metrics, title, dataset)
