"""The notebook of the docs runs from top to bottom."""

from __future__ import annotations

import json
import shutil


def test_every_cell_of_the_notebook_runs_and_the_last_one_shows_a_picture(root, tmp_path, monkeypatch):
    shutil.copytree(root / "ablations", tmp_path / "ablations")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((root / "docs/notebooks/first_steps.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 5 and not any(cell.get("outputs") for cell in notebook["cells"])
    names: dict = {}
    for cell in cells:
        exec(compile(cell, "first_steps.ipynb", "exec"), names)
    assert 0 <= names["metrics"]["overall"]["AP"] <= 1
    assert names["tracks"][0].masks.shape == names["frames"].shape[:3]
    assert names["picture"].width > 1000
