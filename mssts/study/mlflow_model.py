"""The MLflow flavor of a run's model: `mlflow.pyfunc` loads its checkpoint.pt through `mssts`; no code is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from mssts.inference.predictor import Predictor
from mssts.study.mlflow_content import CHECKPOINT
from mssts.study.mlflow_store import store_uri


class PyfuncModel:
    """What `mlflow.pyfunc.load_model` wraps.

    Args:
        predictor: The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Objects of a video, best score first, as in a submission.

        Args:
            model_input: (T, H, W, 3) uint8 RGB frames of any size.
            params: Unused; MLflow passes it.

        Returns:
            `category`, `category_id`, `score` in 0..1 and `segmentations`, a run-length mask or None for each frame.
        """
        names = ("category", "category_id", "score", "segmentations")
        return [{name: getattr(track, name) for name in names} for track in self._predictor.predict(model_input)]


def _load_pyfunc(path: str) -> PyfuncModel:
    """MLflow calls this with the path of the checkpoint."""
    return PyfuncModel(Predictor(Path(path), "cpu"))


def checkpoint_of(uri: str) -> Path:
    """Return the checkpoint of a logged model: the file itself in a local store, else a copy from the server.

    Args:
        uri: Such as "runs:/RUN/model" or "models:/NAME/1".
    """
    if not mlflow.is_tracking_uri_set():
        mlflow.set_tracking_uri(store_uri())
    return Path(mlflow.artifacts.download_artifacts(uri)) / CHECKPOINT
