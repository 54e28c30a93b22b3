"""A tiny dataset in YouTube-VIS layout with the real category list, as a user would have it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mssts.data.datasets import entry

HEIGHT, WIDTH, FRAMES = 64, 96, 3


def rle(box: tuple[int, int, int, int], height: int = HEIGHT, width: int = WIDTH) -> dict:
    x, y, w, h = box
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[y : y + h, x : x + w] = 1
    return {"size": [height, width], "counts": coco_mask.encode(mask)["counts"].decode()}


def annotations(dataset: str, split: str, videos: int, categories: tuple[int, ...] = (1, 2, 3)) -> dict:
    """Videos of one object each, whose category goes through `categories`; the split `valid` has no annotations."""
    content = {"info": {}, "videos": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in entry(dataset).categories]
    for n in range(videos):
        names = [f"{split}{n:04d}/{5 * t:05d}.jpg" for t in range(FRAMES)]
        size = {"height": HEIGHT, "width": WIDTH}
        content["videos"].append({"id": n + 1, "length": FRAMES, "file_names": names} | size)
        boxes = [(10 + 2 * t + n, 12, 30, 24) for t in range(FRAMES)]
        content["annotations"].append(
            {
                "id": n + 1,
                "video_id": n + 1,
                "category_id": categories[n % len(categories)],
                "iscrowd": 0,
                "segmentations": [rle(box) for box in boxes],
                "bboxes": boxes,
                "areas": [720] * FRAMES,
            }
        )
    if split == "valid":
        content["annotations"] = None
    return content


def write(root: Path, dataset: str, files: dict[str, tuple[str, str]] | None = None, videos: int = 12) -> Path:
    """Write the dataset; files: split -> (annotation file, image folder)."""
    files = files or {"train": ("train.json", "train/JPEGImages"), "valid": ("valid.json", "valid/JPEGImages")}
    rng = np.random.default_rng(0)
    for split, (file, images) in files.items():
        content = annotations(dataset, split, videos if split == "train" else 2)
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(json.dumps(content))
        for video in content["videos"]:
            for name in video["file_names"]:
                path = root / images / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(path, quality=50)
    return root
