"""The table and the figure of the benchmarks' results.

    python benchmarks/show.py [FILE.csv] [FOLDER]

writes `table.md` and `performance.png` to FOLDER, from the CSV of `benchmarks/all.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from mssts.report.style import PALETTE, TEXT_WIDTH, paper_style

ROOT = Path(__file__).resolve().parents[1]
CSV, FOLDER = ROOT / "benchmarks/results.csv", ROOT / "docs/performance"
GROWTH = {
    "frames": "frames of 360x640",
    "size": "megapixels, two frames",
    "queries": "queries, two frames",
    "length": "frames, in windows of 10",
}
COLUMNS = ("time", "time / this", "memory", "memory / this")
UNITS = {"time": "s", "memory": "MB"}


def cell(row: pd.Series) -> str:
    """Median, and the range where there was more than one round."""

    def text(value: float) -> str:
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"

    return text(row["median"]) + (f" ({text(row.low)} to {text(row.high)})" if row.rounds > 1 else "")


def table(rows: pd.DataFrame) -> str:
    """A Markdown table with a row for each contender of each case, below a line on the machine."""
    first = rows.iloc[0]
    others = " to ".join(f"{number:.2g}" for number in sorted({rows.others.min(), rows.others.max()}))
    commits = ", ".join(rows.commit.unique())
    lines = [
        f"Measured on {first.processor} with Python {first.python} and PyTorch {first.torch}, at {commits}, "
        f"rounds: {rows.rounds.max()}. Other programs kept {others} processors busy meanwhile.",
        "",
        "| benchmark | case | contender | time in s | time / this | memory in MB | memory / this |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, group in rows.groupby(["benchmark", "case", "contender"], sort=False):
        cells = {row.quantity: cell(row) for _, row in group.iterrows()}
        lines.append("| " + " | ".join([*map(str, key), *(cells.get(name, "") for name in COLUMNS)]) + " |")
    return "\n".join(lines) + "\n"


def draw_ratios(axis: Axes, rows: pd.DataFrame) -> None:
    """Time of the other contenders as a multiple of this checkout's: a point with its range for each case."""
    ratios = rows[(rows.quantity == "time / this") & ~rows.benchmark.isin(GROWTH)][::-1]
    for position, row in enumerate(ratios.itertuples()):
        axis.hlines(position, row.low, row.high, color=PALETTE[0])
        axis.plot(row.median, position, "o", color=PALETTE[0], markersize=4)
    labels = ratios.benchmark + ", " + ratios.case + (": " + ratios.contender)
    axis.set_yticks(range(len(ratios)), labels.str.replace(", ResNet-50", ""), fontsize=6)
    axis.axvline(1, color="0.6", linewidth=0.8)
    axis.set_xlim(left=0)
    axis.set_xlabel("time of the other code / time of this code")


def size_of(case: str) -> float:
    """The number that a case of a growth stands for: frames, queries or megapixels."""
    height, _, width = case.partition("x")
    return int(height) * int(width) / 1e6 if width else int(height)


def draw_growth(axis: Axes, rows: pd.DataFrame, quantity: str) -> None:
    """One quantity against frames, size, queries or length: a line for each contender."""
    for position, (contender, group) in enumerate(rows[rows.quantity == quantity].groupby("contender", sort=False)):
        axis.plot(
            group.case.map(size_of), group["median"], "o-", markersize=3, color=PALETTE[position], label=contender
        )
    axis.set_ylim(0, 1.1 * rows[rows.quantity == quantity]["median"].max())
    axis.set_ylabel(f"{quantity} in {UNITS[quantity]}")


def figure(rows: pd.DataFrame, path: Path) -> None:
    """Ratios above, growth below."""
    compared = int(((rows.quantity == "time / this") & ~rows.benchmark.isin(GROWTH)).sum())
    grown = [name for name in GROWTH if (rows.benchmark == name).any()]
    above, below = 0.6 + 0.18 * compared, 3.4 if grown else 0.01
    with paper_style():
        drawn = plt.figure(figsize=(TEXT_WIDTH, above + below), layout="constrained")
        top, bottom = drawn.subfigures(2, 1, height_ratios=[above, below])
        draw_ratios(top.subplots(), rows)
        if grown:
            for name, axes in zip(grown, bottom.subplots(2, len(grown), squeeze=False).T, strict=True):
                for axis, quantity in zip(axes, UNITS, strict=True):
                    draw_growth(axis, rows[rows.benchmark == name], quantity)
                axes[0].legend(fontsize=6)
                axes[1].set_xlabel(GROWTH[name])
        drawn.savefig(path, dpi=200, metadata={"Software": None})
        plt.close(drawn)


def show(path: Path = CSV, folder: Path = FOLDER) -> None:
    """Write the table and the figure of a file of results."""
    rows = pd.read_csv(path, dtype={"case": str})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(table(rows), encoding="utf-8")
    figure(rows, folder / "performance.png")


if __name__ == "__main__":
    show(*map(Path, sys.argv[1:]))
