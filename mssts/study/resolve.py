"""A study with everything that it names, read and resolved once at the entrance. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mssts import config as configuration
from mssts.backbones import BACKBONES
from mssts.config import (
    ABLATIONS,
    IMAGENET,
    MAPPING_KEYS,
    MIN_SIDE,
    NO_START,
    PRETRAIN,
    RANDOM,
    STAGE_SECTIONS,
    TRAIN,
    Config,
    DataSection,
    Study,
    SyntheticSection,
    Variant,
    check_backbone,
)
from mssts.core.errors import InputError, shown, suggestion
from mssts.data.categories import coco_map
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import LOCAL, STILLS, entry, pretrains_on_coco
from mssts.study.overrides import OPTION, as_words, changed_values, folder_name
from mssts.study.parts import check_parts
from mssts.study.paths import REPORTS, dataset_dir, external_name
from mssts.training.record import TrainingRun

BASELINE = "baseline"
PAPER = "paper"  # the scale of a run without a study
WITHOUT_STUDY = "without a study"
RESERVED = ("examples", "published", "templates")
_OWN_MODULES = ("model.encoder.ms_sts.", "model.encoder.branches", "model.decoder.temporal.", "model.decoder.blocks")


@dataclass(frozen=True)
class ResolvedStudy:
    """A study, its variants and the configuration of each.

    Attributes:
        name: Name of the study's file, without .yaml; with overrides on the command line, followed by their digest.
        option: The option of a command that names the study, such as "--study demo".
        given: Overrides of the command line, by dotted key.
        spec: Content of that file.
        variants: The variants of the study by name, in the order of the file.
        configs: Configuration of each variant at the study's scale, and of "baseline" in any case.
        plain: Configuration of the baseline at the study's scale, without overrides.
    """

    name: str
    option: str
    given: Mapping[str, Any]
    spec: Study
    variants: dict[str, Variant]
    configs: dict[str, Config]
    plain: Config

    @property
    def options(self) -> str:
        """Options of a command on this study: its name and its overrides."""
        return " ".join([self.option, *(f"{OPTION} {shlex.quote(word)}" for word in as_words(self.given))])

    @cached_property
    def overrides(self) -> dict[str, Any]:
        """Recorded values that the study's file or the command line has put in place of the scale's, by dotted key."""
        return changed_values(self.plain, self.baseline)

    @property
    def folder(self) -> str:
        """Folder of the study's runs in `results`: the scale, with overrides followed by their digest."""
        return folder_name(self.spec.scale, self.overrides)

    @property
    def data_folder(self) -> str:
        """Folder of generated datasets in `data`: the scale, followed by a digest if overrides change the generator."""
        generator = {key: value for key, value in self.overrides.items() if key.startswith("data.synthetic.")}
        return folder_name(self.spec.scale, generator)

    def data_dir(self, dataset: str) -> Path:
        """Directory of a dataset, of COCO too. Raises InputError for an unknown one."""
        return dataset_dir(self.data_folder, dataset)

    @property
    def baseline(self) -> Config:
        """Configuration of the baseline, with which all pre-trainings run."""
        return self.configs[BASELINE]

    @property
    def titles(self) -> dict[str, str]:
        """Title of each variant and of the pre-trained checkpoint."""
        return {PRETRAIN: "pre-trained"} | {name: variant.title for name, variant in self.variants.items()}

    def config(self, variant: str) -> Config:
        """Configuration of a run of that variant, or of a pre-training. Raises InputError for another variant."""
        if variant == PRETRAIN:
            return self.baseline
        if variant not in self.configs:
            close = suggestion(variant, self.spec.variants)
            raise InputError(f"study {self.name}: variants: found no {shown(variant)}; {close}")
        return self.configs[variant]

    def run_config(self, dataset: str, backbone: str, variant: str) -> Config:
        """As `config`, without what the run does not depend on.

        Execution and start (`train.init`) are those of this backbone alone, and a pre-training on COCO has no value of
        the videos.
        """
        config = self.config(variant).on(backbone)
        if dataset == COCO_DIRECTORY:
            config = _coco_config(config)
        if isinstance(config.train.init, str):
            return config
        train = config.train.model_copy(update={"init": config.train.start(backbone)})
        return config.model_copy(update={"train": train})

    def pretrain_folder(self, dataset: str) -> str:
        """Folder in `results` of the pre-trainings on a dataset: the scale's.

        That of COCO is named after what the stage reads, so that all studies share it whose stage is the same. Others
        are shared with the studies without overrides, if these change nothing that the stage or its evaluation reads.
        """
        if dataset != COCO_DIRECTORY:
            read = (*STAGE_SECTIONS[PRETRAIN], "predict", "evaluation")
            return self.folder if any(key.split(".")[0] in read for key in self.overrides) else self.spec.scale
        return f"{COCO_DIRECTORY}-{configuration.digest(_coco_config(self.baseline), PRETRAIN)}"

    def pretraining(self, dataset: str, backbone: str, seed: int) -> TrainingRun:
        """The pre-training on a dataset's own images or on COCO.

        Raises:
            InputError: For another dataset, or an unknown backbone.
        """
        check_backbone(backbone)
        if dataset != COCO_DIRECTORY and pretrains_on_coco(dataset):
            raise InputError(
                f"--dataset: found {shown(dataset)}; expected {COCO_DIRECTORY} and its directory as --data: trainings "
                f"on {entry(dataset).title} start from a pre-training on COCO"
            )
        config = self.run_config(dataset, backbone, PRETRAIN)
        return TrainingRun(PRETRAIN, self.pretrain_folder(dataset), dataset, backbone, PRETRAIN, seed, seed, config)

    def training(self, dataset: str, backbone: str, variant: str, seed: int) -> TrainingRun:
        """The training of a variant, also on a backbone that the study does not list.

        Raises:
            InputError: For an unknown name, or a backbone for which `train.init` has no start.
        """
        check_backbone(backbone)
        _check_starts(self.config(variant), [backbone], f"study {self.name}: variant {variant}: train.init")
        config = self.run_config(dataset, backbone, variant)
        start = configuration.pretrain_seed(config, seed)
        return TrainingRun(TRAIN, self.folder, dataset, backbone, variant, seed, start, config)


def pretrain_dataset(dataset: str) -> str:
    """Dataset of the pre-training from which trainings on a dataset start: COCO, or the dataset itself."""
    return COCO_DIRECTORY if pretrains_on_coco(dataset) else dataset


def _coco_config(config: Config) -> Config:
    """The configuration of a pre-training on COCO: what it does not read has one value in every study."""
    unread = {name: DataSection.model_fields[name].default for name in ("protocol", "joint", "coco_map")}
    unread["synthetic"] = SyntheticSection(**dict.fromkeys(SyntheticSection.model_fields, MIN_SIDE))
    sizes = config.still_sizes()
    data, pretrain = config.data.model_copy(update=unread | sizes), config.pretrain.model_copy(update=sizes)
    return config.model_copy(update={"data": data, "pretrain": pretrain})


def load_study(name: str, root: Path = ABLATIONS, overrides: Mapping[str, Any] | None = None) -> ResolvedStudy:
    """Read and check a study and all that it names.

    Args:
        name: Name of a file in `root`/studies, without .yaml.
        root: Directory of the baseline, scales, variants and studies.
        overrides: Values in place of those of the study and its scale, dotted key -> value.

    Raises:
        InputError: With file and key.
    """
    path = configuration.definition(root, "studies", name)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; run mssts in a clone, or in a workspace of `mssts init`")
    if name in RESERVED:
        raise InputError(f"{path}: found the name of a folder in {REPORTS} that is no report; rename the file")
    spec = configuration.validated(Study, configuration.read_yaml(path), path)
    study = _resolve(name, f"--study {name}", spec, path, root, overrides or {})
    _check(study, path)
    return study


def single_run(
    dataset: str,
    backbone: str,
    variant: str,
    scale: str = PAPER,
    seed: int = 1,
    root: Path = ABLATIONS,
    overrides: Mapping[str, Any] | None = None,
) -> ResolvedStudy:
    """The study of one run that no file describes.

    Args:
        dataset: Name of the dataset.
        backbone: Name of the backbone.
        variant: Name of the variant; "pretrain" for a pre-training.
        scale: Name of the scale.
        seed: Seed of the run, from 1.
        root: Directory of the baseline, scales and variants.
        overrides: Values in place of the scale's, dotted key -> value.

    Raises:
        InputError: With file, option or key.
    """
    content = {
        "question": "How does this one run turn out?",
        "scale": scale,
        "datasets": [dataset],
        "splits": ["train"],
        "backbones": [check_backbone(backbone)],
        "variants": [BASELINE if variant == PRETRAIN else variant],
        "seeds": [seed],
        "cost": "unknown",
        "expect": "nothing",
    }
    origin = Path("options of the command line")
    spec = configuration.validated(Study, content, origin)
    study = _resolve(WITHOUT_STUDY, f"--scale {scale}", spec, origin, root, overrides or {})
    _check(study, origin)
    return replace(study, name=WITHOUT_STUDY)


def _resolve(name: str, option: str, spec: Study, path: Path, root: Path, given: Mapping[str, Any]) -> ResolvedStudy:
    """Resolve the content of a study.

    Args:
        name: Name of the study.
        option: The option of a command that names it.
        spec: The content.
        path: File that it is from, for messages.
        root: Directory of the baseline, scales and variants.
        given: Overrides of the command line.
    """
    names = dict.fromkeys([BASELINE, *spec.variants])
    own = {f"{path}: set": configuration.leaves(spec.overrides, MAPPING_KEYS)}
    variants, configs = configuration.resolve_variants(spec.scale, names, root, own)
    written = configs[BASELINE]
    plain = configuration.resolve(spec.scale, BASELINE, root) if spec.overrides else written
    if given:
        variants, configs = configuration.resolve_variants(spec.scale, names, root, own | {OPTION: dict(given)})
        name = folder_name(name, changed_values(written, configs[BASELINE]))
    for variant, config in configs.items():
        check_parts(config, root / "variants" / f"{variant}.yaml")
    chosen = {variant: variants[variant] for variant in spec.variants}
    return ResolvedStudy(name, option, given, spec, chosen, configs, plain)


def _check(study: ResolvedStudy, path: Path) -> None:
    """Check what the schema of a study's file cannot express."""
    spec = study.spec
    if COCO_DIRECTORY in spec.datasets:
        raise InputError(f"{path}: datasets: found {COCO_DIRECTORY!r}; expected videos: it is for pre-trainings alone")
    for dataset in spec.datasets:
        known = [split for split in entry(dataset).splits if split != STILLS]
        for key, splits in (("splits", spec.splits), ("submissions", spec.submissions)):
            for split in splits:
                if split not in known:
                    raise InputError(f"{path}: {key}: {dataset}: found {split!r}; {suggestion(split, known)}")
    titles = list(study.titles.values())
    if repeated := {title for title in titles if titles.count(title) > 1}:
        raise InputError(f"{path}: variants: found the title {min(repeated)!r} twice; give each variant its own")
    names = [external_name(title) for title in spec.external]
    if not all(names) or len(set(names)) != len(names):
        raise InputError(f"{path}: external: the titles {shown(list(spec.external))} must differ in letters or digits")
    for variant in spec.variants:
        _check_variant(study, variant, path)


def _check_starts(config: Config, backbones: Sequence[str], key: str) -> None:
    """Check that every backbone has a start, and ImageNet weights where it starts from them."""
    init = config.train.init
    if isinstance(init, dict) and (missing := [name for name in backbones if name not in init]):
        raise InputError(f"{key}: found no start for {', '.join(missing)} in {init}; add an entry for each backbone")
    starting = [name for name in backbones if config.train.start(name) == IMAGENET]
    if without := [name for name in starting if not BACKBONES[name].has_weights]:
        raise InputError(
            f"{key}: found {IMAGENET} for {without[0]}, of which there are no such weights; try {NO_START}"
        )
    if config.pretrain.backbone_weights == RANDOM and starting:
        raise InputError(
            f"{key}: found {IMAGENET}, but pretrain.backbone_weights is {RANDOM}; set that to {IMAGENET} or to a local "
            f"file or folder of weights, or start from {NO_START}"
        )


def _check_variant(study: ResolvedStudy, variant: str, path: Path) -> None:
    """Check the configuration of a variant against the datasets and the checkpoint that its training starts from."""
    spec, config = study.spec, study.configs[variant]
    where = f"{path}: variant {variant}"
    _check_starts(config, spec.backbones, f"{where}: train.init")
    local = [split for split in spec.splits if split.startswith(LOCAL)]
    if local and config.data.protocol == "official":
        raise InputError(f"{where}: splits: {local} are part of the training videos of data.protocol: official")
    for dataset in spec.datasets:
        if config.data.joint:
            try:
                coco_map(dataset, config.data.coco_map)
            except InputError as error:
                raise InputError(f"{where}: data.joint: {error}") from None
        pairs = config.model.queries * len(entry(dataset).categories)
        if config.predict.top_k > pairs:
            expected = f"expected at most {pairs}: queries x categories of {dataset}"
            raise InputError(f"{where}: predict.top_k: found {config.predict.top_k}; {expected}")
    changed = [key for key in study.variants[variant].changes if key.startswith("model.") and key != "model.dropout"]
    starts = map(config.train.start, spec.backbones)
    if PRETRAIN in starts and (other := [key for key in changed if not key.startswith(_OWN_MODULES)]):
        raise InputError(
            f"{where}: {', '.join(other)}: found a change; the weights of the pre-training, which is that of the "
            "baseline, would not fit. Change it in the scale"
        )
