"""The files of runs, written by hand: every video has one object, and a run either finds it or does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from mssts import config as configuration
from mssts.core.files import sha256_file, write_record
from mssts.evaluation.attributes import attribute_metrics
from mssts.evaluation.average_precision import coco_metrics
from mssts.evaluation.curves import calibration, precision_recall
from mssts.evaluation.errors import KINDS
from mssts.evaluation.matching import AREA_RANGES, ATTRIBUTE_VIEW, GroupRecords, MatchRecords
from mssts.evaluation.records_file import write_records
from mssts.study.complexity import parameters
from mssts.study.paths import run_dir
from mssts.study.resolve import load_study
from mssts.study.runs import StudyRuns, read_runs

REPOSITORY = Path(__file__).resolve().parents[2]
COPIES = 10  # of each of 8 videos, so that half of them are enough for an interval
VIDEOS = 8 * COPIES
VIEWS = (*AREA_RANGES, f"{ATTRIBUTE_VIEW}fog", f"{ATTRIBUTE_VIEW}occlusion")
COMMIT = "0123456789ab"


def write_ablations(root: Path, seeds: tuple[int, ...] = (1, 2)) -> None:
    """The repository's configuration with a small study `fake` added."""
    shutil.copytree(REPOSITORY / "ablations", root / "ablations")
    (root / "ablations/studies/fake.yaml").write_text(
        "question: Do the tables tell the truth about a_fake & simple study?\n"
        "scale: smoke\ndatasets: [synthvis]\nsplits: [valid, control]\nbackbones: [tiny]\n"
        f"variants: [baseline, ms_sts, temporal]\nseeds: {list(seeds)}\ncost: none\nexpect: nothing\n"
    )


def runs_of(study: str = "fake") -> StudyRuns:
    """Runs and results of a study as they are found now."""
    return read_runs(load_study(study))


def table_of(data: dict, name: str) -> dict:
    """The first table of a module in the data of a document."""
    return next(part for section in data["sections"] for part in section["parts"] if part["name"] == f"tables.{name}")


def records(found: int, attributes: bool) -> MatchRecords:
    """One detection per video, the first `found` eighths of them right at every threshold; half are occluded.

    AP on all is then the share of the 101 recall points at or below found / 8.
    """
    views = VIEWS if attributes else tuple(AREA_RANGES)
    positives_AV = np.zeros((len(views), VIDEOS), dtype=np.int32)
    positives_AV[0] = positives_AV[1] = 1
    if attributes:
        positives_AV[views.index(f"{ATTRIBUTE_VIEW}occlusion"), : VIDEOS // 2] = 1
    hit_N = np.arange(VIDEOS) < found * COPIES
    matched_ATN = np.repeat((positives_AV > 0)[:, None, :] & hit_N, 10, axis=1)
    ignored_ATN = np.repeat((positives_AV == 0)[:, None, :] & hit_N, 10, axis=1)
    group = GroupRecords(
        video_N=np.arange(VIDEOS, dtype=np.int32),
        rank_N=np.zeros(VIDEOS, dtype=np.int32),
        score_N=np.linspace(0.9, 0.2, VIDEOS),
        prediction_N=np.arange(VIDEOS, dtype=np.int32),
        matched_ATN=matched_ATN,
        ignored_ATN=ignored_ATN,
        annotation_TN=np.zeros((10, VIDEOS), dtype=np.int32),
        positives_AV=positives_AV,
    )
    return MatchRecords(tuple(range(1, VIDEOS + 1)), (1,), views, (group,), group)


def write_run(
    variant: str, seed: int, found: dict[str, int], commit: str = COMMIT, log: bool = True, dataset: str = "synthvis"
) -> Path:
    """A run directory under the working directory; found: for each split the number of objects found, of 8."""
    config = configuration.resolve("smoke", "baseline" if variant == configuration.PRETRAIN else variant)
    stage, scale = configuration.PRETRAIN if variant == configuration.PRETRAIN else configuration.TRAIN, "smoke"
    if dataset == "coco":
        run = load_study("smoke").pretraining(dataset, "tiny", seed)
        config, scale = run.config, run.scale
    directory = run_dir(scale, dataset, "tiny", variant, seed)
    record = {
        "dataset": dataset,
        "scale": scale,
        "backbone": "tiny",
        "variant": variant,
        "seed": seed,
        "pretrain_seed": 1,
        "config_digest": configuration.digest(config, stage),
        "commit": commit,
        "data_fingerprint": "fedcba987654",
        "initial_checkpoint_sha256": None if variant == configuration.PRETRAIN else "aa" * 32,
        "checkpoint_sha256": f"{seed:02d}" * 32,
        "parameters": parameters(config.model, "tiny", dataset),
        "steps": 8,
    }
    write_record(directory / "cost.json", {"seconds": 12.34, "peak_memory_mb": 456.7})
    if log:
        write_log(directory / "log.jsonl", seed, adversary="fgbg" in variant)
        record["log_sha256"] = sha256_file(directory / "log.jsonl")
    write_record(directory / "run.json", record | {"config": json.loads(configuration.canonical(config))})
    for split, count in found.items():
        write_result(directory, split, count, record)
    return directory


def write_result(directory: Path, split: str, count: int, record: dict) -> None:
    """metrics.json and match records of a split: boxes find one object less; the control split has no attributes."""
    matches, box_matches = (records(found, attributes=split != "control") for found in (count, count - 1))
    numbers, box_numbers = (coco_metrics(one, one.categories) for one in (matches, box_matches))
    write_records(directory / split / "matches.npz", matches)
    write_records(directory / split / "box_matches.npz", box_matches)
    metrics = {
        "overall": numbers,
        "class_agnostic": numbers,
        "per_category": {"thing": numbers},
        "attributes": attribute_metrics(matches),
        "boxes": {"overall": box_numbers, "class_agnostic": box_numbers, "attributes": attribute_metrics(box_matches)},
        "errors": {kind: {"AP50": 0.2, "AP": count / 100, "count": 1} for kind in KINDS},
        "precision_recall": precision_recall(matches),
        "calibration": calibration(matches),
        "found_as": [["thing", "thing", count * COPIES], ["thing", None, VIDEOS - count * COPIES]],
        "warnings": [],
        "produced_by": {
            "annotations_sha256": "ab" * 32,
            "predictions_sha256": "cd" * 32,
            "matches_sha256": sha256_file(directory / split / "matches.npz"),
            "boxes_sha256": "ef" * 32,
            "box_matches_sha256": sha256_file(directory / split / "box_matches.npz"),
            "split": split,
            "videos": VIDEOS,
            "lenient": False,
            "settings": {"bootstrap_seed": 1},
            "run": record,
        },
    }
    write_record(directory / split / "metrics.json", metrics)


def write_log(path: Path, seed: int, adversary: bool) -> None:
    """A training log whose losses fall."""
    names = ["loss_class", "loss_l1", "loss_giou", "loss_mask", "loss_dice"]
    if adversary:
        names += ["loss_adversary", "loss_discriminator"]
    lines = []
    for step in range(20, 1001, 20):
        level = 1.0 + 4.0 * np.exp(-step / 300) + 0.1 * np.sin(step * seed)
        terms = {name: round(float(level * (0.4 + 0.2 * i)), 6) for i, name in enumerate(names)}
        lines.append(json.dumps({"step": step, "loss": sum(terms.values()), **terms, "learning_rate": 1e-3}))
    path.write_text("\n".join(lines) + "\n")


def write_fake_study(root: Path) -> None:
    """Study `fake` under `root` (the working directory): baseline finds 2 and 4 of 8 objects, MS-STS 6 and 8.

    Temporal has run with seed 1 only, from another commit, and was not evaluated on the control split.
    """
    write_ablations(root)
    write_run(configuration.PRETRAIN, 1, {"valid": 1, "control": 1})
    for seed, baseline, ms_sts in ((1, 2, 6), (2, 4, 8)):
        write_run("baseline", seed, {"valid": baseline, "control": 4})
        write_run("ms_sts", seed, {"valid": ms_sts, "control": 4})
    write_run("temporal", 1, {"valid": 3}, commit="fedcba987654+changed")
