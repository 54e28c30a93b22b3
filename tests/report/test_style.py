"""Figures repeat byte for byte from process to process, not only within one."""

import subprocess
import sys

import matplotlib.pyplot as plt
import pytest

from mssts.report.figures.dots import draw_values
from mssts.report.style import paper_style

DRAW = """
import sys
from pathlib import Path
import matplotlib
import numpy as np
from mssts.report.style import paper_style, save
import matplotlib.pyplot as plt

with paper_style():
    figure = plt.figure(layout="constrained")
    for part in figure.subfigures(3, 1):
        part.suptitle("part")
        for axis in part.subplots(2, 5).flat:
            axis.imshow(np.eye(9))
            axis.contour(np.hypot(*np.mgrid[-4:5, -4:5]), levels=[2.5], linewidths=0.7)
    save(figure, Path(sys.argv[1]))
"""


@pytest.mark.long
def test_a_laid_out_figure_has_the_same_bytes_in_every_process(tmp_path, root):
    for name in "abc":
        subprocess.run([sys.executable, "-c", DRAW, str(tmp_path / name)], check=True, cwd=root)
    for kind in ("png", "pdf"):
        assert len({(tmp_path / f"{name}.{kind}").read_bytes() for name in "abc"}) == 1, kind


def test_no_axis_has_an_offset():
    with paper_style():
        figure, axis = plt.subplots()
        axis.plot([1, 2], [25.86, 25.86 + 1e-13])
        draw_values(axis, {"one": [25.86, 25.86 + 1e-13]})
        figure.canvas.draw()
        for side in (axis.xaxis, axis.yaxis):
            assert side.get_offset_text().get_text() == ""
    plt.close(figure)
