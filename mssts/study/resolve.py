"""A study with everything that it names, read and resolved once at the entrance. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mssts.config import (
    ABLATIONS,
    PRETRAIN,
    TRAIN,
    Config,
    Study,
    Variant,
    pretrain_seed,
    read_yaml,
    resolve_variants,
    validated,
)
from mssts.core.errors import InputError
from mssts.data.datasets import LOCAL, entry
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
            raise InputError(f"study {self.name}: variants: found no {variant!r}; it has {known}")
        return self.configs[variant]

    def pretraining(self, dataset: str, backbone: str, seed: int) -> TrainingRun:
        """The pre-training of a dataset and backbone."""
        return TrainingRun(PRETRAIN, self.spec.scale, dataset, backbone, PRETRAIN, seed, seed, self.baseline)

    def training(self, dataset: str, backbone: str, variant: str, seed: int) -> TrainingRun:
        """The training of a variant from the pre-training of its seed. Raises InputError for another variant."""
        config = self.config(variant)
        start = pretrain_seed(config, seed)
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
    spec = validated(Study, read_yaml(path), path)
    variants, configs = resolve_variants(spec.scale, dict.fromkeys([BASELINE, *spec.variants]), root)
    study = ResolvedStudy(name, spec, {variant: variants[variant] for variant in spec.variants}, configs)
    _check(study, path)
    return study


def _check(study: ResolvedStudy, path: Path) -> None:
    """Check what the schema of a study's file cannot express. Checks of researchers' own modules belong here too."""
    spec = study.spec
    for key in ("datasets", "splits", "backbones", "variants", "seeds"):
        values = getattr(spec, key)
        if len(set(values)) != len(values):
            raise InputError(f"{path}: {key}: found a value twice in {values}; name each once")
    for dataset in spec.datasets:
        known = entry(dataset).splits
        for split in ("train", *spec.splits, *spec.submissions):
            if split not in known:
                raise InputError(f"{path}: splits: {dataset} has no {split!r}; it has {', '.join(known)}")
    if not spec.splits and not spec.submissions:
        raise InputError(f"{path}: splits: found none, and no submissions; name what is to be predicted")
    local = [split for split in spec.splits if split.startswith(LOCAL)]
    if local and study.baseline.data.protocol == "official":
        raise InputError(f"{path}: splits: {local} belong to the videos that data.protocol: official trains on")
    names = [external_name(title) for title in spec.external]
    if not all(names) or len(set(names)) != len(names):
        raise InputError(
            f"{path}: external: found the titles {list(spec.external)}; each needs its own letters or digits"
        )
    if names and not spec.splits:
        raise InputError(f"{path}: external: there is no split to evaluate these results on; name one in splits")
