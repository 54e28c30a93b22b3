"""A small complete project for the fuzz test: a study, its data, one run with its metrics, and submissions."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from mssts.config import ABLATIONS
from mssts.core.files import read_record, write_json
from mssts.data.categories import coco_names
from mssts.data.datasets import entry
from mssts.data.synthvis import generate as synthvis
from mssts.evaluation.evaluate import evaluate
from mssts.inference.predict import predict
from mssts.study.resolve import load_study
from mssts.training.run import train

HEIGHT, WIDTH, FRAMES = 24, 32, 3
SLOPES = ((9, 1), (2, 5), (4, 3))
PICTURE = np.stack([np.add.outer(np.arange(HEIGHT) * a, np.arange(WIDTH) * b) for a, b in SLOPES], -1)
PICTURE = PICTURE.clip(0, 255).astype(np.uint8)
STUDY = "fuzz"
YTVIS, COCO, SYNTHVIS = Path("data/ytvis2019"), Path("data/coco"), Path("data/fuzz/synthvis")
RUN = Path("results/fuzz/synthvis/tiny/pretrain/seed1")
CHECKPOINT, PUBLIC_WEIGHTS = RUN / "checkpoint.pt", Path("public.pth")
TRUTH, VALID, STILLS = YTVIS / "train.json", YTVIS / "valid.json", COCO / "annotations/instances_train2017.json"
FRAME = YTVIS / "train/JPEGImages/v1/0.jpg"
PREDICTIONS, ZIP, SCORES = Path("predictions.json"), Path("predictions.zip"), Path("server_scores.yaml")


def build_project(root: Path) -> None:
    """Write the project to a new directory."""
    shutil.copytree(Path(__file__).resolve().parents[2] / ABLATIONS, root / ABLATIONS)
    with contextlib.chdir(root), contextlib.redirect_stderr(io.StringIO()):
        _write_study()
        _write_videos()
        _write_stills()
        _write_run()
        # Enough of a public checkpoint to be taken for one; the tensors are views of one number.
        shapes = {"backbone.0.body.layer3.5.conv2.weight": (256, 256, 3, 3), "query_embed.weight": (3, 512)}
        shapes |= {"class_embed.0.bias": (42,), "transformer.encoder.layers.1.norm1.bias": (256,)}
        weights = {f"detr.{name}": torch.zeros(1).expand(shape) for name, shape in shapes.items()}
        torch.save({"model": weights}, PUBLIC_WEIGHTS)


def _write_study() -> None:
    """The smoke study with less data and one step."""
    scale = yaml.safe_load((ABLATIONS / "scales/smoke.yaml").read_text())
    sizes = {"train_videos": 3, "valid_videos": 2, "control_videos": 1, "still_images": 4, "height": 48, "width": 64}
    scale["data"]["synthetic"] = sizes
    for stage in ("pretrain", "train"):
        scale[stage] |= {"steps": 1, "log_every": 1}
    study = yaml.safe_load((ABLATIONS / "studies/smoke.yaml").read_text()) | {"scale": STUDY}
    for name, content in (("scales", scale), ("studies", study)):
        (ABLATIONS / name / f"{STUDY}.yaml").write_text(yaml.safe_dump(content))


def _mask(shift: int, kind: int) -> Any:
    """A box as a compressed run-length mask (0), an uncompressed one (1), or a polygon (2)."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[4:14, 3 + shift : 15 + shift] = 1
    runs = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=2, append=2)), prepend=0).tolist()
    compressed, size = coco_mask.encode(mask)["counts"].decode(), [HEIGHT, WIDTH]
    polygon = [[3.0, 4.0, 15.0, 4.0, 15.0, 14.0, 3.0, 14.0]]
    return ({"size": size, "counts": compressed}, {"size": size, "counts": runs[1:]}, polygon)[kind]


def _write_videos() -> None:
    """Videos with the categories of YouTube-VIS 2019, and predictions for those of split train."""
    videos, objects, predictions = [], [], []
    for n in range(1, 5):
        names = [f"v{n}/{t}.jpg" for t in range(FRAMES)]
        videos.append({"id": n, "height": HEIGHT, "width": WIDTH, "length": FRAMES, "file_names": names})
        owner = {"video_id": n, "category_id": n % 2 + 1}
        frames = [_mask(n, 0), _mask(n, n % 3), None]
        record = {"id": n, "iscrowd": 0, "areas": [120, 120.0, None], "attributes": {"occluded": n == 1, "fog": False}}
        objects.append(owner | record | {"segmentations": frames})
        predictions.append(owner | {"score": 0.9 - n / 10, "segmentations": [_mask(n + 1, 0), None, _mask(n, 0)]})
        for split in ("train", "valid"):
            (YTVIS / split / "JPEGImages" / f"v{n}").mkdir(parents=True)
            for name in names:
                Image.fromarray(PICTURE).save(YTVIS / split / "JPEGImages" / name, quality=95)
    categories = [{"id": number, "name": name} for number, name in entry("ytvis2019").categories]
    objects.append(objects[0] | {"id": 9, "iscrowd": 1})
    for path in (TRUTH, VALID):
        path.write_text(json.dumps({"videos": videos, "categories": categories, "annotations": objects}))
    PREDICTIONS.write_text(json.dumps(predictions))
    with zipfile.ZipFile(ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(PREDICTIONS, "results.json")


def _write_stills() -> None:
    names = coco_names()
    images = [{"id": n, "height": HEIGHT, "width": WIDTH, "file_name": f"{n}.jpg"} for n in (1, 2, 3)]
    shapes = [(1, _mask(0, 2), 0), (2, _mask(0, 1), 1), (2, _mask(0, 2), 0), (3, _mask(0, 0), 0)]
    objects = [
        {"id": n, "image_id": image, "category_id": 1, "iscrowd": crowd, "segmentation": mask, "area": 120.0}
        for n, (image, mask, crowd) in enumerate(shapes, start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in names.items()]
    write_json(STILLS, {"images": images, "annotations": objects, "categories": categories})
    (COCO / "train2017").mkdir()
    for n in (1, 2, 3):
        Image.fromarray(PICTURE).save(COCO / "train2017" / f"{n}.jpg")


def _write_run() -> None:
    """Generated data, a pre-training with predictions and metrics, and a score entered by hand."""
    study = load_study(STUDY)
    synthvis.generate(study.baseline.data.synthetic, "synthvis", SYNTHVIS)
    train(study.pretraining("synthvis", "tiny", 1), SYNTHVIS, RUN)
    predict(study.baseline, CHECKPOINT, SYNTHVIS, "synthvis", "valid", RUN / "valid/predictions.json")
    files = (SYNTHVIS / "valid.json", RUN / "valid/predictions.json", RUN / "valid/metrics.json")
    evaluate(*files, read_record(RUN / "run.json"), "valid", study.baseline.evaluation)
    row: dict[str, Any] = dict.fromkeys(("AP", "AP50", "AP75", "AR1", "AR10"), 1.0)
    row |= {"study": STUDY, "dataset": "synthvis", "split": "valid", "backbone": "tiny", "variant": "baseline"}
    SCORES.write_text(yaml.safe_dump({"scores": [row | {"seed": 1, "server": "a server", "date": "2026-01-31"}]}))
