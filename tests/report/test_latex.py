"""The LaTeX tables compile, and none is wider than a column or a page of a usual two-column style."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mssts.report.tables import write_tables
from tests.report.fake_runs import runs_of

PREAMBLE = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[letterpaper,textwidth=496pt,textheight=640pt,columnsep=22pt]{geometry}
\usepackage{booktabs}
\begin{document}
"""


@pytest.mark.long
def test_every_table_compiles_and_fits(fake_study: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed: apt-get install texlive-latex-base texlive-latex-recommended")
    write_tables(runs_of())
    files = sorted(runs_of().folder.glob("*.tex"))
    assert len(files) == 5
    body = "\n\\clearpage\n".join(path.read_text() for path in files)
    (fake_study / "all.tex").write_text(PREAMBLE + body + "\\end{document}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=fake_study, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.findall(r"Overfull .hbox.*|Float too large.*", done.stdout)
    assert "Output written on all.pdf" in done.stdout
