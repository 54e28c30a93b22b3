"""The tables of a study as CSV, Markdown and LaTeX; of their own rows only, published ones stand in a file apart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mssts.config import PRETRAIN
from mssts.core.files import read_json
from mssts.data.datasets import is_generated
from mssts.evaluation.errors import KINDS
from mssts.report import ablation
from mssts.report.formats import NO_VALUE, NOT_RUN, decimals, latex, markdown, mean_and_deviation, write_csv, write_text
from mssts.report.published import read_published
from mssts.study.differences import MEASURES, differences
from mssts.study.runs import METRICS, Foreign, Result, StudyRuns, collect

TABLE_FILES = (
    *("table.csv", "table.md", "table.tex", "ablation.csv", "ablation.md", "ablation.tex"),
    *(
        "attributes.csv",
        "attributes.md",
        "errors.csv",
        "errors.md",
        "evaluation.csv",
        "provenance.csv",
        "published.csv",
        "cost.csv",
    ),
)
FOREIGN = "foreign method"
ERRORS_NOTE = (
    "AP gained over the ten IoU thresholds, in percent points, if the errors of one kind alone were repaired: "
    "right masks under the wrong category; too little overlap; an identity switch; tracks of nothing and duplicates; "
    "instances that no track is about. The gains do not add up."
)
_EVALUATED = ("annotations", "predictions")
_KEYS = ["Dataset", "Split", "Backbone", "Variant", "Seeds"]
_SUMMARY_NOTE = (
    "Mean over training seeds ± sample standard deviation, in percent. {splits} of {data}: "
    "not comparable with results on the official YouTube-VIS validation set."
)


def write_tables(study: str, output_dir: Path) -> None:
    """Write the files named in `TABLE_FILES` to `output_dir`; runs that are missing print "not run".

    Raises InputError where `collect` does, and for match records that do not belong to their metrics.
    """
    runs = collect(study)
    output_dir = Path(output_dir)
    write_csv(output_dir / "table.csv", table(runs))
    summary_frame = summary(runs)
    note = summary_note(runs)
    write_text(output_dir / "table.md", f"{markdown(summary_frame)}\n{note}\n")
    write_text(output_dir / "table.tex", latex(summary_frame, note, f"tab:{study}", text_columns=4))

    attributes_frame = attributes(runs)
    write_csv(output_dir / "attributes.csv", attributes_frame)
    write_text(output_dir / "attributes.md", markdown(attributes_frame))
    errors_frame = errors(runs)
    write_csv(output_dir / "errors.csv", errors_frame)
    write_text(output_dir / "errors.md", f"{markdown(errors_frame)}\n{ERRORS_NOTE}\n")
    write_csv(output_dir / "evaluation.csv", evaluation(runs))
    write_csv(output_dir / "provenance.csv", provenance(runs))
    write_csv(output_dir / "published.csv", read_published().rows)
    write_csv(output_dir / "cost.csv", cost(runs))
    ablation.write(runs, differences(runs, MEASURES), output_dir)


def table(runs: StudyRuns) -> pd.DataFrame:
    """One row per run and split, metrics in percent with two decimals."""
    rows = []
    for result in runs.results:
        run = result.run
        measured = result.metrics is not None
        values = {name: decimals(result.value(name)) if measured else NOT_RUN for name in METRICS}
        keys = {"dataset": run.dataset, "split": result.split, "backbone": run.backbone}
        rows.append(keys | {"variant": run.variant, "seed": str(run.seed)} | values)
    for other in runs.foreign:
        keys = dict(zip(("dataset", "split", "backbone", "variant", "seed"), _foreign_keys(other), strict=True))
        rows.append(keys | dict(zip(METRICS, _foreign_values(other), strict=True)))
    return pd.DataFrame(rows, columns=["dataset", "split", "backbone", "variant", "seed", *METRICS])


def _foreign_keys(other: Foreign) -> list[str]:
    return [other.dataset, other.split, NO_VALUE, f"{other.title} ({FOREIGN})", NO_VALUE]


def _foreign_values(other: Foreign) -> list[str]:
    return [NOT_RUN if other.metrics is None else decimals(other.value(name)) for name in METRICS]


def _seeds(results: list[Result]) -> str:
    done = sum(result.metrics is not None for result in results)
    return str(done) if done == len(results) else f"{done} of {len(results)}"


def _by_variant(runs: StudyRuns) -> Iterable[tuple[list[str], list[Result]]]:
    """Texts of `_KEYS` and results over seeds of each variant that is measured, in the study's order."""
    for dataset, split, backbone in runs.settings():
        for variant in runs.variants:
            results = runs.select(dataset, split, backbone, variant)
            if results:
                yield [dataset, split, backbone, runs.titles[variant], _seeds(results)], results


def summary(runs: StudyRuns) -> pd.DataFrame:
    """One row per variant and split: mean ± standard deviation over seeds."""
    rows = []
    for keys, results in _by_variant(runs):
        present = [result for result in results if result.metrics is not None]
        rows.append([*keys, *(mean_and_deviation([r.value(name) for r in present]) for name in METRICS)])
    rows += [[*_foreign_keys(other), *_foreign_values(other)] for other in runs.foreign]
    return pd.DataFrame(rows, columns=[*_KEYS, *METRICS])


def summary_note(runs: StudyRuns) -> str:
    """What the summary shows and what it must not be compared with."""
    splits = f"Local {'splits' if len(runs.study.splits) > 1 else 'split'} ({', '.join(runs.study.splits)})"
    generated = all(is_generated(dataset) for dataset in runs.study.datasets)
    data = "this project's own data" if generated else "held-out training videos"
    return _SUMMARY_NOTE.format(splits=splits, data=data)


def attributes(runs: StudyRuns) -> pd.DataFrame:
    """One row per variant and split with attributes: AP over the instances with each attribute, mean ± deviation.

    The last row of each dataset, split and backbone counts these instances.
    """
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for result in runs.results:
        if result.metrics is not None:
            found = counts.setdefault((result.run.dataset, result.split), {})
            found |= {name: values["instances"] for name, values in result.metrics["attributes"].items()}
    names = sorted({name for found in counts.values() for name in found})
    rows = []
    last = runs.variants[-1]
    for keys, results in _by_variant(runs):
        known = counts.get((keys[0], keys[1]), {})
        if not known:
            continue
        present = [result for result in results if result.metrics is not None]
        cells = [
            mean_and_deviation([result.attribute(name, "AP") for result in present]) if known.get(name) else NO_VALUE
            for name in names
        ]
        rows.append([*keys, *cells])
        if results[0].run.variant == last:
            rows.append([*keys[:3], "(instances)", "", *(str(known.get(name, 0)) for name in names)])
    return pd.DataFrame(rows, columns=[*_KEYS, *names])


def errors(runs: StudyRuns) -> pd.DataFrame:
    """One row per variant and split: AP gained when the errors of one kind are repaired, mean ± deviation, percent."""
    rows = []
    for keys, results in _by_variant(runs):
        rows.append([*keys, *_gains([result.metrics for result in results if result.metrics is not None])])
    rows += [[*_foreign_keys(one), *_gains([one.metrics] if one.metrics else [])] for one in runs.foreign]
    return pd.DataFrame(rows, columns=[*_KEYS, *KINDS])


def _gains(metrics: list[dict]) -> list[str]:
    gains = [[one.get("errors", {}).get(kind, {}).get("AP") for one in metrics] for kind in KINDS]
    return [mean_and_deviation([None if gain is None else 100 * gain for gain in of_kind]) for of_kind in gains]


def evaluation(runs: StudyRuns) -> pd.DataFrame:
    """One row per result, foreign ones too: the files, split and settings that its numbers were computed from."""
    named = [(result.run.name, result.split, result.metrics) for result in runs.results]
    named += [(f"{one.title} ({FOREIGN})", one.split, one.metrics) for one in runs.foreign]
    rows = []
    for name, split, metrics in named:
        by = (metrics or {}).get("produced_by", {})
        digests = [by.get(f"{what}_sha256", NOT_RUN if metrics is None else NO_VALUE) for what in _EVALUATED]
        settings = json.dumps({"lenient": by.get("lenient", False), **(by.get("settings") or {})}, sort_keys=True)
        warnings = str(sum(one["count"] for one in metrics.get("warnings", []))) if metrics else NOT_RUN
        rows.append([name, split, *digests, settings if metrics else NOT_RUN, warnings])
    return pd.DataFrame(
        rows, columns=["run", "split", *(f"{what}_sha256" for what in _EVALUATED), "settings", "warnings"]
    )


def provenance(runs: StudyRuns) -> pd.DataFrame:
    """One row per run: what made it. A run of another commit than most is marked in the column `note`."""
    rows = []
    pretrained = any(run.variant == PRETRAIN for run in runs.runs)  # else they start from a checkpoint that is named
    for run in runs.runs:
        record = run.record
        if record is None:
            rows.append([run.name, *[NOT_RUN] * 6, ""])
            continue
        note = "" if record["commit"] == runs.commit else f"another commit than most ({runs.commit})"
        data = " + ".join([record["data_fingerprint"], *filter(None, [record.get("coco_fingerprint")])])
        start = str(record["pretrain_seed"]) if pretrained and run.variant != PRETRAIN else NO_VALUE
        rows.append(
            [
                *(run.name, record["commit"], record["config_digest"], data, start),
                *(record["checkpoint_sha256"][:12], str(record["parameters"]), note),
            ]
        )
    columns = [
        "run",
        "commit",
        "config_digest",
        "data_fingerprint",
        "pretrain_seed",
        "checkpoint",
        "parameters",
        "note",
    ]
    return pd.DataFrame(rows, columns=columns)


def cost(runs: StudyRuns) -> pd.DataFrame:
    """Measured seconds and peak memory of each training; differs from one execution to the next."""
    rows = []
    for run in runs.runs:
        path = run.directory / "cost.json"
        found = read_json(path) if path.is_file() else None
        values = [f"{found['seconds']:.1f}", f"{found['peak_memory_mb']:.0f}"] if found else [NOT_RUN, NOT_RUN]
        rows.append([run.name, *values])
    return pd.DataFrame(rows, columns=["run", "seconds", "peak_memory_mb"])
