"""Convert public SeqFormer checkpoints to ours: every entry is used, or reported as dropped [code]."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mssts import config as configuration
from mssts.config import ABLATIONS, Config
from mssts.core.checkpoint import check_weights, load_tensors, save_checkpoint
from mssts.core.errors import InputError, shown, suggestion
from mssts.core.files import check_outputs
from mssts.core.workspace import here_or_shipped
from mssts.data.categories import CORRECTED, coco_map
from mssts.data.datasets import DATASETS, entry
from mssts.inference.public_names import import_public, internal_names
from mssts.models import build_model
from mssts.models.heads import PRIOR_LOGIT

KEEP, DROP = "keep", "drop"
YTVIS_LOGITS, COCO_LOGITS = 42, 91  # [code] logit = category id; 0 and, of YouTube-VIS, 41 are no category
_SCALAR = np.float64(0).__reduce__()[0]  # the function that unpickles a numpy scalar
NUMPY_SCALARS: list[Any] = [_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), np.dtype]
NUMPY_SCALARS += [type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64", "bool")]
NO_CATEGORY = ""  # name of a logit that stands for no category: prediction never emits it

_BACKBONES = {  # a public entry and its shape that identify a backbone
    "swin_l": ("detr.backbone.0.body.layers.2.blocks.17.norm1.weight", (768,)),
    "resnet101": ("detr.backbone.0.body.layer3.22.conv2.weight", (256, 256, 3, 3)),
    "resnet50": ("detr.backbone.0.body.layer3.5.conv2.weight", (256, 256, 3, 3)),
}


def import_weights(source: Path, output: Path, class_head: str = KEEP, dataset: str = "ytvis2019") -> list[str]:
    """Write a public checkpoint in our format.

    Args:
        source: `.pth` file with an entry `model`.
        output: Checkpoint to write.
        class_head: "keep" (all logits of the public head), "drop" (the checkpoint can only initialise a training), or
            the name of a dataset: one logit for each of its categories, matched by name. Categories that the public
            head lacks start as in an untrained head.
        dataset: Dataset whose category ids the 42 logits of a YouTube-VIS head are. 91 logits are those of COCO.

    Returns:
        The public entries that were left out.

    Raises:
        InputError: The file is unreadable, or entries are missing, unknown or of a wrong shape; all are listed.
    """
    check_outputs([output], [source])
    if class_head not in (KEEP, DROP, *DATASETS):
        raise InputError(f"--class-head: found {shown(class_head)}; {suggestion(class_head, (KEEP, DROP, *DATASETS))}")
    public = read_public(source)
    backbone = _backbone(public, source)
    config = _config(public)
    head = public.get("detr.class_embed.0.bias")
    classes = YTVIS_LOGITS if head is None else head.numel()
    categories = _categories(classes, dataset, source)
    with torch.device("meta"):
        model = build_model(config.model, backbone, classes)
    try:
        converted = _convert(public, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
    except InputError as error:
        raise InputError(f"{source}: does not match a SeqFormer model with backbone {backbone}; {error}") from None
    weights = {name: tensor.clone() for name, tensor in converted.items()}
    heads = [name for name in weights if name.startswith("class_heads.")]
    if class_head == DROP:
        weights = {name: tensor for name, tensor in weights.items() if name not in heads}
    elif class_head != KEEP:
        rows = _rows(classes, dataset, class_head)
        weights |= {name: _remapped(weights[name], rows) for name in heads}
        categories = list(entry(class_head).categories)
    content = {"model": weights, "backbone": backbone, "categories": [list(category) for category in categories]}
    save_checkpoint(output, content | {"config": configuration.canonical(config)})
    return [n for n in public if not internal_names(n) or (class_head == DROP and "class_embed" in n)]


def read_public(source: Path) -> dict[str, Tensor]:
    """Entry `model` of a public checkpoint, loaded without executing code from the file. Raises InputError."""
    if not source.is_file():
        raise InputError(f"{source}: no such file; expected a public SeqFormer checkpoint (.pth).")
    with torch.serialization.safe_globals([argparse.Namespace, *NUMPY_SCALARS]):  # options and results of a training
        content = load_tensors(source, "Download it again.")
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        keys = ", ".join(map(str, content))[:200] if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{source}: found {keys or 'nothing'}, expected an entry 'model' that maps names to tensors.")
    check_weights(source, state)
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _backbone(public: dict[str, Tensor], source: Path) -> str:
    for backbone, (name, shape) in _BACKBONES.items():
        if name in public and tuple(public[name].shape) == shape:
            return backbone
    raise InputError(f"{source}: unknown backbone; expected a checkpoint with one of {', '.join(_BACKBONES)}.")


def _config(public: dict[str, Tensor]) -> Config:
    """The baseline configuration with the number of layers and queries of the checkpoint."""
    tree = configuration.load_baseline(here_or_shipped(str(ABLATIONS))).model_dump(mode="json", by_alias=True)
    for stack in ("encoder", "decoder"):
        prefix = f"detr.transformer.{stack}.layers."
        tree["model"][stack]["layers"] = len({n.split(".")[4] for n in public if n.startswith(prefix)}) or 1
    queries = public.get("detr.query_embed.weight")
    if queries is not None and queries.ndim == 2 and len(queries):
        tree["model"]["queries"] = len(queries)
    return Config.model_validate(tree)


def _convert(public: dict[str, Tensor], expected: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Public entries under our names, which must have these shapes. Raises an InputError that lists all problems."""
    problems: list[str] = []
    converted: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    for name, tensor in public.items():
        try:
            entries = import_public({name: tensor})
        except InputError as error:
            problems.append(str(error))
            continue
        for key, value in entries.items():
            if key not in expected:
                problems.append(f"{name}: does not belong to this model")
            elif tuple(value.shape) != expected[key]:
                problems.append(f"{name}: found shape {tuple(tensor.shape)}; expected {expected[key]} for {key}")
            if key in sources and not torch.equal(converted[key], value):
                problems.append(f"{name}: differs from {sources[key]}, which should be the same tensor")
            sources[key] = name
        converted |= entries
    problems += [f"missing: no entry of the file gives {key}" for key in expected if key not in sources]
    if problems:
        more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise InputError("\n  ".join([f"{len(problems)} problem(s):", *problems[:20], *more]))
    return converted


def _categories(classes: int, dataset: str, source: Path) -> list[tuple[int, str]]:
    """(id, name) of each public logit; NO_CATEGORY where it stands for no category."""
    if classes not in (YTVIS_LOGITS, COCO_LOGITS):
        raise InputError(f"{source}: found {classes} class logits, expected {YTVIS_LOGITS} or {COCO_LOGITS} (COCO).")
    names = dict(entry(dataset).categories)
    if classes == COCO_LOGITS:
        names = {number: f"COCO category {number}" for number in range(1, classes)}
    return [(number, names.get(number, NO_CATEGORY)) for number in range(classes)]


def _rows(classes: int, dataset: str, target: str) -> list[list[int]]:
    """For each category of `target` its public logits: that of equal name, or those of COCO that map to it."""
    if classes == COCO_LOGITS:
        names = coco_map(target, CORRECTED)
        return [[coco for coco, number in names.items() if number == wanted] for wanted, _ in entry(target).categories]
    ids = {name: number for number, name in entry(dataset).categories}
    return [[ids[name]] if name in ids else [] for _, name in entry(target).categories]


def _remapped(head: Tensor, rows: list[list[int]]) -> Tensor:
    """Weight (K, C) or bias (K,) with a row for each category: the mean of its logits, untrained if it has none."""
    untrained = head.new_full(head.shape[1:], PRIOR_LOGIT if head.ndim == 1 else 0.0)
    return torch.stack([head[chosen].mean(0) if chosen else untrained for chosen in rows])
