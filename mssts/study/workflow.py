"""What the workflow asks of a study: the files of its jobs, what they depend on, what is missing. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mssts.config import (
    IMAGENET,
    MAPPING_KEYS,
    NO_START,
    PRETRAIN,
    Name,
    Section,
    canonical,
    leaves,
    pretrain_seed,
    validated,
)
from mssts.core.checkpoint_values import read_values
from mssts.core.errors import InputError
from mssts.data.coco import COCO
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.datasets import LOCAL, STILLS, entry, is_generated, pretrains_on_coco
from mssts.study.matrix import planned_runs, pretrain_seeds, pretraining_run
from mssts.study.overrides import read_overrides
from mssts.study.paths import DATA, HTML, TABLE_PDF, external_dir, external_name, report_dir
from mssts.study.resolve import ResolvedStudy, load_study
from mssts.training.start import WITHOUT_CHECKPOINT, require_same_architecture
from mssts.ytvis.annotations import has_ground_truth

COCO_FINGERPRINT = DATA / COCO_DIRECTORY / "fingerprint.json"


class Options(Section):
    """What a user chooses on Snakemake's command line with `--config KEY=VALUE`."""

    study: Name = "demo"
    mlflow: Literal["on", "off", True, False] = "on"
    overrides: str | dict[str, Any] = Field(default="", alias="set", max_length=100_000)


def read_options(config: Mapping[str, Any]) -> Options:
    """Snakemake's `config` as options. Raises InputError for an unknown key or value."""
    return validated(Options, dict(config), "--config")


def read_study(options: Options) -> ResolvedStudy:
    """The study that the options name, with their overrides: words as of `--set`, or a mapping. Raises InputError."""
    given = options.overrides
    overrides = read_overrides(given.split()) if isinstance(given, str) else leaves(given, MAPPING_KEYS)
    return load_study(options.study, overrides=overrides)


def targets(study: ResolvedStudy) -> list[Path]:
    """What the workflow makes of a study: its reports if it evaluates anything, and its submissions."""
    report = [TABLE_PDF, report_dir(study.name) / HTML] if study.spec.splits else []
    return report + files_of_splits(study, study.spec.submissions, "predictions.zip")


def check_inputs(study: ResolvedStudy) -> None:
    """Raise InputError if a start checkpoint or the results of another method are missing, or a start does not fit."""
    missing = list(dict.fromkeys(_start_problems(study)))
    for title, path in study.spec.external.items():
        if not Path(path).is_file():
            missing.append(f"study {study.name}: external: {title}: {path}: no such file; put the submission there")
    if missing:
        raise InputError("\n".join(missing))


def _start_problems(study: ResolvedStudy) -> Iterator[str]:
    """Messages on the checkpoints that `train.init` names; the same file may be named for several runs."""
    for variant, backbone in product(study.spec.variants, study.spec.backbones):
        config = study.configs[variant]
        start = config.train.start(backbone)
        if start == PRETRAIN or start in WITHOUT_CHECKPOINT:
            continue
        if not Path(start).is_file():
            yield (
                f"train.init: {start}: no such checkpoint. Create it with `mssts import-weights`, or set train.init to "
                f"{PRETRAIN}, which runs a pre-training stage (on COCO, or on the images of your own dataset), to "
                f"{IMAGENET} or to {NO_START}."
            )
            continue
        try:
            require_same_architecture(read_values(Path(start)), Path(start), backbone, config)
        except InputError as error:
            yield f"train.init: {error}"


def missing_data(study: ResolvedStudy) -> str:
    """Messages on the files and ground truth of the user's datasets that are missing; empty if nothing is."""
    spec = study.spec
    own = [dataset for dataset in spec.datasets if not is_generated(dataset)]
    files = [(entry(name), study.data_dir(name), split) for name in own for split in entry(name).given]
    pretrained = any(pretrain_seeds(study, backbone) for backbone in spec.backbones)
    joint = any(config.data.joint for config in study.configs.values())
    if (pretrained and any(map(pretrains_on_coco, own))) or (own and joint):
        files.append((COCO, COCO_FINGERPRINT.parent, STILLS))
    messages = []
    for dataset, directory, split in files:
        try:
            path, _ = dataset.files(directory, split)
            if split == "valid" and split in spec.splits and not has_ground_truth(path):
                messages.append(
                    f"{path}: found no annotations, but study {study.name} evaluates on {split}: put a file with "
                    f"ground truth there, or list {LOCAL}{split} in splits, or {split} in submissions"
                )
        except InputError as error:
            messages.append(str(error))
    return "\n".join(messages)


def files_of_runs(study: ResolvedStudy, name: str) -> list[Path]:
    """The file of that name of every run, pre-trainings included."""
    return [run.directory / name for run in planned_runs(study)]


def files_of_splits(study: ResolvedStudy, splits: list[str], name: str) -> list[Path]:
    """The file of that name of every run that is evaluated and each of these splits."""
    return [run.directory / split / name for run in planned_runs(study) if run.is_measured for split in splits]


def files_of_external(study: ResolvedStudy, name: str) -> list[Path]:
    """The file of that name of every other method, on the first dataset and split."""
    spec = study.spec
    return [
        external_dir(study.folder, spec.datasets[0], external_name(title), spec.splits[0]) / name
        for title in spec.external
    ]


def initial_checkpoint(study: ResolvedStudy, dataset: str, backbone: str, variant: str, seed: int) -> list[Path]:
    """The checkpoint that a training starts from, of its pre-training or named by `train.init`; empty if from none."""
    config = study.configs[variant]
    start = config.train.start(backbone)
    if start in WITHOUT_CHECKPOINT:
        return []
    if start != PRETRAIN:
        return [Path(start)]
    return [pretraining_run(study, dataset, backbone, pretrain_seed(config, seed)).directory / "checkpoint.pt"]


def coco_fingerprint(study: ResolvedStudy, variant: str) -> list[Path]:
    """The file that changes with the user's copy of COCO, if a training of the variant reads COCO's images as well."""
    return [COCO_FINGERPRINT] if study.config(variant).data.joint else []


@cache
def longest_video(directory: Path, dataset: str) -> int:
    """Frames of the longest video of a user's dataset; 0 if it is generated, as its videos are short, or not there."""
    if is_generated(dataset):
        return 0
    paths = [entry(dataset).paths(directory, split)[0] for split in entry(dataset).given]
    found = [re.findall(rb'"length"\s*:\s*(\d+)', path.read_bytes()) for path in paths if path.is_file()]
    return max((int(length) for lengths in found for length in lengths), default=0)


def report_content(study: ResolvedStudy) -> str:
    """What a report shows beside the results: the matrix of the study and the titles of the variants."""
    return "\n".join([study.name, *(canonical(record) for record in (study.spec, *study.variants.values()))])


def complexity_content(study: ResolvedStudy) -> str:
    """The configuration that the table of parameters and FLOPs depends on."""
    synthetic, short_side = study.baseline.data.synthetic, study.baseline.predict.short_side
    models = [
        (name, study.configs[name].train.frames, canonical(study.configs[name], ("model",))) for name in study.variants
    ]
    return str([study.spec.datasets, study.spec.backbones, synthetic.height, synthetic.width, short_side, models])
