"""mssts: a reproducible benchmarking and ablation pipeline for MS-STS video instance segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mssts.core.extras import named_extras

if TYPE_CHECKING:
    from mssts.inference.predictor import Predictor

__all__ = ["evaluate", "load_model", "train"]
__version__ = "1.0.0"


def load_model(
    checkpoint: str | Path, device: str = "cpu", settings: Mapping[str, Any] = MappingProxyType({})
) -> Predictor:
    """Load the model of a checkpoint, a run's or an imported one, ready to predict.

    `tracks = mssts.load_model(path).predict(frames)` takes uint8 frames (T, H, W, 3) of any size and returns the
    objects found, best score first, with `category`, `score`, `masks` (T, H, W) and `boxes` (T, 4).

    The network itself is `load_model(path).network`. `out = network(frames, padding_mask=None)` takes normalised
    float32 frames (B, T, 3, H, W). It has `out.logits` (B, N, K), `out.boxes` (B, T, N, 4; cx, cy, w, h relative to
    the unpadded frame), and `out.mask_logits(-1, clip, queries)` (n, T, H/4, W/4) for chosen instances.

    Args:
        checkpoint: checkpoint.pt of a run, a file that `mssts import-weights` has written, or a model that MLflow has:
            "runs:/RUN/model" or "models:/NAME/VERSION".
        device: "cpu", "cuda" or "cuda:1".
        settings: Values of the section `predict` in place of those in the checkpoint, such as {"window": 36}.

    Raises:
        InputError: The file is missing or no checkpoint, a value is wrong, or a package is not installed.
    """
    with named_extras():
        from mssts.inference.predictor import Predictor

    if str(checkpoint).startswith(("runs:/", "models:/")):
        with named_extras():
            from mssts.study.mlflow_model import checkpoint_of

        checkpoint = checkpoint_of(str(checkpoint))
    return Predictor(Path(checkpoint), device, settings)


def train(
    study: str | None,
    variant: str,
    data: str | Path,
    output: str | Path,
    *,
    dataset: str,
    backbone: str = "tiny",
    seed: int = 1,
    init: str | Path | None = None,
    scale: str = "paper",
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Train a variant, or continue its training; a finished one is left as it is.

    Args:
        study: Name of a file in `ablations/studies`, relative to the working directory; None for one run at a scale.
        variant: Name of a variant, of the study if one is given, or "pretrain" for the stage on still images.
        data: Directory of the dataset.
        output: Directory that receives checkpoint.pt, run.json, log.jsonl and cost.json.
        dataset: Name of the dataset.
        backbone: Name of the backbone.
        seed: Seed of the run, from 1.
        init: Checkpoint to start from, where `train.init` asks for one.
        scale: Name of a file in `ablations/scales`, for a run without a study.
        overrides: Values in place of those of the study and its scale, such as {"train.steps": 10}.

    Raises:
        InputError: For what does not exist or does not fit; the message names it.
        RunFailure: If the training ends early.
    """
    from mssts.config import PRETRAIN
    from mssts.study.resolve import load_study, single_run

    with named_extras():
        from mssts.training import run

    if study is None:
        resolved = single_run(dataset, backbone, variant, scale, seed, overrides=overrides)
    else:
        resolved = load_study(study, overrides=overrides)
    if variant == PRETRAIN:
        chosen = resolved.pretraining(dataset, backbone, seed)
    else:
        chosen = resolved.training(dataset, backbone, variant, seed)
    run.train(chosen, Path(data), Path(output), Path(init) if init else None)


def evaluate(
    annotations: str | Path, predictions: str | Path, output: str | Path, *, lenient: bool = False
) -> dict[str, Any]:
    """Evaluate a submission of any method: AP, AR, AP per challenge, and what each kind of error costs.

    Args:
        annotations: Ground truth in YouTube-VIS format.
        predictions: results.json, or a zip with it.
        output: Where metrics.json is written; match records are written beside it.
        lenient: Accept what the reference evaluator silently accepts, and count each case in `warnings`.

    Returns:
        The content of metrics.json, values in 0..1; see `mssts.evaluation.evaluate.evaluate`.

    Raises:
        InputError: With one line for each problem of the files.
    """
    from mssts.evaluation.evaluate import evaluate as stage

    return stage(Path(annotations), Path(predictions), Path(output), lenient=lenient)
