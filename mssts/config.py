"""The typed configuration: baseline + scale + variant, resolved and checked. Errors name file and key.

`ablations/baseline.yaml` is the only complete configuration. A scale (`ablations/scales/`) overrides sizes, a variant
(`ablations/variants/`) is the one change under study, a study (`ablations/studies/`) is the matrix that is run and is
resolved by `mssts.study.resolve`. Imports no torch.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mssts.core.errors import InputError

ABLATIONS = Path("ablations")
PRETRAIN: Final = "pretrain"
TRAIN: Final = "train"
STAGE_SECTIONS = {
    PRETRAIN: ("data", "model", "loss", "pretrain", "runtime"),
    TRAIN: ("data", "model", "loss", "pretrain", "train", "runtime"),
}

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Model = TypeVar("Model", bound=BaseModel)
Parts = dict[str, dict[str, JsonValue]]
"""Registered parts by name, each with the values of its own section (docs/adding-a-part.md)."""
PART_KEYS = ("model.encoder.branches", "model.decoder.blocks", "loss.terms")


class Section(BaseModel):
    """Base class of all sections: unknown keys are errors, and no value is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __hash__(self) -> int:
        """Hash of the values, among them mappings and lists."""
        return hash(self.model_dump_json())


class SyntheticSection(Section):
    """Size of a generated dataset (SynthVIS); not read for a user's own dataset."""

    train_videos: Positive = Field(description="videos of split train")
    valid_videos: Positive = Field(description="videos of split valid")
    control_videos: Positive = Field(description="videos of split control, which repeat one frame")
    still_images: Positive = Field(description="images for the pre-training")
    height: Positive = Field(description="pixels of the short side of a frame")
    width: Positive = Field(description="pixels of the long side of a frame")


class DataSection(Section):
    """The frames of a clip and their augmentation."""

    synthetic: SyntheticSection
    short_sides: list[Positive] = Field(description="short sides in pixels; one is drawn per training clip")
    max_long_side: Positive = Field(description="limit of the long side in pixels after resizing")
    crop: bool = Field(description="also use resize {400,500,600} + crop 384-600 + resize")
    photometric: bool = Field(description="distort brightness, contrast, saturation, hue and the order of channels")
    flip: Probability = Field(description="probability that a clip is mirrored")
    pad_multiple: Positive = Field(description="frames are padded to multiples of it, in pixels")
    mean: list[float] = Field(min_length=3, max_length=3, description="of red, green and blue in 0..1")
    std: list[PositiveFloat] = Field(min_length=3, max_length=3, description="standard deviation, likewise")
    protocol: Literal["local", "official"] = Field(default="local", description="train on part or all of the videos")
    joint: bool = Field(default=False, description="train on videos and COCO images together")
    coco_map: Literal["corrected", "seqformer"] = Field(default="corrected", description="COCO's categories to ours")


class MsStsSection(Section):
    """Multi-scale spatio-temporal split attention, a branch of the encoder."""

    enabled: bool = Field(description="add the module to each encoder layer")
    width: Positive = Field(description="channels inside the branch")
    heads: Positive = Field(description="attention heads")
    feedforward_dim: Positive = Field(description="hidden channels of its feed-forward networks")
    intra_scale: bool = Field(description="attention over time within each scale")
    inter_scale: bool = Field(description="attention over time from each scale to the next coarser one")
    intra_scale_pre_norm: bool = Field(default=False, description="layer norm before the intra-scale attention")
    inter_scale_form: Literal["pairs", "two_way", "cascade"] = Field(
        default="pairs", description="finer scale as queries, both, or from coarse to fine (mssts/models/ms_sts.py)"
    )
    own_frame_only: bool = Field(description="capacity control: attention confined to the token's own frame")


class EncoderSection(Section):
    """Deformable encoder."""

    layers: Positive = Field(description="number of layers")
    ms_sts: MsStsSection
    branches: Parts = Field({}, description="registered encoder branches (mssts/models/registry.py)")


class TemporalSection(Section):
    """Temporal attention over the box queries of one instance, in the decoder."""

    enabled: bool = Field(description="add the attention to each decoder layer")
    width: Positive = Field(description="channels of the attention")
    heads: Positive = Field(description="attention heads")


class DecoderSection(Section):
    """Deformable decoder with instance and box queries."""

    layers: Positive = Field(description="number of layers")
    temporal: TemporalSection
    blocks: Parts = Field({}, description="registered decoder blocks (mssts/models/registry.py)")


class ModelSection(Section):
    """Sizes and switches of the network."""

    hidden_dim: Positive = Field(description="channels of the encoder and the decoder")
    heads: Positive = Field(description="attention heads")
    points: Positive = Field(description="sampling points per head and level of deformable attention")
    levels: Positive = Field(description="feature levels, from stride 8 on")
    feedforward_dim: Positive = Field(description="hidden channels of the feed-forward networks")
    dropout: Probability = Field(description="probability of dropout")
    queries: Positive = Field(description="instance queries of a clip")
    mask_dim: Positive = Field(description="channels of the mask features and of the dynamic convolutions")
    encoder: EncoderSection
    decoder: DecoderSection


class MatchingSection(Section):
    """Weights of the costs in the Hungarian matching."""

    class_: NonNegative = Field(alias="class", description="weight of the focal cost of the category")
    box: NonNegative = Field(description="weight of the Euclidean distance of the boxes of all frames")
    giou: NonNegative = Field(description="weight of the negative generalised IoU, averaged over frames")


class LossWeightsSection(Section):
    """Weights of the built-in loss terms."""

    class_: NonNegative = Field(alias="class", description="weight of the focal loss of the category")
    l1: NonNegative = Field(description="weight of the L1 distance of the boxes")
    giou: NonNegative = Field(description="weight of 1 - generalised IoU")
    mask: NonNegative = Field(description="weight of the focal loss of the mask")
    dice: NonNegative = Field(description="weight of the dice loss")


class ForegroundBackgroundSection(Section):
    """The adversarial foreground-background separability loss."""

    enabled: bool = Field(description="train with the adversarial loss")
    weight: PositiveFloat = Field(description="of the adversarial term in the model's loss")
    warmup_steps: Natural = Field(description="training steps before the model sees the loss")
    learning_rate: PositiveFloat = Field(description="of the discriminator")
    channels: Positive = Field(description="of the discriminator")


class LossTermSection(Section):
    """Base of the section of a registered loss term."""

    weight: NonNegative = Field(description="of the term in the total loss")


class LossSection(Section):
    """Matching, loss terms with their weights, and the adversary."""

    matching: MatchingSection
    weights: LossWeightsSection
    focal_alpha: Probability = Field(description="weight of positives in focal losses")
    focal_gamma: NonNegative = Field(description="exponent of focal losses")
    foreground_background: ForegroundBackgroundSection
    terms: Parts = Field({}, description="registered loss terms (mssts/losses/registry.py)")


class OptimisationSection(Section):
    """One training stage: the number of optimiser steps, the total batch and the optimiser."""

    steps: Positive = Field(description="optimiser steps")
    batch_clips: Positive = Field(description="clips per optimiser step, summed over all devices")
    frames: Positive = Field(description="frames per clip (T)")
    learning_rate: PositiveFloat = Field(description="of all weights that the next two keys do not cover")
    backbone_learning_rate: PositiveFloat = Field(description="of the backbone")
    reference_rate_factor: PositiveFloat = Field(description="factor on sampling_offsets and reference_points")
    weight_decay: NonNegative = Field(description="of AdamW")
    gradient_clip_norm: PositiveFloat = Field(description="largest norm of all gradients together")
    warmup_fraction: Probability = Field(description="share of the steps in which the rate rises")
    schedule: Literal["step", "cosine"] = Field(description="the rate drops in steps or follows a cosine")
    drop_fractions: list[Probability] = Field(description="the rate drops to a tenth at these fractions (step)")
    log_every: Positive = Field(description="steps between two records of the training log")


class PretrainSection(OptimisationSection):
    """Pre-training on still images: the checkpoint that all variants start from."""

    backbone_weights: str = Field(default="imagenet", description="imagenet, random, or a local file or folder")


class TrainSection(OptimisationSection):
    """Training of a variant from the pre-trained checkpoint."""

    seeds_per_pretraining: Positive = Field(description="seed k starts from pre-training seed (k-1)//this + 1")
    init: str = Field(default=PRETRAIN, description="pretrain (the stage of that name), or the path of a checkpoint")


class PredictSection(Section):
    """Inference on whole videos."""

    short_side: Positive = Field(description="short side of the frames in pixels")
    top_k: Positive = Field(description="(query, class) pairs kept per video")
    mask_threshold: Probability = Field(description="probability above which a pixel belongs to a mask")


class EvaluationSection(Section):
    """Resampling of videos; the definitions of the metrics are fixed."""

    bootstrap_replicates: Positive = Field(description="resamples of the videos")
    bootstrap_seed: Natural = Field(description="seed of the resamples")


class RuntimeSection(Section):
    """Device, precision and threads: from the configuration, never from the machine."""

    device: Literal["cpu", "cuda", "auto"] = Field(description="auto takes a GPU where there is one")
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = Field(description="of training only")
    threads: Positive = Field(description="CPU threads of a process")


class ExecutionSection(Section):
    """How a run is carried out. Results change by rounding only, so it names no run and is in no record."""

    devices: Positive = Field(default=1, description="on one node")
    nodes: Positive = Field(default=1, description="machines that train together")
    clips_per_device: Positive | None = Field(default=None, description="clips at a time; the rest is accumulated")
    checkpoint_encoder: bool = Field(default=False, description="activation checkpointing: less memory, more time")
    workers: Natural = Field(default=0, description="processes that prepare batches, per device")
    checkpoint_every: Positive = Field(default=500, description="steps between two resume checkpoints")


class Config(Section):
    """The complete configuration of a run."""

    data: DataSection
    model: ModelSection
    loss: LossSection
    pretrain: PretrainSection
    train: TrainSection
    predict: PredictSection
    evaluation: EvaluationSection
    runtime: RuntimeSection
    execution: ExecutionSection = ExecutionSection()


RECORDED = tuple(name for name in Config.model_fields if name != "execution")


class Variant(Section):
    """One change of the baseline, and the question that it answers."""

    title: str = Field(description="name in tables and figures")
    question: str = Field(min_length=1, description="what the variant answers")
    source: str = Field(min_length=1, description="who says that it should matter, as a source tag")
    changes: dict[str, Any] = Field(description="dotted key of the configuration -> value")


class Study(Section):
    """The file of a study, a matrix of runs: datasets x backbones x variants x seeds at one scale."""

    question: str = Field(min_length=1, description="what the study answers")
    scale: Name = Field(description="name of a file in ablations/scales")
    datasets: list[Name] = Field(min_length=1, description="names of datasets")
    splits: list[Name] = Field(description="predicted and evaluated")
    submissions: list[Name] = Field(default=[], description="predicted and zipped only")
    backbones: list[Name] = Field(min_length=1, description="names of backbones")
    variants: list[Name] = Field(min_length=1, description="names of files in ablations/variants")
    seeds: list[Positive] = Field(min_length=1, description="seeds of the trainings")
    external: dict[str, str] = Field(default={}, description="other methods, title -> file, on the first split")
    cost: str = Field(description="time and downloads, in words")
    expect: str = Field(description="what should come out, in words")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: The file is missing, not YAML, or not a mapping.
    """
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise InputError(f"{path}: no such file. Available: {known}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}.")
    return content


def validated(model: type[Model], content: dict[str, Any], path: Path | str) -> Model:
    """Check the content of a YAML file and return it as a typed record.

    Raises:
        InputError: One line for each problem, with file and key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            key = ".".join(map(str, problem["loc"]))
            unknown = {"extra_forbidden": f"unknown key{_suggestion(model, key)}", "missing": "missing; add it"}
            found = f"found {problem['input']!r}; {problem['msg']}"
            lines.append(f"{path}: {key}: {unknown.get(problem['type'], found)}")
        raise InputError("\n".join(lines)) from None


def _suggestion(model: type[BaseModel], dotted: str) -> str:
    *parents, last = dotted.split(".")
    for parent in parents:
        field = next((f for n, f in model.model_fields.items() if (f.alias or n) == parent), None)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return ""
        model = field.annotation
    names = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(last, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; allowed here: {', '.join(names)}"


def leaves(tree: dict[str, Any], whole: Collection[str] = (), prefix: str = "") -> dict[str, Any]:
    """Values of a nested mapping by dotted key.

    Args:
        tree: The mapping.
        whole: Dotted keys of mappings that are values themselves.
        prefix: Put before every key.
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, dict) and name not in whole
        found |= leaves(value, whole, f"{name}.") if nested else {name: value}
    return found


def _override(tree: dict[str, Any], changes: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a copy of a complete configuration with the values of dotted keys replaced.

    A mapping of registered parts is a value: it is replaced as a whole.

    Raises:
        InputError: A key of `changes` (from the file `path`) is not in the configuration.
    """
    result = json.loads(json.dumps(tree))
    for dotted, value in changes.items():
        node = result
        *parents, last = dotted.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node or (isinstance(node[last], dict) and dotted not in PART_KEYS):
            raise InputError(f"{path}: {dotted}: unknown key{_suggestion(Config, dotted)}")
        node[last] = value
    return result


def load_baseline(root: Path = ABLATIONS) -> Config:
    """The baseline configuration at the paper's sizes. Raises InputError."""
    path = root / "baseline.yaml"
    return validated(Config, read_yaml(path), path)


def resolve(scale: str, variant: str = "baseline", root: Path = ABLATIONS) -> Config:
    """The configuration of one variant at a scale. Raises InputError naming file and key."""
    return resolve_variants(scale, [variant], root)[1][variant]


def resolve_variants(
    scale: str, names: Iterable[str], root: Path = ABLATIONS
) -> tuple[dict[str, Variant], dict[str, Config]]:
    """Read the baseline, a scale and some variants, each file once.

    Returns:
        The variants, and the configuration of each (baseline + scale + changes of the variant), by name.

    Raises:
        InputError: With file and key.
    """
    path = root / "baseline.yaml"
    baseline = read_yaml(path)
    validated(Config, baseline, path)
    path = root / "scales" / f"{scale}.yaml"
    scaled = _override(baseline, leaves(read_yaml(path), PART_KEYS), path)
    validated(Config, scaled, path)
    variants, configs = {}, {}
    for name in names:
        path = root / "variants" / f"{name}.yaml"
        variants[name] = validated(Variant, read_yaml(path), path)
        changes = variants[name].changes
        validated(Config, _override(baseline, changes, path), path)
        configs[name] = validated(Config, _override(scaled, changes, path), path)
        _check_changes(changes, leaves(baseline, PART_KEYS), name, path)
    return variants, configs


def _check_changes(changes: dict[str, Any], values: dict[str, Any], name: str, path: Path) -> None:
    for dotted, value in changes.items():
        if values[dotted] == value:
            raise InputError(f"{path}: {dotted}: found {value!r}, which equals the baseline's value; remove the line")
    if not changes and name != "baseline":
        raise InputError(f"{path}: changes: empty; only the variant 'baseline' may have no changes")


def canonical(config: BaseModel, sections: tuple[str, ...] = ()) -> str:
    """Canonical JSON of a record, or of some of its sections: equal text if and only if equal values.

    Keys at their built-in default are left out, so that a new key with a default changes no existing text.
    """
    tree = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if sections:
        tree = {name: tree.get(name, {}) for name in sections}
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def digest(config: Config, stage: str = TRAIN) -> str:
    """First 12 hex digits of the SHA-256 of the canonical sections that determine the weights of a stage."""
    return hashlib.sha256(canonical(config, STAGE_SECTIONS[stage]).encode()).hexdigest()[:12]


def pretrain_seed(config: Config, seed: int) -> int:
    """The pre-training seed whose checkpoint training seed `seed` starts from."""
    return (seed - 1) // config.train.seeds_per_pretraining + 1
