"""A study with everything that it names, read and resolved once at the entrance. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mssts import config as configuration
from mssts.config import ABLATIONS, IMAGENET, NO_START, PRETRAIN, RANDOM, TRAIN, Config, Study, Variant
from mssts.core.errors import InputError
from mssts.data.datasets import LOCAL, entry
from mssts.study.parts import check_parts
from mssts.study.paths import external_name
from mssts.training.record import TrainingRun

BASELINE = "baseline"


@dataclass(frozen=True)
class ResolvedStudy:
    """A study, its variants and the configuration of each.

    Attributes:
        name: Name of the study's file, without .yaml.
        spec: Content of that file.
        variants: The variants of the study by name, in the order of the file.
        configs: Configuration of each variant at the study's scale, and of "baseline" in any case.
    """

    name: str
    spec: Study
    variants: dict[str, Variant]
    configs: dict[str, Config]

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
            known = ", ".join(self.spec.variants)
            raise InputError(f"study {self.name}: variants: found no {variant!r}; expected one of {known}")
        return self.configs[variant]

    def run_config(self, variant: str, backbone: str) -> Config:
        """As `config`, where `train.init` is the start of this backbone alone: a run does not depend on the others."""
        config = self.config(variant)
        if isinstance(config.train.init, str):
            return config
        train = config.train.model_copy(update={"init": config.train.start(backbone)})
        return config.model_copy(update={"train": train})

    def pretraining(self, dataset: str, backbone: str, seed: int) -> TrainingRun:
        """The pre-training of a dataset and backbone."""
        return TrainingRun(PRETRAIN, self.spec.scale, dataset, backbone, PRETRAIN, seed, seed, self.baseline)

    def training(self, dataset: str, backbone: str, variant: str, seed: int) -> TrainingRun:
        """The training of a variant from the pre-training of its seed. Raises InputError for another variant."""
        config = self.run_config(variant, backbone)
        start = configuration.pretrain_seed(config, seed)
        return TrainingRun(TRAIN, self.spec.scale, dataset, backbone, variant, seed, start, config)


def load_study(name: str, root: Path = ABLATIONS) -> ResolvedStudy:
    """Read and check a study and all that it names.

    Args:
        name: Name of a file in `root`/studies, without .yaml.
        root: Directory of the baseline, scales, variants and studies.

    Raises:
        InputError: With file and key.
    """
    path = root / "studies" / f"{name}.yaml"
    spec = configuration.validated(Study, configuration.read_yaml(path), path)
    variants, configs = configuration.resolve_variants(spec.scale, dict.fromkeys([BASELINE, *spec.variants]), root)
    for variant, config in configs.items():
        check_parts(config, root / "variants" / f"{variant}.yaml")
    study = ResolvedStudy(name, spec, {variant: variants[variant] for variant in spec.variants}, configs)
    _check(study, path)
    return study


def _check(study: ResolvedStudy, path: Path) -> None:
    """Check what the schema of a study's file cannot express."""
    spec = study.spec
    for key in ("datasets", "splits", "backbones", "variants", "seeds"):
        values = getattr(spec, key)
        if len(set(values)) != len(values):
            raise InputError(f"{path}: {key}: found a repeated value in {values}; list each value once")
    for dataset in spec.datasets:
        known = entry(dataset).splits
        for split in ("train", *spec.splits, *spec.submissions):
            if split not in known:
                raise InputError(f"{path}: splits: {dataset} has no {split!r}; expected one of {', '.join(known)}")
    for name, config in study.configs.items():
        _check_starts(config, spec.backbones, f"{path}: variant {name}: train.init")
    if not spec.splits and not spec.submissions:
        raise InputError(f"{path}: splits: empty, and so is submissions; list at least one split")
    local = [split for split in spec.splits if split.startswith(LOCAL)]
    if local and study.baseline.data.protocol == "official":
        raise InputError(f"{path}: splits: {local} are part of the training videos of data.protocol: official")
    names = [external_name(title) for title in spec.external]
    if not all(names) or len(set(names)) != len(names):
        raise InputError(f"{path}: external: the titles {list(spec.external)} must differ in letters or digits")
    if names and not spec.splits:
        raise InputError(f"{path}: external: needs a split to evaluate on; list one in splits")


def _check_starts(config: Config, backbones: list[str], key: str) -> None:
    """Check that every backbone has a start, and ImageNet weights where it starts from them."""
    init = config.train.init
    if isinstance(init, dict) and (missing := [name for name in backbones if name not in init]):
        raise InputError(f"{key}: found no start for {', '.join(missing)} in {init}; add an entry for each backbone")
    if config.pretrain.backbone_weights == RANDOM and IMAGENET in map(config.train.start, backbones):
        raise InputError(
            f"{key}: found {IMAGENET}, but pretrain.backbone_weights is {RANDOM}; set that to {IMAGENET} or to a local "
            f"file or folder of weights, or start from {NO_START}"
        )
