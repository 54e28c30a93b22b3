"""Training curves, and the differences to the baseline as a dot plot."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mssts.core.errors import InputError
from mssts.report import ablation
from mssts.report.formats import NOT_RUN
from mssts.report.style import INK, PALETTE, TEXT_WIDTH, colour_and_dash, paper_style, save
from mssts.study.differences import MEASURES, WHOLE, Difference
from mssts.study.runs import StudyRuns, collect

SMOOTHING = 0.1
_RUN = ["dataset", "backbone", "variant", "seed"]
_TERMS = {
    "loss": "total",
    "loss_class": "class (focal)",
    "loss_l1": "box (L1)",
    "loss_giou": "box (GIoU)",
    "loss_mask": "mask (focal)",
    "loss_dice": "mask (dice)",
    "loss_adversary": "adversary, model's side",
    "loss_discriminator": "adversary, discriminator",
}
_MEASURE_TITLES = {"AP": "AP", "AP75": "AP75", "AP_agnostic": "class-agnostic AP"}


def write_curves(study: str, output_dir: Path) -> None:
    """Write figures/training_curves and figures/ablation, each as PDF and PNG, into `output_dir`.

    The differences are read from `output_dir`/ablation.csv, so the tables come first. Raises InputError if it is
    missing, or for a damaged log.
    """
    runs = collect(study)
    folder = Path(output_dir) / "figures"
    found = ablation.read(Path(output_dir) / "ablation.csv")
    with paper_style():
        save(training_figure(runs, read_logs(runs)), folder / "training_curves")
        save(ablation_figure(runs, found), folder / "ablation")


def read_logs(runs: StudyRuns) -> pd.DataFrame:
    """Training logs of all runs but the pre-training: columns variant, seed, step and one for each loss term."""
    frames = []
    for run in runs.runs:
        path = run.directory / "log.jsonl"
        if run.variant not in runs.study.variants or not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        try:
            frame = pd.DataFrame([json.loads(line) for line in lines if line])
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not a training log ({error}). Train the run again.") from None
        frames.append(frame.assign(variant=run.variant, seed=run.seed, dataset=run.dataset, backbone=run.backbone))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["variant", "seed", "step"])


def draw_term(axis: Axes, logs: pd.DataFrame, term: str, runs: StudyRuns) -> Axes:
    """One loss term over steps: a line per variant (mean over its runs), the range over runs as a band.

    Each run is smoothed by a running mean over `SMOOTHING` of its records, to be told apart from the noise of batches.
    """
    for position, variant in enumerate(runs.study.variants):
        own = logs[logs["variant"] == variant].dropna(subset=[term])
        if own.empty:
            continue
        over_runs = own.assign(**{term: own.groupby(_RUN)[term].transform(_smoothed)}).groupby("step")[term]
        mean, low, high = over_runs.mean(), over_runs.min(), over_runs.max()
        colour, dash = colour_and_dash(position)
        axis.plot(mean.index, mean, color=colour, linestyle=dash, label=runs.titles[variant])
        axis.fill_between(mean.index, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set_title(_TERMS[term], loc="left")
    return axis


def _smoothed(values: pd.Series) -> pd.Series:
    return values.rolling(max(1, round(SMOOTHING * len(values))), center=True, min_periods=1).mean()


def training_figure(runs: StudyRuns, logs: pd.DataFrame) -> Figure:
    """A panel for each loss term that was logged."""
    terms = [term for term in _TERMS if term in logs and logs[term].notna().any()]
    if not terms:
        return _empty_figure()
    columns = 4 if len(terms) > 6 else 3
    rows = -(-len(terms) // columns)
    legend_rows = -(-len(runs.study.variants) // 4)
    height = 1.6 * rows + 0.2 * legend_rows + 0.2
    figure, axes = plt.subplots(
        rows, columns, figsize=(TEXT_WIDTH, height), sharex=True, squeeze=False, layout="constrained"
    )
    for axis, term in zip(axes.flat, terms, strict=False):
        draw_term(axis, logs, term, runs)
    for axis in list(axes.flat)[len(terms) :]:
        axis.set_axis_off()
    figure.supxlabel("optimiser step", fontsize=8.5)
    handles: dict[str, object] = {}
    for axis in axes.flat:
        handles |= {label: line for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, handlelength=2.4)
    return figure


def draw_differences(axis: Axes, family: list[Difference], titles: dict[str, str]) -> Axes:
    """A dot with its interval for each variant; filled where the interval excludes zero; "not run" in words."""
    axis.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for row, difference in enumerate(family):
        if difference.mean is None:
            text = NOT_RUN if not difference.seeds else "undefined"
            axis.annotate(text, (0, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)
            continue
        excludes_zero = difference.low > 0 or difference.high < 0
        axis.plot([difference.low, difference.high], [row, row], color=PALETTE[0], linewidth=1.4, zorder=2)
        face = PALETTE[0] if excludes_zero else "white"
        axis.plot(
            difference.mean,
            row,
            "o",
            markersize=4.5,
            color=PALETTE[0],
            markerfacecolor=face,
            markeredgewidth=1.1,
            zorder=3,
        )
    axis.set_yticks(range(len(family)), [titles[difference.variant] for difference in family])
    axis.set_ylim(len(family) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.08)
    return axis


def _shown(found: list[Difference]) -> list[tuple[str, str]]:
    return [m for m in MEASURES if any((d.subset, d.metric) == m and d.mean is not None for d in found)]


def ablation_figure(runs: StudyRuns, found: list[Difference]) -> Figure:
    """Rows of panels for dataset, split and backbone, a column for each measure, a line for each variant."""
    measures = _shown(found)
    if not measures:
        return _empty_figure()
    places = list(dict.fromkeys((d.dataset, d.split, d.backbone) for d in found if d.mean is not None))
    variants = len({difference.variant for difference in found})
    height = len(places) * (0.19 * max(variants, 3) + 0.7)
    figure, axes = plt.subplots(
        *(len(places), len(measures)),
        figsize=(TEXT_WIDTH, height),
        squeeze=False,
        sharex="row",
        layout="constrained",
    )
    for row, place in enumerate(places):
        for column, (subset, metric) in enumerate(measures):
            axis = axes[row, column]
            family = [
                d for d in found if (d.dataset, d.split, d.backbone, d.subset, d.metric) == (*place, subset, metric)
            ]
            if all(difference.mean is None for difference in family):
                axis.set_axis_off()
                continue
            draw_differences(axis, family, runs.titles)
            title = _MEASURE_TITLES[metric] if subset == WHOLE else f"{_MEASURE_TITLES[metric]}, {subset}"
            axis.set_title(f"\n{title}", loc="left")  # the empty line keeps the height that the heading takes
            if column:
                axis.set_yticklabels([])
            else:
                heading = axis.annotate(
                    " · ".join(_named(runs, place)),
                    *((0, 1), (0, 18)),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    fontweight="bold",
                    fontsize=8.5,
                )
                heading.set_in_layout(False)  # it may reach over the panels beside its own
    figure.supxlabel("difference to the baseline (percent points), 95 % interval over videos", fontsize=8.5)
    return figure


def _named(runs: StudyRuns, place: tuple[str, str, str]) -> list[str]:
    dataset, split, backbone = place
    return [dataset, f"{split} split", *([backbone] if len(runs.study.backbones) > 1 else [])]


def _empty_figure() -> Figure:
    figure, axis = plt.subplots(figsize=(TEXT_WIDTH, 0.6))
    axis.set_axis_off()
    axis.text(0.5, 0.5, NOT_RUN, ha="center", va="center")
    return figure
