"""The rows of the benchmarks, their table and their figure."""

from pathlib import Path

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


class Scripted:
    """A contender whose times are given; the first is that of the round that is not counted."""

    def __init__(self, times):
        self.times = iter(times)

    def ask(self, quantity):
        return {"time": next(self.times)} if quantity == "time" else {"memory": 5.0}


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import rounds

    contenders = {"this": Scripted([9.0, 1.0, 2.0, 4.0]), "public": Scripted([9.0, 3.0, 4.0, 4.0])}
    return rounds.compare("inference", "a case", contenders, 3)[0]


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds(rows):
    found = {(row.contender, row.quantity): (row.median, row.low, row.high, row.rounds) for row in rows}
    assert found == {
        ("this", "time"): (2, 1, 4, 3),
        ("public", "time"): (4, 3, 4, 3),
        ("public", "time / this"): (2, 1, 3, 3),
        ("this", "memory"): (5, 5, 5, 1),
        ("public", "memory"): (5, 5, 5, 1),
        ("public", "memory / this"): (1, 1, 1, 1),
    }


def test_the_table_has_a_row_for_each_contender_and_the_figure_is_drawn(rows, tmp_path):
    import rounds
    import show

    grown = [rounds.Row.of("size", f"{side}x{side}", "this", q, "", [side]) for side in (10, 20) for q in rounds.UNITS]
    columns = {"processor": "a processor", "python": "3", "torch": "2", "commit": "abc", "others": "0.01"}
    rounds.write([*rows, *grown], columns, tmp_path / "results.csv")
    show.show(tmp_path / "results.csv", tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "| inference | a case | public | 4 (3 to 4) | 2 (1 to 3) | 5 | 1 |" in text
    assert "a processor" in text
    assert (tmp_path / "performance.png").stat().st_size > 10_000
    assert len(pd.read_csv(tmp_path / "results.csv")) == 10
