"""What the page of a run must say, from the files of the run themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from bs4 import BeautifulSoup, Tag

from tests.report.traced.provenance import config_digest, data_fingerprint, leaves_of, record_of, sha256, size_of
from tests.report.traced.study import DATA, REPLICATES, RUNS, SCALE, SEEDS, SPLITS, STEPS, STUDY


class RunSection(NamedTuple):
    """What a page says of one run: its folder, metrics of each split, and pairs of names and values by heading."""

    folder: str
    metrics: dict[str, dict[str, str]]
    pairs: dict[str, dict[str, str]]


def read_run_page(path: Path) -> tuple[dict[str, RunSection], dict[str, Any]]:
    """The runs on a page by their anchors, and the configuration that it shows."""
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    return {one["id"]: _section(one) for one in page.select("section.run")}, yaml.safe_load(page.pre.get_text())


def _section(section: Tag) -> RunSection:
    names = [cell.get_text() for cell in section.select("thead th")][1:]
    metrics = {
        row.th.get_text(): dict(zip(names, (cell.get_text() for cell in row.select("td")), strict=True))
        for row in section.select("tbody tr")
    }
    pairs = {
        part.find_previous("h3").get_text(): dict(
            zip(
                (one.get_text() for one in part.select("dt")),
                (one.get_text() for one in part.select("dd")),
                strict=True,
            )
        )
        for part in section.select("dl")
    }
    return RunSection(section.code.get_text(), metrics, pairs)


def expected_pairs(run: Path) -> dict[str, dict[str, str]]:
    """What the page must say of a run and its evaluations."""
    evaluations = {f"Evaluation on split {split}": _of_evaluation(run / split, split) for split in SPLITS}
    return {"Training": _of_training(run)} | evaluations


def _of_training(run: Path) -> dict[str, str]:
    variant, seed = run.parts[-2], run.parts[-1].removeprefix("seed")
    pretrains, record = variant == "pretrain", record_of(run)
    [environment] = record["environments"]
    versions = {"deterministic algorithms": "true"} | {key: environment[key] for key in ("device", "python", "torch")}
    clips = _images_with_objects() if pretrains else _frames()
    stage = SCALE["pretrain" if pretrains else "train"]
    start = RUNS / f"pretrain/seed{SEEDS[0]}/checkpoint.pt"
    return {
        "backbone": "tiny",
        "checkpoint sha256": sha256(run / "checkpoint.pt"),
        "clips": str(clips),
        "commit": record["commit"],
        "config digest": config_digest(run),
        "data fingerprint": data_fingerprint(),
        "dataset": "synthvis",
        "environments": ", ".join(f"{key} {value}" for key, value in versions.items()),
        "epochs": str(round(STEPS * stage["batch_clips"] / clips, 4)),
        "initial checkpoint sha256": "-" if pretrains else sha256(start),
        "log sha256": sha256(run / "log.jsonl"),
        "parameters": str(size_of(run / "checkpoint.pt")[0]),
        "pretrain seed": "1",
        "scale": STUDY,
        "seed": seed,
        "start": "-" if pretrains else "pretrain",
        "steps": str(STEPS),
        "variant": variant,
    }


def _of_evaluation(folder: Path, split: str) -> dict[str, str]:
    return {
        "annotations sha256": sha256(DATA / f"{split}.json"),
        "box matches sha256": sha256(folder / "box_matches.npz"),
        "boxes sha256": sha256(folder / "predictions.boxes.json"),
        "lenient": "false",
        "matches sha256": sha256(folder / "matches.npz"),
        "predictions sha256": sha256(folder / "predictions.json"),
        "settings.bootstrap replicates": str(REPLICATES),
        "settings.bootstrap seed": "0",
        "videos": str(SCALE["data"]["synthetic"][f"{split}_videos"]),
    }


def _frames() -> int:
    """Frames of the training videos: each is the middle of a clip."""
    return sum(video["length"] for video in json.loads((DATA / "train.json").read_text())["videos"])


def _images_with_objects() -> int:
    stills = json.loads((DATA / "stills.json").read_text())
    return len({one["image_id"] for one in stills["annotations"] if not one["iscrowd"]})


def wrong_values(config: dict[str, Any], run: Path) -> list[object]:
    """Values of the configuration that a run records and its page does not show."""
    shown, recorded = dict(leaves_of(config)), dict(leaves_of(record_of(run)["config"]))
    return [(key, shown.get(key), value) for key, value in recorded.items() if shown.get(key) != value]
