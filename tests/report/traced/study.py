"""A small finished study whose numbers are not trivial: real trainings and stages, predictions with chosen errors.

Models that train for eight steps find nothing, and every AP would be zero. So each run predicts the ground truth with
errors of every kind, which a generator of its own draws: other runs find more or less.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pycocotools import mask as run_length

from mssts import cli
from mssts.core.files import sha256_file, write_record
from tests.report.traced.evaluation import pixels

REPOSITORY = Path(__file__).resolve().parents[3]
STUDY = "traced"
VARIANTS, SEEDS, SPLITS = ("baseline", "ms_sts", "temporal", "ms_sts_temporal"), (1, 2), ("valid", "control")
TITLES = {"pretrain": "pre-trained", "baseline": "Baseline", "ms_sts": "MS-STS", "temporal": "temporal"} | {
    "ms_sts_temporal": "MS-STS + temporal"
}
REPLICATES, VALIDATED = 60, 4
SHOWN = ("baseline", "ms_sts")  # in figures of two models, with the first seed
SCALE = yaml.safe_load((REPOSITORY / "ablations/scales/smoke.yaml").read_text())
SCALE["data"]["synthetic"] |= {"valid_videos": 60, "control_videos": 20}
SCALE["evaluation"]["bootstrap_replicates"] = REPLICATES
SCALE["execution"] = {"validate_every": 4, "validate_videos": VALIDATED}
STEPS = SCALE["train"]["steps"]
EXTERNAL, EXTERNAL_FILE = "Another method", Path("another.json")
DATA, RUNS = Path("data/traced/synthvis"), Path("results/traced/synthvis/tiny")
PDF, HTML = Path("reports/table.pdf"), Path("reports/traced/html")
_FOUND = {"pretrain": 0.3, "baseline": 0.55, "ms_sts": 0.8, "temporal": 0.6, "ms_sts_temporal": 0.9}
_SERVER_SCORES = """
scores:
  - {study: traced, dataset: synthvis, split: test, backbone: tiny, variant: ms_sts, seed: 1, server: a server,
     date: "2026-01-31", AP: 41.2, AP50: 63.4, AP75: 45.6, AR1: 38.9, AR10: 47.1}
"""


def write_study() -> None:
    """Run the study in the working directory, from its data to PDF and HTML."""
    _configure(REPOSITORY / "ablations")
    cli.generate(STUDY, "synthvis", DATA)
    cli.pretrain("synthvis", "tiny", STUDY)
    for variant in VARIANTS:
        for seed in SEEDS:
            cli.train("synthvis", "tiny", variant, STUDY, seed=seed)
    for number, run in enumerate(run_folders()):
        for split in SPLITS:
            _predict(run, split, np.random.default_rng([number, SPLITS.index(split)]))
            files = DATA / f"{split}.json", run / split / "predictions.json", run / split / "metrics.json"
            cli.evaluate(*files, run=run / "run.json", study=STUDY, split=split)
    _write_external()
    cli.complexity(STUDY)
    cli.tables(STUDY)
    cli.figures(STUDY)
    cli.attention(STUDY)
    cli.document(STUDY, PDF)
    cli.html(STUDY)


def run_folders() -> list[Path]:
    """Directories of the runs, the pre-training first."""
    return [RUNS / "pretrain/seed1", *(RUNS / variant / f"seed{seed}" for variant in VARIANTS for seed in SEEDS)]


def _configure(source: Path) -> None:
    for path in source.rglob("*.yaml"):
        target = "ablations" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    study = {"question": "Does every number say what the predictions say?", "scale": STUDY, "datasets": ["synthvis"]}
    study |= {"splits": list(SPLITS), "backbones": ["tiny"], "variants": list(VARIANTS), "seeds": list(SEEDS)}
    study |= {"external": {EXTERNAL: str(EXTERNAL_FILE)}, "cost": "a minute", "expect": "nothing"}
    for kind, content in (("scales", SCALE), ("studies", study)):
        Path(f"ablations/{kind}/{STUDY}.yaml").write_text(yaml.safe_dump(content))
    Path("server_scores.yaml").write_text(_SERVER_SCORES)


def _predict(run: Path, split: str, generator: np.random.Generator) -> None:
    """Write what `mssts predict` writes."""
    truth = json.loads((DATA / f"{split}.json").read_text())
    entries, boxes = _predictions(truth, _FOUND[run.parent.name], generator)
    folder = run / split
    folder.mkdir(parents=True)
    (folder / "predictions.json").write_text(json.dumps(entries))
    (folder / "predictions.boxes.json").write_text(json.dumps(boxes))
    files = {name: sha256_file(folder / name) for name in ("predictions.json", "predictions.boxes.json")}
    fingerprint = json.loads((DATA / "fingerprint.json").read_text())["fingerprint"]
    record = {"dataset": "synthvis", "split": split, "data_fingerprint": fingerprint, "files": files}
    record["checkpoint_sha256"] = sha256_file(run / "checkpoint.pt")
    write_record(folder / "predictions.record.json", record)


def _write_external() -> None:
    truth = json.loads((DATA / "valid.json").read_text())
    EXTERNAL_FILE.write_text(json.dumps(_predictions(truth, 0.7, np.random.default_rng(7))[0]))
    output = Path("results/traced/synthvis/external/another-method/valid/metrics.json")
    cli.evaluate(DATA / "valid.json", EXTERNAL_FILE, output, study=STUDY, split="valid")


def _predictions(truth: dict[str, Any], share: float, generator: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Entries of a submission and their boxes: a share of the instances with errors, and false ones."""
    entries, boxes = [], []
    for video in truth["videos"]:
        size = video["length"], video["height"], video["width"]
        own = [track for track in truth["annotations"] if track["video_id"] == video["id"]]
        found = [(track, 1.0) for track in own if generator.random() < share]
        found += [(track, 0.5) for track in own if generator.random() < 0.2]  # duplicates
        found += [(None, 0.4)] * int(generator.integers(0, 3))  # of nothing
        masks = [_mask(track, size, generator) for track, _ in found]
        if len(own) > 1 and generator.random() < 0.3:  # a switch of identity
            first, second = (pixels(track["segmentations"], size).astype(bool) for track in own[:2])
            masks.append(np.concatenate([first[: size[0] // 2], second[size[0] // 2 :]]))
            found.append((own[0], 0.8))
        for (track, factor), mask_THW in zip(found, masks, strict=True):
            right = track is not None and generator.random() < 0.85
            category = track["category_id"] if right else int(generator.integers(1, len(truth["categories"]) + 1))
            entry = {"video_id": video["id"], "category_id": category, "score": factor * generator.random() ** 0.5}
            entries.append(entry | {"segmentations": [_encoded(mask_HW) for mask_HW in mask_THW]})
            boxes.append([_box(mask_HW, generator) for mask_HW in mask_THW])
    return entries, boxes


def _mask(track: dict[str, Any] | None, size: tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    """The masks of a track, shifted by some pixels and without some frames; those of a box for None."""
    if track is None:
        mask_THW = np.zeros(size, bool)
        row, column = generator.integers(0, (size[1] - 20, size[2] - 20))
        mask_THW[:, row : row + 16, column : column + 12] = True
        return mask_THW
    shift = generator.integers(-3, 4, size=2)
    kept_T = generator.random(size[0]) < 0.9
    return np.roll(pixels(track["segmentations"], size).astype(bool), shift, axis=(1, 2)) & kept_T[:, None, None]


def _encoded(mask_HW: np.ndarray) -> dict[str, Any] | None:
    if not mask_HW.any():
        return None
    encoded = run_length.encode(np.asfortranarray(mask_HW.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def _box(mask_HW: np.ndarray, generator: np.random.Generator) -> list[float]:
    if not mask_HW.any():
        return [0.0, 0.0, 0.0, 0.0]
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    box = np.array([left, top, right - left, bottom - top]) + generator.normal(0, 1, 4)
    return [round(float(value), 2) for value in np.maximum(box, [-5, -5, 1, 1])]
