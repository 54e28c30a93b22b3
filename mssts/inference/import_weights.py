"""Public SeqFormer checkpoints as checkpoints of this project: every entry is used, or named as dropped [code]."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mssts import config as configuration
from mssts.config import ABLATIONS, Config
from mssts.core.checkpoint import save_checkpoint
from mssts.core.errors import InputError
from mssts.data.categories import CORRECTED, coco_map
from mssts.data.datasets import entry
from mssts.inference.public_names import import_public, our_names
from mssts.models import build_model
from mssts.models.heads import PRIOR_LOGIT

KEEP, DROP = "keep", "drop"
YTVIS_LOGITS, COCO_LOGITS = 42, 91  # [code] logit = category id; 0 and, of YouTube-VIS, 41 are no category
ILLEGAL = ""  # name of a logit that stands for no category: prediction never emits it

_CLASS_HEAD = re.compile(r"class_heads\.\d+\.(weight|bias)")
_BACKBONES = {  # a public entry and its shape, by which a backbone is known
    "swin_l": ("detr.backbone.0.body.layers.2.blocks.17.norm1.weight", (768,)),
    "resnet101": ("detr.backbone.0.body.layer3.22.conv2.weight", (256, 256, 3, 3)),
    "resnet50": ("detr.backbone.0.body.layer3.5.conv2.weight", (256, 256, 3, 3)),
}


def import_weights(source: Path, output: Path, class_head: str = KEEP, dataset: str = "ytvis2019") -> list[str]:
    """Write a public checkpoint (`.pth` with an entry `model`) in our format; returns the public entries left out.

    class_head: `keep` (all logits of the public head), `drop` (the checkpoint is a start for training only), or the
        name of a dataset: one logit for each of its categories, taken by category name; categories that the public
        head does not know start as in an untrained head.
    dataset: whose category ids the 42 logits of a YouTube-VIS head are. 91 logits are those of COCO.
    Raises InputError: unreadable file, entries missing, unknown or of a wrong shape, all listed.
    """
    public = read_public(source)
    backbone = _backbone(public, source)
    config = _config(public)
    classes = len(public.get("detr.class_embed.0.bias", range(YTVIS_LOGITS)))
    categories = _categories(classes, dataset, source)
    _check(public, config, backbone, classes, source)
    weights = {name: tensor.clone() for name, tensor in import_public(public).items()}
    if class_head == DROP:
        weights = {name: tensor for name, tensor in weights.items() if not _CLASS_HEAD.fullmatch(name)}
    elif class_head != KEEP:
        rows = _rows(classes, dataset, class_head)
        weights = {n: _remapped(t, rows) if _CLASS_HEAD.fullmatch(n) else t for n, t in weights.items()}
        categories = list(entry(class_head).categories)
    content = {"model": weights, "backbone": backbone, "categories": [list(category) for category in categories]}
    save_checkpoint(output, content | {"config": configuration.canonical(config)})
    dropped = [name for name in public if not our_names(name)]
    return dropped + ([name for name in public if "class_embed" in name] if class_head == DROP else [])


def read_public(source: Path) -> dict[str, Tensor]:
    """Entry `model` of a public checkpoint, loaded without running code of the file. Raises InputError."""
    if not source.is_file():
        raise InputError(f"{source}: no such file; expected a public SeqFormer checkpoint (.pth).")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options of the public training run
            content = torch.load(source, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{source}: damaged, or more than tensors and plain values ({reason}). Get it anew.") from None
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        keys = ", ".join(map(str, content))[:200] if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{source}: found {keys or 'nothing'}, expected an entry 'model' that maps names to tensors.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _backbone(public: dict[str, Tensor], source: Path) -> str:
    for backbone, (name, shape) in _BACKBONES.items():
        if name in public and tuple(public[name].shape) == shape:
            return backbone
    raise InputError(f"{source}: found no backbone that is known; expected one of {', '.join(_BACKBONES)}.")


def _config(public: dict[str, Tensor]) -> Config:
    """The baseline's recipe with the number of layers and queries that the checkpoint has."""
    root = ABLATIONS if ABLATIONS.is_dir() else Path(__file__).resolve().parents[2] / ABLATIONS
    tree = configuration.load_baseline(root).model_dump(mode="json", by_alias=True)
    for part in ("encoder", "decoder"):
        tree["model"][part]["layers"] = 1 + max(
            (int(n.split(".")[4]) for n in public if n.startswith(f"detr.transformer.{part}.layers.")), default=0
        )
    if "detr.query_embed.weight" in public:
        tree["model"]["queries"] = public["detr.query_embed.weight"].shape[0]
    return Config.model_validate(tree)


def _check(public: dict[str, Tensor], config: Config, backbone: str, classes: int, source: Path) -> None:
    problems = list(_problems(public, config, backbone, classes))
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise InputError(f"{source}: {len(problems)} problem(s) as a {backbone} checkpoint:\n{shown}{more}")


def _problems(public: dict[str, Tensor], config: Config, backbone: str, classes: int) -> Iterator[str]:
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in build_model(config.model, backbone, classes).state_dict().items()}
    given: dict[str, tuple[str, Tensor]] = {}
    for name, tensor in public.items():
        try:
            ours = import_public({name: tensor})
        except InputError as error:
            yield str(error)
            continue
        for key, value in ours.items():
            if key not in expected:
                yield f"{name}: does not belong to this model"
            elif tuple(value.shape) != expected[key]:
                yield f"{name}: found shape {tuple(tensor.shape)}; our {key} has {expected[key]}"
            if key in given and not torch.equal(given[key][1], value):
                yield f"{name}: differs from {given[key][0]}, which should be the same tensor"
            given[key] = (name, value)
    for key in expected.keys() - given.keys():
        yield f"nothing for our {key}"


def _categories(classes: int, dataset: str, source: Path) -> list[tuple[int, str]]:
    """(id, name) of each public logit; ILLEGAL where it stands for no category."""
    if classes not in (YTVIS_LOGITS, COCO_LOGITS):
        raise InputError(f"{source}: found {classes} class logits, expected {YTVIS_LOGITS} or {COCO_LOGITS} (COCO).")
    names = dict(entry(dataset).categories)
    if classes == COCO_LOGITS:
        names = {number: f"COCO category {number}" for number in range(1, classes)}
    return [(number, names.get(number, ILLEGAL)) for number in range(classes)]


def _rows(classes: int, dataset: str, target: str) -> list[list[int]]:
    """For each category of `target`, the public logits that mean it: one of equal name, else all that map to it."""
    if classes == COCO_LOGITS:
        names = coco_map(target, CORRECTED)
        return [[coco for coco, number in names.items() if number == wanted] for wanted, _ in entry(target).categories]
    ids = {name: number for number, name in entry(dataset).categories}
    return [[ids[name]] if name in ids else [] for _, name in entry(target).categories]


def _remapped(head: Tensor, rows: list[list[int]]) -> Tensor:
    """Weight (K, C) or bias (K,) with one row for each category: mean of its logits, untrained where there is none."""
    untrained = head.new_full(head.shape[1:], PRIOR_LOGIT if head.ndim == 1 else 0.0)
    return torch.stack([head[chosen].mean(0) if chosen else untrained for chosen in rows])
