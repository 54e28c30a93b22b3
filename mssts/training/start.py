"""What a training starts from, and whether a checkpoint can be its start. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssts.config import IMAGENET, NO_START, PRETRAIN, Config, ModelSection, config_of_checkpoint
from mssts.core.errors import InputError
from mssts.training.record import TrainingRun

WITHOUT_CHECKPOINT = (IMAGENET, NO_START)


def initial_checkpoint(run: TrainingRun, named: Path | None) -> Path | None:
    """Return the checkpoint that a run starts from; None if it starts from random or ImageNet weights.

    Args:
        run: The run.
        named: The checkpoint that the command line names.

    Raises:
        InputError: If the configuration asks for a checkpoint and there is none, or for none and one is named.
    """
    start = run.start
    if start is None or start in WITHOUT_CHECKPOINT:
        if named:
            raise InputError(
                f"--init: found {named}, but {run} starts from no checkpoint (train.init: {start}). Leave it out."
            )
        return None
    if named is None and start == PRETRAIN:
        raise InputError(f"--init: missing; {run} starts from the checkpoint of its pre-training. Name that file.")
    path = named or Path(start)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint. {advice(run.config, run.backbone)}")
    return path


def require_same_architecture(content: Mapping[str, Any], path: Path, backbone: str, config: Config) -> None:
    """Compare the model that a checkpoint was trained as with the model that is to start from it.

    Values that show in the shape of a weight are compared with it; these here also decide what the weights mean, such
    as the number of attention heads.

    Args:
        content: Content of the checkpoint; its tensors are not read.
        path: File of the checkpoint, for messages.
        backbone: Backbone of the model.
        config: Configuration of the model.

    Raises:
        InputError: If backbone or architecture differ, or the checkpoint does not say what it is.
    """
    try:
        found_backbone, found = content["backbone"], config_of_checkpoint(content["config"]).model
    except (KeyError, InputError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: is no checkpoint of this version of mssts ({reason}). {advice(config, backbone)}"
        ) from None
    if found_backbone != backbone:
        raise InputError(
            f"{path}: is of backbone {found_backbone}, but the model has {backbone}. {advice(config, backbone)}"
        )
    theirs, ours = architecture(found), architecture(config.model)
    different = [f"{key} {theirs[key]}, not {ours[key]}" for key in ours if key in theirs and theirs[key] != ours[key]]
    if different:
        raise InputError(
            f"{path}: is of another architecture than this model: {'; '.join(different)}. {advice(config, backbone)}"
        )


def architecture(model: ModelSection) -> dict[str, Any]:
    """Values that decide what weights compute, by key: of the baseline's modules, and of those that are added."""
    values = model.model_dump(exclude={"dropout", "encoder", "decoder", "deformable_sampling"})
    values |= {"encoder.layers": model.encoder.layers, "decoder.layers": model.decoder.layers}
    sizes = {"width", "heads", "feedforward_dim", "inter_scale_form"}
    for name, section in (("encoder.ms_sts", model.encoder.ms_sts), ("decoder.temporal", model.decoder.temporal)):
        if section.enabled:
            values |= {f"{name}.{key}": value for key, value in section.model_dump(include=sizes).items()}
    for name, parts in (("encoder.branches", model.encoder.branches), ("decoder.blocks", model.decoder.blocks)):
        values |= {f"{name}.{part}": section for part, section in parts.items()}
    return {f"model.{key}": value for key, value in values.items()}


def advice(config: Config, backbone: str) -> str:
    """What to do about a start that does not fit."""
    if config.train.start(backbone) == PRETRAIN:
        return (
            "Run the pre-training (again), with the same --set; name its checkpoint (--init), or start from other "
            f"weights (train.init: {IMAGENET} or {NO_START})."
        )
    return (
        f"Set train.init to a checkpoint of this model, to {PRETRAIN}, {IMAGENET} or {NO_START}; a study with several "
        "backbones maps each of them to its own."
    )
