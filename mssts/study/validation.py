"""AP on a fixed part of the evaluated videos while a run trains."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from mssts.core.csv_files import decimals, write_csv
from mssts.data.datasets import split_annotations
from mssts.data.frames import evenly_spaced
from mssts.data.videos import video_frames
from mssts.evaluation.average_precision import ap_metrics
from mssts.evaluation.matching import match
from mssts.inference.predict import predict_video
from mssts.models import MsStsVis
from mssts.study.resolve import ResolvedStudy
from mssts.study.validation_file import COLUMNS, FILE, read_validation
from mssts.training.callbacks import Callback, StartedRun
from mssts.training.record import TrainingRun
from mssts.ytvis.submission import parse_submission


def validation(study: ResolvedStudy, run: TrainingRun, data: Path) -> list[Callback]:
    """The callback that measures AP during a run, on the first split of the study; none if it evaluates nothing."""
    return [Validation(run, data, study.spec.splits[0])] if study.spec.splits else []


class Validation(Callback):
    """Measures AP every `execution.validate_every` steps and writes it to a CSV file in the run's directory.

    Only the process that writes files measures; the others wait for it at their next exchange. Training draws its
    random numbers from generators of its own, so that no weight changes. A resumed run keeps the lines up to the step
    that it resumes from, and writes the others again.

    Args:
        run: The run.
        data: Directory of its dataset.
        split: Split whose videos are predicted: `execution.validate_videos` of them, evenly spread over its file.
    """

    def __init__(self, run: TrainingRun, data: Path, split: str) -> None:
        self._run = run
        self._data = data
        self._split_name = split
        self._rows: list[list[str]] = []

    def on_start(self, started: StartedRun) -> None:
        """Read what was measured before the step that the run starts from; a new run starts a new file."""
        every = self._run.config.execution.validate_every
        self._every = every if started.fabric.is_global_zero else None
        if not started.fabric.is_global_zero:
            return
        self._path = started.output / FILE
        before = (
            read_validation(self._path) if started.start and self._path.is_file() else pd.DataFrame(columns=COLUMNS)
        )
        self._rows = before[before["step"].astype(int) <= started.start].values.tolist()
        self._path.unlink(missing_ok=True)
        if every:
            self._write()
            self._split = split_annotations(self._run.dataset, self._data, self._split_name)

    def on_step(self, step: int, model: MsStsVis, record: dict[str, float] | None) -> None:
        """Measure if it is time."""
        if self._every and step % self._every == 0:
            model.eval()
            self._rows.append([str(step), *self._measured(model)])
            self._write()

    def on_end(self, error: BaseException | None) -> None:
        """Nothing is left to do: each line is written at once."""

    def _write(self) -> None:
        write_csv(self._path, pd.DataFrame(self._rows, columns=COLUMNS))

    def _measured(self, model: MsStsVis) -> list[str]:
        config, split = self._run.config, self._split
        chosen = evenly_spaced(len(split.videos), config.execution.validate_videos)
        videos = [split.videos[position] for position in chosen]
        categories = list(split.categories)
        entries = []
        for video in videos:
            frames, size = video_frames(split, video, config.predict.short_side, config.data)
            entries.append(predict_video(model, frames, video.id, size, categories, config.predict)[0])
        predictions = parse_submission(list(chain(*entries)), split.annotations).predictions
        records = match(split.annotations, predictions)
        ids = [video.id for video in videos]
        view, weights_1V = records.views.index("all"), np.isin(records.video_ids, ids).astype(float)[None]
        instances = int((records.pooled.positives_AV[view] * weights_1V[0]).sum())
        found = ap_metrics(records, view, weights_1V, ("AP", "AP_agnostic"))
        return [str(len(ids)), str(instances), *(decimals(float(100 * value_R[0]), 4) for value_R in found.values())]
