"""SynthVIS, the embedded dataset: writes a YouTube-VIS directory, COCO-style stills and a fingerprint.

Every video is drawn from its own numpy generator, seeded by (seed of the split, video index): it does not depend on how
many others there are. The same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from mssts.config import SyntheticSection
from mssts.core.errors import InputError
from mssts.data.datasets import STILLS, DatasetEntry, entry
from mssts.data.synthvis.attributes import ATTRIBUTES, boxes_xywh, measure, present_frames
from mssts.data.synthvis.render import Rendering
from mssts.data.synthvis.scene import LENGTHS, control_scene, still_scene, video_scene

FINGERPRINT = "fingerprint.json"
MIN_SIDE = 48


def generate(settings: SyntheticSection, dataset: str, output: Path) -> None:
    """Write the generated dataset `dataset` to the directory `output`, replacing an earlier one of the same name.

    The files appear under `output` only when all are written. Raises InputError if the dataset is not a generated one,
    the frame size is too small, or `output` holds something else.
    """
    dataset_entry = entry(dataset)
    if dataset_entry.seeds is None:
        raise InputError(f"dataset {dataset!r}: cannot be generated. Get it from {dataset_entry.source}.")
    if not MIN_SIDE <= settings.height <= settings.width:
        raise InputError(
            f"data.synthetic: found height {settings.height}, width {settings.width}; expected "
            f"{MIN_SIDE} <= height <= width"
        )
    output = Path(output)
    _check_replaceable(output, dataset)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary:
        root = Path(temporary) / "new"
        _write_dataset(settings, dataset, dataset_entry, root)
        if output.exists():
            output.rename(Path(temporary) / "old")
        root.rename(output)


def _check_replaceable(output: Path, dataset: str) -> None:
    if not output.exists() or (output.is_dir() and all(p.name.startswith(".") for p in output.iterdir())):
        return
    try:
        found = json.loads((output / FINGERPRINT).read_text(encoding="utf-8"))["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        found = "something else"
    if found != dataset:
        raise InputError(f"{output}: found {found}, expected nothing or an earlier {dataset}. Name another folder.")


def _write_dataset(settings: SyntheticSection, dataset: str, dataset_entry: DatasetEntry, root: Path) -> None:
    counts = {
        "train": settings.train_videos,
        "valid": settings.valid_videos,
        "control": settings.control_videos,
        STILLS: settings.still_images,
    }
    summaries = {}
    with tqdm(total=sum(counts.values()), desc=f"generate {dataset}", unit="video", mininterval=1) as progress:
        for split, count in counts.items():
            annotation_file, image_root = dataset_entry.splits[split]
            draw = _draw_still if split == STILLS else _draw_control if split == "control" else _draw_video
            content = _write_split(
                draw, dataset_entry.seeds[split], count, settings, root / image_root, progress.update
            )
            content["categories"] = [{"id": i, "name": name} for i, name in dataset_entry.categories]
            content["info"] = {"description": f"{dataset_entry.title}, split {split}", "attributes": ATTRIBUTES}
            (root / annotation_file).write_text(json.dumps(content, sort_keys=True) + "\n", encoding="utf-8")
            summaries[split] = _summary(content)
    record = {"dataset": dataset, "fingerprint": fingerprint(root), "splits": summaries}
    (root / FINGERPRINT).write_text(json.dumps(record, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def fingerprint(root: Path) -> str:
    """12 hex digits of the SHA-256 over the sorted (relative path, SHA-256) of all annotation and image files."""
    total = hashlib.sha256()
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    for name in names:
        if name != FINGERPRINT and not Path(name).name.startswith("."):
            digest = hashlib.sha256((root / name).read_bytes()).hexdigest()
            total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()[:12]


Drawn = tuple[list[tuple[str, bytes]], dict[str, Any], list[dict[str, Any]]]


def _write_split(
    draw: Callable[[int, int, SyntheticSection], Drawn],
    seed: int,
    count: int,
    settings: SyntheticSection,
    image_root: Path,
    advance: Callable[[], Any],
) -> dict[str, Any]:
    """Draw and write `count` videos or stills; returns the annotation content without categories."""
    image_root.mkdir(parents=True)
    records, annotations = [], []
    for index in range(count):
        images, record, found = draw(seed, index, settings)
        for name, encoded in images:
            path = image_root / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded)
        records.append(record)
        for annotation in found:
            annotations.append({"id": len(annotations) + 1} | annotation)
        advance()
    kind = "images" if records and "file_name" in records[0] else "videos"
    return {kind: records, "annotations": annotations}


def _jpeg(frame_HW3: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame_HW3)).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _draw_video(seed: int, index: int, settings: SyntheticSection) -> Drawn:
    rng = np.random.default_rng([seed, index])
    scene = video_scene(rng, index, settings.height, settings.width)
    return _video(index, scene.render(rng), [track.crowd for track in scene.tracks], _categories(scene), 1)


def _draw_control(seed: int, index: int, settings: SyntheticSection) -> Drawn:
    rng = np.random.default_rng([seed, index])
    repeats = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
    scene = control_scene(rng, index, settings.height, settings.width)
    return _video(index, scene.render(rng), [track.crowd for track in scene.tracks], _categories(scene), repeats)


def _categories(scene: Any) -> list[int]:
    return [track.category + 1 for track in scene.tracks]


def _video(index: int, drawn: Rendering, crowds: list[bool], categories: list[int], repeats: int) -> Drawn:
    """Files, record and annotations of one video; every drawn frame is shown `repeats` times."""
    frames = [_jpeg(frame) for frame in drawn.frames_THW3] * repeats
    images = [(f"{index:05d}/{t:05d}.jpg", encoded) for t, encoded in enumerate(frames)]
    height, width = drawn.frames_THW3.shape[1:3]
    record = {
        "id": index + 1,
        "height": height,
        "width": width,
        "length": len(images),
        "file_names": [name for name, _ in images],
    }
    annotations = []
    for n, (crowd, category) in enumerate(zip(crowds, categories, strict=True)):
        visible_THW = drawn.visible_NTHW[n]
        present = present_frames(visible_THW)
        if not present.any():
            continue
        rles = coco_mask.encode(np.asfortranarray(visible_THW.transpose(1, 2, 0), dtype=np.uint8))
        boxes, areas = boxes_xywh(visible_THW), visible_THW.sum(axis=(1, 2))
        shown = range(len(present))
        annotations.append(
            {
                "video_id": index + 1,
                "category_id": category,
                "iscrowd": int(crowd),
                "height": height,
                "width": width,
                "length": len(images),
                "segmentations": [_rle(rles[t]) if present[t] else None for t in shown] * repeats,
                "bboxes": [boxes[t].tolist() if present[t] else None for t in shown] * repeats,
                "areas": [int(areas[t]) if present[t] else None for t in shown] * repeats,
                "attributes": measure(
                    visible_THW, drawn.own_area_NT[n], drawn.whole_area_NT[n], drawn.occluded_NT[n], drawn.fogged_NT[n]
                ),
            }
        )
    return images, record, annotations


def _rle(encoded: dict[str, Any]) -> dict[str, Any]:
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def _draw_still(seed: int, index: int, settings: SyntheticSection) -> Drawn:
    rng = np.random.default_rng([seed, index])
    scene = still_scene(rng, index, settings.height, settings.width)
    crowds = [track.crowd for track in scene.tracks]
    [(_, encoded)], record, found = _video(index, scene.render(rng), crowds, _categories(scene), 1)
    name = f"{index:05d}.jpg"
    annotations = [
        {
            "image_id": index + 1,
            "category_id": item["category_id"],
            "iscrowd": item["iscrowd"],
            "segmentation": item["segmentations"][0],
            "bbox": item["bboxes"][0],
            "area": item["areas"][0],
        }
        for item in found
    ]
    image = {"id": index + 1, "height": record["height"], "width": record["width"], "file_name": name}
    return [(name, encoded)], image, annotations


def _summary(content: dict[str, Any]) -> dict[str, Any]:
    """Counts of one split, over instances that are no crowd."""
    single = [item for item in content["annotations"] if not item["iscrowd"]]
    crowd = len(content["annotations"]) - len(single)
    if "images" in content:
        return {"images": len(content["images"]), "instances": len(single), "crowd": crowd}
    return {
        "videos": len(content["videos"]),
        "frames": sum(video["length"] for video in content["videos"]),
        "instances": len(single),
        "crowd": crowd,
        "with_null_frames": sum(None in item["segmentations"] for item in single),
        "attributes": {name: sum(item["attributes"][name] for item in single) for name in ATTRIBUTES},
    }
