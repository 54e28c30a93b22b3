"""The ablation table: differences to the baseline with intervals, and what they allow to say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mssts.core.errors import InputError
from mssts.report.conclusions import conclusions
from mssts.report.formats import (
    NO_VALUE,
    NOT_RUN,
    decimals,
    escape_latex,
    latex,
    markdown,
    read_csv,
    signed,
    write_csv,
    write_text,
)
from mssts.study.differences import MEASURES, WHOLE, Difference
from mssts.study.runs import StudyRuns

NOTE = (
    "Mean paired difference to the baseline over training seeds, in percent points, "
    "with the 95 % paired bootstrap interval over videos."
)
TEST_NOTE = "Two-sided exact sign-flip test over seeds: p, and p after Holm's correction over the variants."
_COLUMNS = ["dataset", "split", "backbone", "subset", "metric", "variant", "seeds", "difference", "low", "high"]


def heading(subset: str, metric: str) -> str:
    """Column heading of a measure."""
    return f"Δ{metric}" if subset == WHOLE else f"Δ{metric} {subset}"


def write(runs: StudyRuns, found: list[Difference], output_dir: Path) -> None:
    """Write ablation.csv (one row per difference), ablation.md and ablation.tex (one row per variant)."""
    write_csv(output_dir / "ablation.csv", _rows(found))
    wide, tests = table(runs, found), tests_table(runs, found)
    sentences = conclusions(runs, found)
    text = [markdown(wide), f"{NOTE}\n"]
    tex = [latex(wide, NOTE, f"tab:{runs.name}-ablation", text_columns=4)]
    if tests is not None:
        text += [markdown(tests), f"{TEST_NOTE}\n"]
        tex.append(latex(tests, TEST_NOTE, f"tab:{runs.name}-tests", text_columns=4))
    text.append("\n".join(f"- {sentence}" for sentence in sentences) + "\n")
    tex.append("\n\n".join(escape_latex(sentence) for sentence in sentences) + "\n")
    write_text(output_dir / "ablation.md", "\n".join(text))
    write_text(output_dir / "ablation.tex", "\n".join(tex))


def _number(value: float | None, seeds: int, digits: int) -> str:
    return NOT_RUN if not seeds else decimals(value, digits)


def _rows(found: list[Difference]) -> pd.DataFrame:
    rows = [
        [
            *(d.dataset, d.split, d.backbone, d.subset, d.metric, d.variant, str(d.seeds)),
            *(_number(value, d.seeds, 6) for value in (d.mean, d.low, d.high, d.p, d.p_holm)),
        ]
        for d in found
    ]
    return pd.DataFrame(rows, columns=[*_COLUMNS, "p", "p_holm"])


def read(path: Path) -> list[Difference]:
    """Differences of an ablation.csv. Raises InputError if it is missing or of another layout."""
    if not path.is_file():
        raise InputError(f"{path}: no such file. Write the tables first (mssts table).")
    frame = read_csv(path)
    if list(frame.columns) != [*_COLUMNS, "p", "p_holm"]:
        raise InputError(f"{path}: found columns {list(frame.columns)}. Write the tables again (mssts table).")

    def number(text: str) -> float | None:
        return None if text in (NOT_RUN, NO_VALUE) else float(text)

    return [
        Difference(*row[:6], int(row[6]), *(number(text) for text in row[7:])) for row in frame.itertuples(index=False)
    ]


def _cell(difference: Difference) -> str:
    if not difference.seeds:
        return NOT_RUN
    if difference.mean is None:
        return NO_VALUE
    return f"{signed(difference.mean)} [{signed(difference.low)}, {signed(difference.high)}]"


def _test_cell(difference: Difference) -> str:
    if not difference.seeds:
        return NOT_RUN
    return NO_VALUE if difference.p is None else f"{difference.p:.3f}, {difference.p_holm:.3f}"


def _wide(runs: StudyRuns, found: list[Difference], cell) -> pd.DataFrame:
    shown = [m for m in MEASURES if any((d.subset, d.metric) == m and (d.mean is not None) for d in found)] or [
        MEASURES[0]
    ]
    rows: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for d in found:
        key = (d.dataset, d.split, d.backbone, runs.titles[d.variant], str(d.seeds))
        rows.setdefault(key, {})[d.subset, d.metric] = cell(d)
    cells = [[*key, *(values[measure] for measure in shown)] for key, values in rows.items()]
    columns = ["Dataset", "Split", "Backbone", "Variant", "Seeds", *(heading(*measure) for measure in shown)]
    return pd.DataFrame(cells, columns=columns)


def table(runs: StudyRuns, found: list[Difference]) -> pd.DataFrame:
    """One row per variant and split; cells "difference [low, high]", "not run", or a dash where undefined."""
    return _wide(runs, found, _cell)


def tests_table(runs: StudyRuns, found: list[Difference]) -> pd.DataFrame | None:
    """One row per variant and split; cells "p, p after Holm"; None where too few seeds allow no test."""
    if all(difference.p is None for difference in found):
        return None
    return _wide(runs, found, _test_cell)
