"""The typed configuration: baseline recipe + scale + variant, resolved and checked; errors name file and key.

`ablations/baseline.yaml` is the only complete recipe. A scale (`ablations/scales/`) overrides sizes, a variant
(`ablations/variants/`) is the one change under study, a study (`ablations/studies/`) is the matrix that is run.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mssts.core.errors import InputError

ABLATIONS = Path("ablations")
PRETRAIN = "pretrain"
TRAIN = "train"
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
Parts = dict[str, dict[str, JsonValue]]
"""Registered parts by name, each with the values of its own section (docs/adding-a-part.md)."""
PART_KEYS = ("model.encoder.branches", "model.decoder.blocks", "loss.terms")


class Section(BaseModel):
    """Base of every section: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __hash__(self) -> int:
        """Hash of the values, among them mappings and lists."""
        return hash(self.model_dump_json())


class SyntheticSection(Section):
    """Size of a generated dataset (SynthVIS); ignored for a dataset that the user brings."""

    train_videos: Positive
    valid_videos: Positive
    control_videos: Positive
    still_images: Positive
    height: Positive = Field(description="pixels of the short side of a frame")
    width: Positive = Field(description="pixels of the long side of a frame")


class DataSection(Section):
    """Which frames make a clip and how they are augmented."""

    synthetic: SyntheticSection
    short_sides: list[Positive] = Field(description="training short sides in pixels, one drawn per clip")
    max_long_side: Positive
    crop: bool = Field(description="also use resize {400,500,600} + crop 384-600 + resize")
    photometric: bool
    flip: Probability
    pad_multiple: Positive
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[PositiveFloat] = Field(min_length=3, max_length=3)
    protocol: Literal["local", "official"] = Field("local", description="train a user's dataset on a part or all")
    joint: bool = Field(False, description="videos and COCO's images as one set")
    coco_map: Literal["corrected", "seqformer"] = Field("corrected", description="of COCO's categories to the videos'")


class MsStsSection(Section):
    """Multi-scale spatio-temporal split attention, a branch of the encoder."""

    enabled: bool
    width: Positive = Field(description="channels inside the branch")
    heads: Positive
    feedforward_dim: Positive
    intra_scale: bool = Field(description="attention over time within each scale")
    inter_scale: bool = Field(description="attention over time from each scale to the next coarser one")
    own_frame_only: bool = Field(description="capacity control: attention confined to the token's own frame")


class EncoderSection(Section):
    """Deformable encoder."""

    layers: Positive
    ms_sts: MsStsSection
    branches: Parts = Field({}, description="registered encoder branches (mssts/models/registry.py)")


class TemporalSection(Section):
    """Temporal attention over the box queries of one instance, in the decoder."""

    enabled: bool
    width: Positive = Field(description="channels of the attention")
    heads: Positive


class DecoderSection(Section):
    """Deformable decoder with instance and box queries."""

    layers: Positive
    temporal: TemporalSection
    blocks: Parts = Field({}, description="registered decoder blocks (mssts/models/registry.py)")


class ModelSection(Section):
    """Sizes and switches of the network."""

    hidden_dim: Positive = Field(description="channels of the encoder and the decoder")
    heads: Positive
    points: Positive = Field(description="sampling points per head and level of deformable attention")
    levels: Positive = Field(description="feature levels, from stride 8 on")
    feedforward_dim: Positive
    dropout: Probability
    queries: Positive = Field(description="instance queries of a clip")
    mask_dim: Positive = Field(description="channels of the mask features and of the dynamic convolutions")
    encoder: EncoderSection
    decoder: DecoderSection


class MatchingSection(Section):
    """Weights of the costs in the Hungarian matching."""

    class_: NonNegative = Field(alias="class")
    box: NonNegative
    giou: NonNegative


class LossWeightsSection(Section):
    """Weights of the built-in loss terms."""

    class_: NonNegative = Field(alias="class")
    l1: NonNegative
    giou: NonNegative
    mask: NonNegative
    dice: NonNegative


class ForegroundBackgroundSection(Section):
    """The adversarial foreground-background separability loss."""

    enabled: bool
    weight: PositiveFloat
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
    focal_alpha: Probability
    focal_gamma: NonNegative
    foreground_background: ForegroundBackgroundSection
    terms: Parts = Field({}, description="registered loss terms (mssts/losses/registry.py)")


class OptimisationSection(Section):
    """One training stage: a fixed number of optimiser steps of a fixed total batch."""

    steps: Positive
    batch_clips: Positive = Field(description="clips per optimiser step, over all devices")
    frames: Positive = Field(description="frames per clip (T)")
    learning_rate: PositiveFloat
    backbone_learning_rate: PositiveFloat
    reference_rate_factor: PositiveFloat = Field(description="factor on sampling_offsets and reference_points")
    weight_decay: NonNegative
    gradient_clip_norm: PositiveFloat
    warmup_fraction: Probability
    schedule: Literal["step", "cosine"]
    drop_fractions: list[Probability] = Field(description="x0.1 at these fractions of the steps (schedule: step)")
    log_every: Positive = Field(description="steps between two records of the training log")


class PretrainSection(OptimisationSection):
    """The stage on still images that all variants start from."""

    backbone_weights: str = Field(
        "imagenet", description="imagenet: through the backbone's library; random; or a local file or folder of them"
    )


class TrainSection(OptimisationSection):
    """Training of a variant from the pre-trained checkpoint."""

    seeds_per_pretraining: Positive = Field(description="seed k starts from pre-training seed (k-1)//this + 1")
    init: str = Field("pretrain", description="pretrain: our own stage on still images; else a checkpoint of ours")


class PredictSection(Section):
    """Inference on whole videos."""

    short_side: Positive
    top_k: Positive = Field(description="(query, class) pairs kept per video")
    mask_threshold: Probability


class EvaluationSection(Section):
    """What is counted; every AP definition itself is fixed."""

    bootstrap_replicates: Positive
    bootstrap_seed: Natural


class RuntimeSection(Section):
    """Machine-independent execution: from the config, never from the machine."""

    device: Literal["cpu", "cuda", "auto"]
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"]
    threads: Positive


class ExecutionSection(Section):
    """How a run is carried out. It shapes no result beyond rounding: it names no run and stands in no record."""

    devices: Positive = Field(1, description="on one node")
    nodes: Positive = 1
    clips_per_device: Positive | None = Field(None, description="clips at a time; the batch is met by accumulation")
    checkpoint_encoder: bool = Field(False, description="compute the encoder again in the backward pass: less memory")
    workers: Natural = Field(0, description="processes that prepare batches, per device")
    checkpoint_every: Positive = Field(500, description="steps between two resume checkpoints")


class Config(Section):
    """One resolved run."""

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
    """One question asked of the baseline: a few dotted changes."""

    title: str
    question: str = Field(min_length=1)
    source: str = Field(min_length=1)
    changes: dict[str, Any]


class Study(Section):
    """A matrix of runs: datasets x backbones x variants x seeds at one scale."""

    question: str = Field(min_length=1)
    scale: Name
    datasets: list[Name] = Field(min_length=1)
    splits: list[Name] = Field(description="predicted and evaluated")
    submissions: list[Name] = Field([], description="predicted and zipped only")
    backbones: list[Name] = Field(min_length=1)
    variants: list[Name] = Field(min_length=1)
    seeds: list[Positive] = Field(min_length=1)
    foreign: dict[str, str] = Field({}, description="other methods: title -> results.json on the first dataset, split")
    cost: str
    expect: str


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in a YAML file. Raises InputError if missing, not YAML, or not a mapping."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise InputError(f"{path}: no such file. There are: {known}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}.")
    return content


def _validated(model: type[BaseModel], content: dict[str, Any], path: Path | str) -> Any:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            key = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"{path}: {key}: unknown key{_suggestion(model, key)}")
            elif problem["type"] == "missing":
                lines.append(f"{path}: {key}: missing; add it")
            else:
                lines.append(f"{path}: {key}: found {problem['input']!r}; {problem['msg']}")
        raise InputError("\n".join(lines)) from None


def validated(model: type[BaseModel], content: dict[str, Any], path: Path | str) -> Any:
    """The content of a YAML file as a typed record. Raises InputError naming file and key of every problem."""
    return _validated(model, content, path)


def _suggestion(model: type[BaseModel], dotted: str) -> str:
    *parents, last = dotted.split(".")
    for parent in parents:
        field = next((f for n, f in model.model_fields.items() if (f.alias or n) == parent), None)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return ""
        model = field.annotation
    names = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(last, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(names)}"


def _leaves(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        section = isinstance(value, dict) and name not in PART_KEYS
        leaves |= _leaves(value, f"{name}.") if section else {name: value}
    return leaves


def _override(tree: dict[str, Any], changes: dict[str, Any], path: Path) -> dict[str, Any]:
    """A copy of the recipe `tree` with dotted keys replaced. Raises InputError for a key that is not in the recipe.

    A mapping of registered parts is a value: it is replaced as a whole.
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


def load_study(name: str, root: Path = ABLATIONS) -> Study:
    """The study of that name, its variants checked for existence. Raises InputError."""
    path = root / "studies" / f"{name}.yaml"
    study: Study = _validated(Study, read_yaml(path), path)
    for key in ("datasets", "splits", "backbones", "variants", "seeds"):
        values = getattr(study, key)
        if len(set(values)) != len(values):
            raise InputError(f"{path}: {key}: found a value twice in {values}; name each once")
    for variant in study.variants:
        load_variant(variant, root)
    config = resolve(study.scale, "baseline", root)
    _check_foreign(study, path)
    if not study.splits and not study.submissions:
        raise InputError(f"{path}: splits: found none, and no submissions; name what is to be predicted")
    local = [split for split in study.splits if split.startswith("local_")]
    if local and config.data.protocol == "official":
        raise InputError(f"{path}: splits: {local} belong to the videos that data.protocol: official trains on")
    return study


def _check_foreign(study: Study, path: Path) -> None:
    names = [foreign_name(title) for title in study.foreign]
    if not all(names) or len(set(names)) != len(names):
        raise InputError(
            f"{path}: foreign: found the titles {list(study.foreign)}; give each letters or digits of its own"
        )
    if study.foreign and not study.splits:
        raise InputError(f"{path}: foreign: there is no split to evaluate these results on; name one in splits")


def foreign_name(title: str) -> str:
    """Name of another method's directory: the letters and digits of its title, in small letters, the rest as dashes."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def load_variant(name: str, root: Path = ABLATIONS) -> Variant:
    """The variant of that name, each change checked against the baseline. Raises InputError naming file and key."""
    path = root / "variants" / f"{name}.yaml"
    variant: Variant = _validated(Variant, read_yaml(path), path)
    baseline = root / "baseline.yaml"
    recipe = read_yaml(baseline)
    changed = _override(recipe, variant.changes, path)
    _validated(Config, changed, path)
    values = _leaves(recipe)
    for dotted, value in variant.changes.items():
        if values[dotted] == value:
            raise InputError(f"{path}: {dotted}: found {value!r}, which is the baseline's own value; remove the line")
    if not variant.changes and name != "baseline":
        raise InputError(f"{path}: changes: found nothing; a variant other than 'baseline' changes something")
    return variant


def recipe(root: Path = ABLATIONS) -> Config:
    """The baseline's own recipe, at the paper's sizes. Raises InputError."""
    path = root / "baseline.yaml"
    return _validated(Config, read_yaml(path), path)


def resolve(scale: str, variant: str = "baseline", root: Path = ABLATIONS) -> Config:
    """Baseline recipe + scale + variant, validated. Raises InputError naming file and key."""
    baseline = root / "baseline.yaml"
    recipe = read_yaml(baseline)
    _validated(Config, recipe, baseline)
    path = root / "scales" / f"{scale}.yaml"
    scaled = _override(recipe, _leaves(read_yaml(path)), path)
    _validated(Config, scaled, path)
    changes = load_variant(variant, root).changes
    path = root / "variants" / f"{variant}.yaml"
    return _validated(Config, _override(scaled, changes, path), path)


def canonical(config: BaseModel, sections: tuple[str, ...] = ()) -> str:
    """Canonical JSON of a config, or of some of its sections: equal text if and only if equal values.

    Keys at their built-in default are left out, so that a new key with a default changes the text of nothing old.
    """
    tree = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if sections:
        tree = {name: tree.get(name, {}) for name in sections}
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def digest(config: Config, stage: str = TRAIN) -> str:
    """First 12 hex digits of the SHA-256 of the canonical JSON of the sections that shape the weights of a stage."""
    return hashlib.sha256(canonical(config, STAGE_SECTIONS[stage]).encode()).hexdigest()[:12]


def pretrain_seed(config: Config, seed: int) -> int:
    """The pre-training seed from whose checkpoint training seed `seed` starts."""
    return (seed - 1) // config.train.seeds_per_pretraining + 1
