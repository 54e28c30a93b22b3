"""The pages that numbers lead to: what made each run, and with which configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from mssts.config import PRETRAIN, leaves
from mssts.core.csv_files import NO_VALUE, decimals
from mssts.report.parts import EXTERNAL
from mssts.study.matrix import Run
from mssts.study.runs import ALL_INSTANCES, METRICS, Evaluated, StudyRuns

LIST = "runs.html"
"""The page that lists all runs; a number that rests on several variants leads there."""


class RunPages:
    """One page for each dataset, backbone and variant of a study, with a section for each seed."""

    def __init__(self, runs: StudyRuns) -> None:
        self._runs = runs
        self._titles = {title: name for name, title in runs.study.titles.items()}
        self._groups: dict[str, list[Run]] = {}
        for run in runs.runs:
            self._groups.setdefault(_path(*_key(run)), []).append(run)
        self._by_name = {run.name: self.of_run(run) for run in runs.runs}

    def of_run(self, run: Run) -> str:
        """Address of a run."""
        return f"{_path(*_key(run))}#seed{run.seed}"

    def of_row(self, row: Mapping[str, str]) -> str:
        """Address of the run of a row of a CSV file; empty for other methods."""
        keys = [row.get(key, "") for key in ("dataset", "backbone", "variant", "seed")]
        return self._by_name.get(row.get("run", "{}/{}/{}/seed{}".format(*keys)), "")

    def link(self, table: dict[str, Any]) -> None:
        """Give each row of a table of the document an address, and each column that stands for a variant."""
        for block in table["blocks"]:
            keys = block["keys"]
            block["hrefs"] = [self._of_cells(keys, table["columns"], row) for row in block["rows"]]
            block["column_hrefs"] = [self._of_variant(keys, title) for title in table["columns"]]

    def _of_cells(self, keys: Mapping[str, str], columns: list[str], row: list[Any]) -> str:
        cells = {
            name: cell["text"] if isinstance(cell, dict) else cell for name, cell in zip(columns, row, strict=True)
        }
        if "Run" in cells:
            return self._by_name.get(cells["Run"], "")
        if "Effect" in cells:
            return LIST
        other = cells.get("Variant", "").removesuffix(f" ({EXTERNAL})")
        if keys.get("Backbone") == NO_VALUE and other in [one.title for one in self._runs.external]:
            return f"{LIST}#external"
        return self._of_variant(keys, cells.get("Variant", ""))

    def _of_variant(self, keys: Mapping[str, str], title: str) -> str:
        """Address of a variant; a table that names no dataset and backbone is about the first ones."""
        spec = self._runs.study.spec
        dataset, backbone = keys.get("Dataset", spec.datasets[0]), keys.get("Backbone", spec.backbones[0])
        path = _path(dataset, backbone, self._titles.get(title, ""))
        return path if path in self._groups else ""

    def groups(self) -> list[dict[str, Any]]:
        """Title, address and seeds of each page."""
        return [
            {
                "href": path,
                "title": self._title(group[0]),
                "where": f"{group[0].dataset}, {group[0].backbone}",
                "seeds": [{"seed": run.seed, "is_there": run.record is not None} for run in group],
            }
            for path, group in self._groups.items()
        ]

    def externals(self) -> list[dict[str, Any]]:
        """What the numbers of each other method were computed from."""
        return [{"title": one.title} | _result(one) for one in self._runs.external if one.metrics is not None]

    def contents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Address and content of each page."""
        for path, group in self._groups.items():
            first, variant = group[0], self._runs.study.variants.get(group[0].variant)
            changes = {} if variant is None else variant.changes
            yield (
                path,
                {
                    "title": self._title(first),
                    "where": f"dataset {first.dataset}, backbone {first.backbone}",
                    "changes": [[key, _text(value)] for key, value in changes.items()],
                    "metrics": list(METRICS),
                    "runs": [self._run(run) for run in group],
                    "config": self._config(first),
                },
            )

    def _title(self, run: Run) -> str:
        return self._runs.study.titles.get(run.variant, run.variant)

    def _config(self, run: Run) -> str:
        """The configuration of which `run.json` records the digest."""
        study = self._runs.study
        if run.variant == PRETRAIN:
            config = study.pretraining(run.dataset, run.backbone, run.seed).config
        else:
            config = study.run_config(run.dataset, run.backbone, run.variant)
        return yaml.safe_dump(config.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)

    def _run(self, run: Run) -> dict[str, Any]:
        results = [result for result in self._runs.results if result.run.name == run.name]
        return {
            "name": run.name,
            "seed": run.seed,
            "folder": run.directory.as_posix(),
            "record": None if run.record is None else _pairs(run.record),
            "results": [_result(result) for result in results],
        }


def _key(run: Run) -> tuple[str, str, str]:
    return run.dataset, run.backbone, run.variant


def _path(dataset: str, backbone: str, variant: str) -> str:
    return f"runs/{dataset}.{backbone}.{variant}.html"


def _result(result: Evaluated) -> dict[str, Any]:
    if result.metrics is None:
        return {"split": result.split, "values": None}
    made_by = {key: value for key, value in result.metrics["produced_by"].items() if key not in ("run", "split")}
    values = [decimals(result.value(ALL_INSTANCES, name)) for name in METRICS]
    return {"split": result.split, "values": values, "produced_by": _pairs(made_by)}


def _pairs(record: Mapping[str, Any]) -> list[list[str]]:
    return [[key.replace("_", " "), _text(value)] for key, value in leaves(dict(record), ()).items()]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    if value is None:
        return NO_VALUE
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
