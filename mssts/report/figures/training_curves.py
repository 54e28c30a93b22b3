"""Training curves: every loss that was logged, over the steps."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mssts.core.errors import InputError
from mssts.core.files import verify_digest
from mssts.report.style import TEXT_WIDTH, colour_and_dash, empty_figure, legend_above, legend_height
from mssts.study.runs import StudyRuns

SMOOTHING = 0.1
_RUN = ["dataset", "backbone", "variant", "seed"]
_NO_LOSSES = {*_RUN, "step", "learning_rate"}
_TITLES = {
    "loss": "total",
    "loss_class": "class (focal)",
    "loss_l1": "box (L1)",
    "loss_giou": "box (GIoU)",
    "loss_mask": "mask (focal)",
    "loss_dice": "mask (dice)",
    "loss_adversary": "adversary, model's side",
    "loss_discriminator": "adversary, discriminator",
}


def caption(runs: StudyRuns) -> str:
    """Caption of the figure."""
    return (
        f"Losses over the optimizer's steps, each run as a running mean over {100 * SMOOTHING:.0f} % of its records: "
        "mean over runs; thin lines: runs."
    )


def figure(runs: StudyRuns) -> Figure:
    """A panel for each loss. Raises InputError for a damaged log."""
    return training_figure(runs, read_logs(runs))


def read_logs(runs: StudyRuns) -> pd.DataFrame:
    """Training logs of all runs but the pre-trainings: a row per record, with the columns of the run's name."""
    frames = []
    for run in runs.runs:
        path = run.directory / "log.jsonl"
        if run.variant not in runs.study.variants or not path.is_file():
            continue
        if run.record is not None:
            verify_digest(path, str(run.record.get("log_sha256")), "Train the run again.")
        lines = path.read_text(encoding="utf-8").splitlines()
        try:
            frame = pd.DataFrame([json.loads(line) for line in lines if line])
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: not a training log ({error}). Train the run again.") from None
        frames.append(frame.assign(variant=run.variant, seed=run.seed, dataset=run.dataset, backbone=run.backbone))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["variant", "seed", "step"])


def draw_loss(axis: Axes, logs: pd.DataFrame, loss: str, runs: StudyRuns) -> None:
    """One loss over steps: a line per variant (mean over its runs), and a thin one per run.

    Each run is smoothed by a running mean over `SMOOTHING` of its records, which removes the noise of single batches.
    """
    for position, variant in enumerate(runs.study.variants):
        own = logs[logs["variant"] == variant].dropna(subset=[loss])
        if own.empty:
            continue
        smoothed = own.assign(**{loss: own.groupby(_RUN)[loss].transform(_smoothed)})
        mean, colour, dash = smoothed.groupby("step")[loss].mean(), *colour_and_dash(position)
        of_runs = [list(zip(one["step"], one[loss], strict=True)) for _, one in smoothed.groupby(_RUN)]
        if len(of_runs) > 1:
            axis.add_collection(LineCollection(of_runs, colors=colour, linewidths=0.4, alpha=0.45))
        axis.plot(mean.index, mean, color=colour, linestyle=dash, label=runs.study.titles[variant])
    axis.set_title(_TITLES.get(loss, loss.removeprefix("loss_").replace("_", " ")), loc="left")


def _smoothed(values: pd.Series) -> pd.Series:
    return values.rolling(max(1, round(SMOOTHING * len(values))), center=True, min_periods=1).mean()


def training_figure(runs: StudyRuns, logs: pd.DataFrame) -> Figure:
    """A panel for each loss that was logged."""
    logged = [name for name in logs if name not in _NO_LOSSES and logs[name].notna().any()]
    losses = sorted(logged, key=lambda name: list(_TITLES).index(name) if name in _TITLES else len(_TITLES))
    if not losses:
        return empty_figure()
    columns = 4 if len(losses) > 6 else 3
    rows = -(-len(losses) // columns)
    size = (TEXT_WIDTH, 1.6 * rows + legend_height(len(runs.study.variants)) + 0.2)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, squeeze=False, layout="constrained")
    for axis, loss in zip(axes.flat, losses, strict=False):
        draw_loss(axis, logs, loss, runs)
    for axis in list(axes.flat)[len(losses) :]:
        axis.set_axis_off()
    figure.supxlabel("optimizer step", fontsize=8.5)
    legend_above(figure)
    return figure
