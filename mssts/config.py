"""The typed configuration: baseline + scale + variant, resolved and checked. Errors name file and key.

`ablations/baseline.yaml` is the only complete configuration. A scale (`ablations/scales/`) overrides sizes, a variant
(`ablations/variants/`) is the one change under study, a study (`ablations/studies/`) is the matrix that is run and is
resolved by `mssts.study.resolve`. Imports no torch.

Every value has bounds that no real use exceeds, and a section checks what its values demand of each other: a mistake
ends the loading of a study, not a job of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from mssts.backbones import BACKBONES
from mssts.core.errors import InputError, short, shown, suggestion
from mssts.core.yaml_files import read_yaml

ABLATIONS = Path("ablations")
PRETRAIN: Final = "pretrain"
TRAIN: Final = "train"
IMAGENET: Final = "imagenet"
NO_START: Final = "none"
RANDOM: Final = "random"
STAGE_SECTIONS = {
    PRETRAIN: ("data", "model", "loss", "pretrain", "runtime"),
    TRAIN: ("data", "model", "loss", "pretrain", "train", "runtime"),
}

NAME_RULE = "lower-case letters, digits, - and _, with a letter or digit first, at most 64 of them"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_NO_PATH = re.compile(r"[{}\x00-\x1f\x7f]")  # the workflow reads braces as wildcards
MIN_SIDE = 48  # px; the objects of smaller generated frames would be too small to tell apart


def check_name(text: str, where: str) -> str:
    """Return a name, which may become a part of a path and of a command. Raises InputError for another text."""
    if not _NAME.fullmatch(text):
        raise InputError(f"{where}: found {shown(text)}; expected a name of {NAME_RULE}")
    return text


def check_backbone(name: str) -> str:
    """Return the name of a backbone. Raises InputError for an unknown one."""
    if name not in BACKBONES:
        raise InputError(f"backbone: found {shown(name)}; {suggestion(name, BACKBONES)}")
    return name


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise PydanticCustomError("name", f"expected a name of {NAME_RULE}")  # type: ignore[misc] # no format
    return text


def _backbone(text: str) -> str:
    if text not in BACKBONES:
        raise PydanticCustomError("backbone", "{expected}", {"expected": suggestion(text, BACKBONES)})
    return text


def _path(text: str) -> str:
    if not text.strip() or _NO_PATH.search(text):
        raise PydanticCustomError("path", "expected a path without braces, line breaks and control characters")
    return text


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise PydanticCustomError("unique", "expected each value once")
    return values


def _one_line(text: Any) -> Any:
    return " ".join(text.split()) if isinstance(text, str) else text


Positive = Annotated[int, Field(gt=0, le=10**8)]
Natural = Annotated[int, Field(ge=0, le=10**8)]
Seed = Annotated[int, Field(gt=0, lt=2**32)]
Pixels = Annotated[int, Field(gt=0, le=8192)]
ShortSides = Annotated[list[Pixels], Field(min_length=1, max_length=100)]
Channels = Annotated[int, Field(gt=0, le=16384)]
PositiveFloat = Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Fractions = Annotated[list[Probability], Field(max_length=100)]
Deviation = Annotated[float, Field(ge=0.001, le=1, allow_inf_nan=False)]
Name = Annotated[str, AfterValidator(_name)]
Names = Annotated[list[Name], Field(max_length=100), AfterValidator(_unique)]
Text = Annotated[str, Field(max_length=10_000)]
Line = Annotated[str, BeforeValidator(_one_line), Field(min_length=1, max_length=200)]
"""Free text on one line: line breaks and repeated spaces in the file count as one space."""
UserPath = Annotated[str, Field(max_length=4096), AfterValidator(_path)]
Backbone = Annotated[str, AfterValidator(_backbone)]
"""A name in `mssts.backbones.BACKBONES`."""
Model = TypeVar("Model", bound=BaseModel)
Parts = dict[str, dict[str, JsonValue]]
"""Registered parts by name, each with the values of its own section (docs/adding-a-part.md)."""
COMMON_KEYS = ("data.synthetic.", "pretrain.", "predict.", "evaluation.")
"""Beginnings of the keys that the jobs of all variants read from the baseline's configuration."""
MAPPING_KEYS = ("model.encoder.branches", "model.decoder.blocks", "loss.terms", "train.init", "execution.backbones")
"""Keys whose value may be a mapping, which is replaced as a whole."""


class Section(BaseModel):
    """Base class of all sections: unknown keys are errors, and no value is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __hash__(self) -> int:
        """Hash of the values, among them mappings and lists."""
        return hash(self.model_dump_json())


def _require(condition: bool, key: str, found: object, expected: str) -> None:
    """Raise the error of values that do not go together, for the validator of a section.

    Args:
        condition: What has to hold.
        key: Key relative to the section.
        found: Its value.
        expected: What it should be.
    """
    if not condition:
        raise PydanticCustomError("together", "{expected}", {"key": key, "found": found, "expected": expected})


def _require_heads(key: str, width: int, heads: int) -> None:
    _require(width % heads == 0, key, width, f"expected a multiple of the number of heads, {heads}")


class SyntheticSection(Section):
    """Size of a generated dataset (SynthVIS); not read for a user's own dataset."""

    train_videos: Positive = Field(le=10**6, description="videos of split train")
    valid_videos: Positive = Field(le=10**6, description="videos of split valid")
    control_videos: Positive = Field(le=10**6, description="videos of split control, which repeat one frame")
    still_images: Positive = Field(le=10**6, description="images for the pre-training")
    height: Pixels = Field(ge=MIN_SIDE, description="pixels of the short side of a frame")
    width: Pixels = Field(ge=MIN_SIDE, description="pixels of the long side of a frame")

    @model_validator(mode="after")
    def _check(self) -> SyntheticSection:
        _require(self.height <= self.width, "height", self.height, f"expected at most the width, {self.width}")
        return self


class DataSection(Section):
    """The frames of a clip and their augmentation."""

    synthetic: SyntheticSection
    short_sides: ShortSides = Field(description="short sides in pixels; one is drawn per training clip")
    max_long_side: Pixels = Field(description="limit of the long side in pixels after resizing")
    crop: bool = Field(description="also use resize {400,500,600} + crop 384-600 + resize")
    photometric: bool = Field(description="distort brightness, contrast, saturation, hue and the order of channels")
    flip: Probability = Field(description="probability that a clip is mirrored")
    pad_multiple: Pixels = Field(multiple_of=8, description="frames are padded to multiples of it, in pixels")
    mean: list[Probability] = Field(min_length=3, max_length=3, description="of red, green and blue in 0..1")
    std: list[Deviation] = Field(min_length=3, max_length=3, description="standard deviation, likewise")
    protocol: Literal["local", "official"] = Field(default="local", description="train on part or all of the videos")
    joint: bool = Field(default=False, description="train on videos and COCO images together")
    coco_map: Literal["corrected", "seqformer"] = Field(default="corrected", description="COCO's categories to ours")


class MsStsSection(Section):
    """Multi-scale spatio-temporal split attention, a branch of the encoder."""

    enabled: bool = Field(description="add the module to each encoder layer")
    width: Channels = Field(description="channels inside the branch")
    heads: Channels = Field(description="attention heads")
    feedforward_dim: Channels = Field(description="hidden channels of its feed-forward networks")
    intra_scale: bool = Field(description="attention over time within each scale")
    inter_scale: bool = Field(description="attention over time from each scale to the next coarser one")
    intra_scale_pre_norm: bool = Field(default=False, description="layer norm before the intra-scale attention")
    inter_scale_form: Literal["pairs", "two_way", "cascade"] = Field(
        default="pairs", description="finer scale as queries, both, or from coarse to fine (mssts/models/ms_sts.py)"
    )
    own_frame_only: bool = Field(description="capacity control: attention confined to the token's own frame")

    @model_validator(mode="after")
    def _check(self) -> MsStsSection:
        _require_heads("width", self.width, self.heads)
        any_scale = self.intra_scale or self.inter_scale or not self.enabled
        _require(any_scale, "enabled", True, "expected false where intra_scale and inter_scale are both false")
        return self


class EncoderSection(Section):
    """Deformable encoder."""

    layers: Positive = Field(le=100, description="number of layers")
    ms_sts: MsStsSection
    branches: Parts = Field({}, description="registered encoder branches (mssts/models/registry.py)")


class TemporalSection(Section):
    """Temporal attention over the box queries of one instance, in the decoder."""

    enabled: bool = Field(description="add the attention to each decoder layer")
    width: Channels = Field(description="channels of the attention")
    heads: Channels = Field(description="attention heads")

    @model_validator(mode="after")
    def _check(self) -> TemporalSection:
        _require_heads("width", self.width, self.heads)
        return self


class DecoderSection(Section):
    """Deformable decoder with instance and box queries."""

    layers: Positive = Field(le=100, description="number of layers")
    temporal: TemporalSection
    blocks: Parts = Field({}, description="registered decoder blocks (mssts/models/registry.py)")


class ModelSection(Section):
    """Sizes and switches of the network."""

    hidden_dim: Channels = Field(multiple_of=4, description="channels of the encoder and the decoder")
    heads: Channels = Field(description="attention heads")
    points: Positive = Field(le=100, description="sampling points per head and level of deformable attention")
    levels: Positive = Field(ge=3, le=8, description="feature levels, from stride 8 on")
    feedforward_dim: Channels = Field(description="hidden channels of the feed-forward networks")
    dropout: Probability = Field(lt=1, description="probability of dropout")
    queries: Positive = Field(le=10_000, description="instance queries of a clip")
    mask_dim: Positive = Field(le=256, description="channels of the mask features and of the dynamic convolutions")
    encoder: EncoderSection
    decoder: DecoderSection
    deformable_sampling: Literal["auto", "grid_sample"] = Field(
        default="auto",
        description="auto: a Triton kernel on CUDA, C on a CPU; grid_sample: PyTorch's operation everywhere",
    )

    @model_validator(mode="after")
    def _check(self) -> ModelSection:
        _require_heads("hidden_dim", self.hidden_dim, self.heads)
        return self


class MatchingSection(Section):
    """Weights of the costs in the Hungarian matching."""

    class_: NonNegative = Field(alias="class", description="weight of the focal cost of the category")
    box: NonNegative = Field(description="weight of the Euclidean distance of the boxes of all frames")
    giou: NonNegative = Field(description="weight of the negative generalised IoU, averaged over frames")

    @model_validator(mode="after")
    def _check(self) -> MatchingSection:
        _require(self.class_ + self.box + self.giou > 0, "class", 0.0, "expected one weight or more above 0")
        return self


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
    min_score: Probability = Field(
        description="running share of clips whose true mask the discriminator prefers to a foreign one, from which on "
        "the model sees the loss; 0: from the first step"
    )
    learning_rate: Rate = Field(description="of the discriminator")
    channels: Channels = Field(description="of the discriminator")


class LossTermSection(Section):
    """Base of the section of a registered loss term."""

    weight: NonNegative = Field(description="of the term in the total loss")


class LossSection(Section):
    """Matching, loss terms with their weights, and the adversary."""

    matching: MatchingSection
    weights: LossWeightsSection
    focal_alpha: Probability = Field(description="weight of positives in focal losses")
    focal_gamma: NonNegative = Field(le=100, description="exponent of focal losses")
    foreground_background: ForegroundBackgroundSection
    terms: Parts = Field({}, description="registered loss terms (mssts/losses/registry.py)")


class OptimisationSection(Section):
    """One training stage: its length in optimiser steps or in epochs, the total batch and the optimiser."""

    steps: Positive | None = Field(default=None, description="optimiser steps; null where epochs says the length")
    epochs: Positive | None = Field(default=None, description="passes over the clips; null where steps says the length")
    batch_clips: Positive = Field(le=10**5, description="clips per optimiser step, summed over all devices")
    frames: Positive = Field(le=1000, description="frames per clip (T)")
    learning_rate: Rate = Field(description="of all weights that the next two keys do not cover")
    backbone_learning_rate: Rate = Field(description="of the backbone")
    reference_rate_factor: PositiveFloat = Field(description="factor on sampling_offsets and reference_points")
    weight_decay: NonNegative = Field(le=10, description="of AdamW")
    gradient_clip_norm: PositiveFloat = Field(description="largest norm of all gradients together")
    warmup_fraction: Probability = Field(description="share of the steps in which the rate rises")
    schedule: Literal["step", "cosine"] = Field(description="the rate drops in steps or follows a cosine")
    drop_fractions: Fractions = Field(description="the rate drops to a tenth at these fractions of the steps (step)")
    log_every: Positive = Field(description="steps between two records of the training log")

    def steps_of(self, clips: int) -> int:
        """Optimiser steps on so many clips: those that are stated, or enough to draw each clip in every epoch."""
        return self.steps or -(-(self.epochs or 0) * clips // self.batch_clips)

    @model_validator(mode="after")
    def _check(self) -> OptimisationSection:
        both = f"expected null beside epochs: {self.epochs}; to state the length in steps, write epochs: null"
        _require(self.steps is None or self.epochs is None, "steps", self.steps, both)
        neither = "expected a number of steps with epochs: null, or a number of epochs"
        _require(self.steps is not None or self.epochs is not None, "steps", self.steps, neither)
        drops = bool(self.drop_fractions) or self.schedule != "step"
        _require(drops, "drop_fractions", [], "expected fractions for the schedule step; [1.0] for a constant rate")
        return self


class PretrainSection(OptimisationSection):
    """Pre-training on still images: the checkpoint that all variants start from."""

    backbone_weights: UserPath = Field(default=IMAGENET, description="imagenet, random, or a local file or folder")
    short_sides: ShortSides | None = Field(default=None, description="as data.short_sides; null: equal to it")
    max_long_side: Pixels | None = Field(default=None, description="as data.max_long_side; null: equal to it")


class TrainSection(OptimisationSection):
    """Training of a variant, by default from the pre-trained checkpoint."""

    joint_drop_fractions: Fractions = Field(default=[], description="drop_fractions of a training with data.joint")
    seeds_per_pretraining: Positive = Field(description="seed k starts from pre-training seed (k-1)//this + 1")
    init: UserPath | Annotated[dict[Backbone, UserPath], Field(min_length=1)] = Field(
        default=PRETRAIN,
        description="pretrain (the stage of that name), imagenet (backbone only), none (all weights random), or the "
        "path of a checkpoint; or a mapping from backbones to one of these",
    )

    @property
    def starts(self) -> Collection[str]:
        """What the trainings of all backbones start from."""
        return [self.init] if isinstance(self.init, str) else self.init.values()

    def start(self, backbone: str) -> str:
        """What a training of that backbone starts from: PRETRAIN, IMAGENET, NO_START or the path of a checkpoint."""
        starts: Mapping[Any, str] = dict.fromkeys(BACKBONES, self.init) if isinstance(self.init, str) else self.init
        return starts[backbone]


class PredictSection(Section):
    """Inference on videos. One of up to `window` frames is computed as a whole, a longer one in overlapping windows."""

    short_side: Pixels = Field(description="short side of the frames in pixels")
    top_k: Positive = Field(le=10_000, description="(query, class) pairs kept per video")
    mask_threshold: Probability = Field(gt=0, lt=1, description="probability above which a pixel belongs to a mask")
    window: Positive = Field(default=100, description="frames that are computed at once; memory grows with it")
    overlap: Natural = Field(default=10, description="frames that a window shares with the one before")

    @model_validator(mode="after")
    def _check(self) -> PredictSection:
        _require(self.overlap < self.window, "overlap", self.overlap, f"expected less than the window, {self.window}")
        return self


class EvaluationSection(Section):
    """Resampling of videos; the definitions of the metrics are fixed."""

    bootstrap_replicates: Positive = Field(ge=39, le=10**6, description="resamples of the videos")
    bootstrap_seed: Natural = Field(description="seed of the resamples")


class RuntimeSection(Section):
    """Device, precision and threads: from the configuration, never from the machine."""

    device: Literal["cpu", "cuda"] = Field(description="cuda without a GPU is an error")
    precision: Literal["32-true", "64-true", "bf16-mixed"] = Field(description="of training only")
    tf32: bool = Field(default=False, description="on CUDA, matrix products and convolutions in TensorFloat-32")
    threads: Positive = Field(le=1024, description="CPU threads of a process")


class BackboneExecutionSection(Section):
    """How runs with one backbone are carried out; a key that is not given is that of all backbones."""

    devices: Positive = Field(default=1, le=1024, description="on one node")
    nodes: Positive = Field(default=1, le=1024, description="machines that train together")
    clips_per_device: Positive | None = Field(default=None, description="clips at a time; the rest is accumulated")
    checkpoint_encoder: bool = Field(default=False, description="activation checkpointing: less memory, more time")
    checkpoint_backbone: bool = Field(default=False, description="likewise in the backbone, of which tiny has none")
    workers: Natural = Field(default=0, le=1024, description="processes that prepare batches, per device")
    checkpoint_every: Positive = Field(default=500, description="steps between two resume checkpoints")


class ExecutionSection(BackboneExecutionSection):
    """How a run is carried out. Results change by rounding only, so it names no run and is in no record."""

    validate_every: Positive | None = Field(
        default=None, description="training steps between two measurements of AP (validation.csv); null: none"
    )
    validate_videos: Positive = Field(default=16, description="videos of the first evaluated split that measure it")
    backbones: dict[Backbone, BackboneExecutionSection] = Field(
        default={}, description="backbone -> those of the keys above that differ for it"
    )

    def on(self, backbone: str) -> ExecutionSection:
        """How runs with that backbone are carried out."""
        sections: Mapping[Any, BackboneExecutionSection] = self.backbones
        changes = sections[backbone].model_dump(exclude_unset=True) if backbone in sections else {}
        return self.model_copy(update=changes | {"backbones": {}})


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

    @model_validator(mode="after")
    def _check(self) -> Config:
        sections = {"": self.execution} | {f" of {name}": self.execution.on(name) for name in self.execution.backbones}
        for stage, (whose, execution) in product(
            (PRETRAIN, TRAIN) if PRETRAIN in self.train.starts else (TRAIN,), sections.items()
        ):
            clips = getattr(self, stage).batch_clips
            share = execution.devices * execution.nodes * (execution.clips_per_device or 1)
            expected = f"expected a multiple of execution.devices * nodes * clips_per_device{whose}, {share}"
            _require(clips % share == 0, f"{stage}.batch_clips", clips, expected)
        drops = bool(self.train.joint_drop_fractions) or self.train.schedule != "step" or not self.data.joint
        _require(drops, "train.joint_drop_fractions", [], "expected fractions for the schedule step with data.joint")
        return self

    def still_sizes(self) -> dict[str, Any]:
        """The keys `short_sides` and `max_long_side` of the images of the pre-training."""
        own, of_clips = self.pretrain, self.data
        return {
            "short_sides": own.short_sides or of_clips.short_sides,
            "max_long_side": own.max_long_side or of_clips.max_long_side,
        }

    def optimisation(self, stage: Literal["pretrain", "train"]) -> OptimisationSection:
        """The section of a stage; in joint training with the drops of the learning rate that are meant for it."""
        if stage == PRETRAIN:
            return self.pretrain
        joint = {"drop_fractions": self.train.joint_drop_fractions} if self.data.joint else {}
        return self.train.model_copy(update=joint)

    def on(self, backbone: str) -> Config:
        """The configuration of runs with that backbone: as this one, but carried out as `execution.backbones` says."""
        return self.model_copy(update={"execution": self.execution.on(backbone)})


RECORDED = tuple(name for name in Config.model_fields if name != "execution")


class Variant(Section):
    """One change of the baseline, and the question that it answers."""

    title: Line = Field(description="name in tables and figures")
    question: Text = Field(min_length=1, description="what the variant answers")
    source: Text = Field(min_length=1, description="who says that it should matter, as a source tag")
    changes: dict[str, Any] = Field(description="dotted key of the configuration -> value")


class Study(Section):
    """The file of a study, a matrix of runs: datasets x backbones x variants x seeds at one scale."""

    question: Text = Field(min_length=1, description="what the study answers")
    scale: Name = Field(description="name of a file in ablations/scales")
    datasets: Names = Field(min_length=1, description="names of datasets")
    splits: Names = Field(description="predicted and evaluated")
    overrides: dict[str, Any] = Field(
        default={}, alias="set", description="values in place of the scale's, dotted key -> value or as in a scale"
    )
    submissions: Names = Field(default=[], description="predicted and zipped only")
    backbones: Annotated[list[Backbone], AfterValidator(_unique)] = Field(
        min_length=1, description="names of backbones"
    )
    variants: Names = Field(min_length=1, description="names of files in ablations/variants")
    seeds: Annotated[list[Seed], AfterValidator(_unique)] = Field(
        min_length=1, max_length=20, description="seeds of the trainings, at most 20"
    )
    announced: Annotated[list[Line], AfterValidator(_unique)] = Field(
        default=["occlusion", "fog"],
        max_length=100,
        description="challenges on which the study expected a difference before its runs",
    )
    external: dict[Line, UserPath] = Field(
        default={}, max_length=100, description="other methods, title -> file, on the first split"
    )
    cost: Text = Field(description="time and downloads, in words")
    expect: Text = Field(description="what should come out, in words")

    @model_validator(mode="after")
    def _check(self) -> Study:
        _require(bool(self.splits or self.submissions), "splits", [], "expected a split here or in submissions")
        _require(bool(self.splits) or not self.external, "splits", [], "expected a split to evaluate `external` on")
        _require(PRETRAIN not in self.variants, "variants", PRETRAIN, "expected another name: it is that of the stage")
        return self


def validated(model: type[Model], content: dict[str, Any], path: Path | str) -> Model:
    """Check the content of a YAML file and return it as a typed record.

    Raises:
        InputError: One line for each problem, with file and key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise InputError("\n".join(f"{path}: {_problem(model, problem)}" for problem in problems)) from None


def config_of_checkpoint(text: str) -> Config:
    """The configuration in a checkpoint, where it is JSON text. Raises InputError with the key."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"config: not valid JSON: {short(str(error))}") from None
    return validated(Config, content, "config")


def _problem(model: type[BaseModel], problem: ErrorDetails) -> str:
    """Key, what was found, and what was expected."""
    no_key = re.compile(r"(function-\w+|dict|)\[")  # which type of several, or the key of a mapping itself
    parts = [str(part) for part in problem["loc"] if not no_key.match(str(part))]
    key, kind, context = short(".".join(parts)), problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{key}: {_unknown_key(model, key)}"
    if kind == "missing":
        return f"{key}: missing; add it"
    if kind == "together":
        key = f"{key}.{context['key']}" if key else context["key"]
        return f"{key}: found {shown(context['found'])}; {context['expected']}"
    found, expected = problem["input"], problem["msg"]
    if kind == "literal_error" and isinstance(found, str):
        expected = suggestion(found, re.findall(r"'([^']*)'", context["expected"]))
    return f"{key}: found {shown(found)}; {expected}"


def _unknown_key(model: type[BaseModel], dotted: str) -> str:
    """Text on a key that is unknown, with what resembles it."""
    *parents, last = dotted.split(".")
    kind: Any = model
    for parent in parents:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif _is_section(kind):
            kind = next((f.annotation for n, f in kind.model_fields.items() if (f.alias or n) == parent), None)
    if not _is_section(kind):
        return "unknown key"
    names = [field.alias or name for name, field in kind.model_fields.items()]
    return f"unknown key; {suggestion(last, names)}"


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


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
        nested = isinstance(value, dict) and value and name not in whole  # an empty mapping is a value, if a wrong one
        found |= leaves(value, whole, f"{name}.") if nested else {name: value}
    return found


def override(tree: dict[str, Any], changes: dict[str, Any], path: Path | str) -> dict[str, Any]:
    """Return a copy of a complete configuration with the values of dotted keys replaced.

    The mapping of one of `MAPPING_KEYS` is a value: it is replaced as a whole.

    Raises:
        InputError: A key of `changes` (from the file `path`) is not in the configuration.
    """
    result = json.loads(json.dumps(tree))
    for dotted, value in changes.items():
        node = result
        *parents, last = dotted.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise InputError(f"{path}: {short(dotted)}: {_unknown_key(Config, dotted)}")
        if isinstance(node[last], dict) and dotted not in MAPPING_KEYS:
            expected = f"expected a value for one of its keys: {', '.join(node[last])}"
            raise InputError(f"{path}: {dotted}: found {shown(value)}; {expected}")
        node[last] = value
    return result


def definition(root: Path, kind: str, name: str) -> Path:
    """The file of that name in `root`/`kind`, a folder of scales, variants or studies. Raises InputError."""
    return root / kind / f"{check_name(name, str(root / kind))}.yaml"


def load_baseline(root: Path = ABLATIONS) -> Config:
    """The baseline configuration at the paper's sizes. Raises InputError."""
    path = root / "baseline.yaml"
    return validated(Config, read_yaml(path), path)


def resolve(scale: str, variant: str = "baseline", root: Path = ABLATIONS) -> Config:
    """The configuration of one variant at a scale. Raises InputError naming file and key."""
    return resolve_variants(scale, [variant], root)[1][variant]


def resolve_variants(
    scale: str,
    names: Iterable[str],
    root: Path = ABLATIONS,
    overrides: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> tuple[dict[str, Variant], dict[str, Config]]:
    """Read the baseline, a scale and some variants, each file once.

    Args:
        scale: Name of the scale.
        names: Names of the variants.
        root: Directory of the baseline, scales and variants.
        overrides: Values in place of the scale's, by dotted key; their origin, for messages -> overrides.

    Returns:
        The variants, and the configuration of each (baseline + scale + overrides + changes of the variant), by name.

    Raises:
        InputError: With file and key.
    """
    path = root / "baseline.yaml"
    baseline = read_yaml(path)
    validated(Config, baseline, path)
    path = definition(root, "scales", scale)
    scaled = override(baseline, leaves(read_yaml(path), MAPPING_KEYS), path)
    validated(Config, scaled, path)
    for origin, values in overrides.items():
        scaled = override(scaled, values, origin)
        validated(Config, scaled, origin)
    variants, configs = {}, {}
    for name in names:
        path = definition(root, "variants", name)
        variants[name] = validated(Variant, read_yaml(path), path)
        changes = variants[name].changes
        for origin, values in overrides.items():
            if both := sorted(changes.keys() & values.keys()):
                raise InputError(f"{origin}: {both[0]}: found a key that the variant {name} changes; override another")
        configs[name] = validated(Config, override(scaled, changes, path), path)
        _check_changes(changes, leaves(baseline, MAPPING_KEYS), name, path)
    return variants, configs


def _check_changes(changes: dict[str, Any], values: dict[str, Any], name: str, path: Path) -> None:
    for dotted, value in changes.items():
        if values[dotted] == value:
            raise InputError(f"{path}: {dotted}: found {value!r}, which equals the baseline's value; remove the line")
        if dotted.startswith(COMMON_KEYS):
            raise InputError(f"{path}: {dotted}: found a change; all variants share this value, change it in the scale")
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
