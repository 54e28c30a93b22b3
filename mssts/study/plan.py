"""The cost of a study before it is run: jobs, parameters, FLOPs, memory, GPU hours, and the assumptions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby, product
from typing import Any

import pandas as pd
import yaml

from mssts.config import PRETRAIN, BackboneExecutionSection, Config
from mssts.data.coco import DIRECTORY as COCO_DIRECTORY
from mssts.data.counts import COCO_IMAGES
from mssts.study import memory
from mssts.study.complexity import forward_flops, frame_size, parameters
from mssts.study.complexity_file import COUNTED
from mssts.study.lengths import Length, planned_length
from mssts.study.matrix import planned_runs, pretrain_seeds
from mssts.study.overrides import as_words
from mssts.study.resolve import ResolvedStudy, pretrain_dataset
from mssts.training.record import TrainingRun

REFERENCE_SECONDS = 0.70  # V100 seconds a clip of 5 frames, ResNet-50: 8 GPUs x 1.5 h for about 61,800 clips [code]
REPORTED_COCO_HOURS = {"resnet50": 2 * 24 * 8, "swin_l": 6 * 24 * 8}  # 2 and about 6 days on 8 V100 [code]
REPORTED_COCO_CLIPS = 50 * COCO_IMAGES  # in these hours [code]
REFERENCE = ("resnet50", "ytvis2019", 5)  # backbone of the baseline, dataset, frames
_COSTS = {
    "M parameters": "{:.3f}",
    "GFLOPs/clip": "{:,.1f}",
    "GPU GB": "{:.1f}",
    "GPU h/run": "{:,.1f}",
    "GPU h": "{:,.1f}",
}

_CARDS = "What `execution.backbones` of the scale should say of a backbone, for a GPU of:"
ASSUMPTIONS = f"""\
Assumptions:
  FLOPs: one clip with the number of frames used in training, at the frame size used in inference, which is close to
    the mean size in training; for COCO an image of 480 x 640 px with the mean short side in training. Videos that
    are not generated are taken to be 16:9.
    {COUNTED}
  {memory.ASSUMED}
  GPU hours: on a V100, {REFERENCE_SECONDS} s per training clip of 5 frames with ResNet-50, which is what the
    maintainers of SeqFormer report (1.5 h per epoch on 8 GPUs; issues 13 and 16); other models and lengths in
    proportion to their FLOPs; nothing is fitted to the hours that they report of the COCO stage. Prediction and the
    adversary's discriminator are not counted."""


def plan(study: ResolvedStudy, paper_config: Config) -> str:
    """The plan of a study as text.

    Args:
        study: The study.
        paper_config: The baseline at the paper's sizes, whose published time is the reference for hours.
    """
    job_lines = "\n".join(f"  {job:10} {count}" for job, count in jobs(study).items())
    datasets = dict.fromkeys(dataset for dataset, *_ in _kinds(study))
    sizes = ((dataset, *frame_size(study.baseline, dataset)) for dataset in datasets)
    frames = "\n".join("Frames of {}: {} x {} px".format(*size) for size in sizes)
    lengths = "\n".join(f"Length of {name}: {length}" for name, length in _lengths(study).items())
    costs = _costs(study, paper_config)
    formats = {name: number.format for name, number in _COSTS.items()}
    table = costs.to_string(index=False, formatters=formats, na_rep="unknown")
    about = "more than" if costs["GPU h"].isna().any() else "about"
    total = f"Total: {about} {costs['GPU h'].sum():,.0f} GPU hours of training.{_coco_hours(study, costs)}"
    question = f"Study {study.name}: {study.spec.question}"
    if study.overrides:
        question += f"\nIn place of the scale's values: {', '.join(as_words(study.overrides))}"
    cards = f"{_CARDS}\n{_settings(study)}"
    return f"{question}\n\nJobs:\n{job_lines}\n\n{frames}\n{lengths}\n\n{table}\n\n{total}\n\n{cards}\n\n{ASSUMPTIONS}"


def jobs(study: ResolvedStudy) -> dict[str, int]:
    """Number of jobs of each stage that computes."""
    runs = planned_runs(study)
    measured = sum(run.is_measured for run in runs)
    pretrained = sum(run.variant == PRETRAIN for run in runs)
    return {
        "pretrain": pretrained,
        "train": len(runs) - pretrained,
        "predict": measured * (len(study.spec.splits) + len(study.spec.submissions)),
        "evaluate": measured * len(study.spec.splits),
    }


def _lengths(study: ResolvedStudy) -> dict[str, Length]:
    """Length of each kind of training; where a variant has one of its own, that of the first variant."""
    stages = {PRETRAIN: PRETRAIN, study.spec.variants[0]: "train"}
    return {
        f"{dataset}, {stages[variant]}": planned_length(study, dataset, variant)
        for dataset, _, variant in _kinds(study)
        if variant in stages
    }


def _kinds(study: ResolvedStudy) -> list[tuple[str, str, str]]:
    """(dataset, backbone, variant) of each kind of training; published datasets share the pre-trainings on COCO."""
    kinds = [
        (pretrain_dataset(dataset) if variant == PRETRAIN else dataset, backbone, variant)
        for dataset, backbone, variant in product(
            study.spec.datasets, study.spec.backbones, [PRETRAIN, *study.variants]
        )
        if variant != PRETRAIN or pretrain_seeds(study, backbone)
    ]
    return list(dict.fromkeys(kinds))


def _coco_hours(study: ResolvedStudy, costs: pd.DataFrame) -> str:
    """The hours of COCO stages of full length beside what the maintainers report; nothing is fitted to them."""
    if planned_length(study, COCO_DIRECTORY, PRETRAIN).drawn < REPORTED_COCO_CLIPS:
        return ""
    stages = costs[(costs["dataset"] == COCO_DIRECTORY) & costs["backbone"].isin(list(REPORTED_COCO_HOURS))]
    return "".join(
        f"\nCOCO stage of {backbone}: {hours:,.0f} GPU hours here, {REPORTED_COCO_HOURS[backbone]:,} reported by the "
        f"maintainers of SeqFormer: ratio {hours / REPORTED_COCO_HOURS[backbone]:.2f}."
        for backbone, hours in zip(stages["backbone"], stages["GPU h/run"], strict=True)
    )


def _costs(study: ResolvedStudy, paper_config: Config) -> pd.DataFrame:
    """One row per kind of training run."""
    reference = forward_flops(paper_config.model, *REFERENCE, frame_size(paper_config, REFERENCE[1]))
    rows = []
    for dataset, backbone, variant in _kinds(study):
        config = study.config(variant)
        runs = len(pretrain_seeds(study, backbone) if variant == PRETRAIN else study.spec.seeds)
        run = _run(study, dataset, backbone, variant)
        frames = run.optimisation.frames
        flops = forward_flops(config.model, backbone, dataset, frames, frame_size(config, dataset))
        drawn = planned_length(study, dataset, variant).drawn
        hours = drawn * REFERENCE_SECONDS * flops / reference / 3600
        weights, needed = parameters(config.model, backbone, dataset), memory.training_bytes(run)
        numbers = (weights / 1e6, flops / 1e9, needed / 1e9, hours, hours * runs)
        rows.append([dataset, backbone, variant, runs, frames, *numbers])
    return pd.DataFrame(rows, columns=["dataset", "backbone", "variant", "runs", "frames", *_COSTS])


def _run(study: ResolvedStudy, dataset: str, backbone: str, variant: str) -> TrainingRun:
    """The first training of its kind."""
    if variant == PRETRAIN:
        return study.pretraining(dataset, backbone, 1)
    return study.training(dataset, backbone, variant, study.spec.seeds[0])


def _settings(study: ResolvedStudy) -> str:
    """What to write for each backbone on GPUs of several sizes: its mapping in the scale replaces the present one."""
    lines = []
    sections: Mapping[Any, BackboneExecutionSection] = study.baseline.execution.backbones
    for backbone in study.spec.backbones:
        runs = [_run(study, *kind) for kind in _kinds(study) if kind[1] == backbone]
        now = runs[0].config.execution.model_dump()
        own = sections[backbone].model_dump(exclude_unset=True) if backbone in sections else {}
        for setting, cards in groupby(memory.settings_of_cards(runs).items(), lambda item: item[1]):
            sizes = ", ".join(str(card) for card, _ in cards)
            changes = {key: value for key, value in (setting or {}).items() if value != now[key]}
            text = yaml.safe_dump(own | changes, default_flow_style=True, sort_keys=False).strip()
            told = "does not fit" if setting is None else text if changes else "as configured"
            lines.append(f"  {backbone:9} {sizes:>14} GB: {told}")
    return "\n".join(lines)
