"""Generate SynthVIS: a YouTube-VIS directory, COCO-style still images and a fingerprint.

Every video has its own numpy generator, seeded by (seed of the split, index of the video), so it does not depend on the
number of videos. The same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from mssts.config import SyntheticSection
from mssts.core.errors import InputError
from mssts.core.files import read_record, sha256_file, write_bytes, write_record
from mssts.data.datasets import STILLS, DatasetEntry, entry
from mssts.data.fingerprints import FINGERPRINT, FRAMES
from mssts.data.synthvis.attributes import ATTRIBUTES, MIN_VISIBLE_PX, measure_attributes
from mssts.data.synthvis.render import Scene, render
from mssts.data.synthvis.scene import draw_length, still_scene, video_scene


class _Video(NamedTuple):
    """One video or still image as it is written.

    Attributes:
        files: (path below the image directory, JPEG bytes) of each frame.
        record: Its entry under `videos` or `images`.
        annotations: Its annotations, without ids.
    """

    files: list[tuple[str, bytes]]
    record: dict[str, Any]
    annotations: list[dict[str, Any]]


def generate(synthetic_config: SyntheticSection, dataset: str, output: Path) -> None:
    """Generate a dataset, replacing an earlier version of the same dataset.

    The files appear under `output` only when all of them are written.

    Args:
        synthetic_config: Number of videos of each split, and the frame size.
        dataset: Name of a generated dataset, e.g. "synthvis".
        output: Directory of the dataset.

    Raises:
        InputError: If the dataset cannot be generated, or `output` holds anything but this dataset.
    """
    dataset_entry = entry(dataset)
    if dataset_entry.seeds is None:
        raise InputError(f"dataset {dataset!r}: cannot be generated. Get it from {dataset_entry.source}.")
    _check_replaceable(output, dataset)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary:
        root = Path(temporary) / "new"
        summaries = _write_splits(synthetic_config, dataset_entry, dataset_entry.seeds, root)
        digests = file_digests(root)
        frames = {name: digest for name, digest in digests.items() if "/" in name}
        write_bytes(root / FRAMES, "".join(f"{digest}  {name}\n" for name, digest in frames.items()).encode())
        files = {name: digests[name] for name in digests.keys() - frames.keys()} | {FRAMES: sha256_file(root / FRAMES)}
        record = {"dataset": dataset, "fingerprint": fingerprint(digests), "files": files, "splits": summaries}
        write_record(root / FINGERPRINT, record)
        if output.exists():
            output.rename(Path(temporary) / "old")
        root.rename(output)


def file_digests(root: Path) -> dict[str, str]:
    """SHA-256 of all annotation and image files of a generated dataset, by sorted relative path."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name: sha256_file(root / name) for name in names if name not in (FINGERPRINT, FRAMES)}


def fingerprint(files: dict[str, str]) -> str:
    """Return 12 hex digits that identify the content of a generated dataset: of the SHA-256 over `file_digests`."""
    total = hashlib.sha256()
    for name, digest in files.items():
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()[:12]


def _check_replaceable(output: Path, dataset: str) -> None:
    """Raise InputError unless `output` is missing, empty but for hidden files, or an earlier version of `dataset`."""
    is_link = output.is_symlink()
    if not is_link and not output.exists():
        return
    if not is_link and output.is_dir() and all(path.name.startswith(".") for path in output.iterdir()):
        return
    try:
        found = "a link" if is_link else read_record(output / FINGERPRINT)["dataset"]
    except (OSError, ValueError, KeyError):
        found = "other files"
    if found != dataset:
        raise InputError(
            f"{output}: found {found}, expected no such directory, an empty one or an earlier {dataset}. "
            "Choose another output directory."
        )


def _write_splits(
    synthetic_config: SyntheticSection, dataset_entry: DatasetEntry, seeds: dict[str, int], root: Path
) -> dict[str, Any]:
    """Write images and annotations of all splits; return {split: what it holds}."""
    counts = {
        "train": synthetic_config.train_videos,
        "valid": synthetic_config.valid_videos,
        "control": synthetic_config.control_videos,
        STILLS: synthetic_config.still_images,
    }
    title, summaries = dataset_entry.title, {}
    with tqdm(total=sum(counts.values()), desc=f"generate {title}", unit="video", mininterval=1) as progress:
        for split, count in counts.items():
            annotation_file, image_root = dataset_entry.splits[split]
            records, annotations = [], []
            for index in range(count):
                video = _draw(split, index, np.random.default_rng([seeds[split], index]), synthetic_config)
                for name, encoded in video.files:
                    path = root / image_root / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(path, encoded)
                records.append(video.record)
                annotations += video.annotations
                progress.update()
            content = {
                "images" if split == STILLS else "videos": records,
                "annotations": [{"id": n} | annotation for n, annotation in enumerate(annotations, 1)],
                "categories": [{"id": n, "name": name} for n, name in dataset_entry.categories],
                "info": {"description": f"{title}, split {split}", "attributes": ATTRIBUTES},
            }
            write_bytes(root / annotation_file, json.dumps(content, sort_keys=True).encode() + b"\n")
            summaries[split] = _summary(content)
    return summaries


def _draw(split: str, index: int, rng: Generator, synthetic_config: SyntheticSection) -> _Video:
    """Draw and encode one video or still image of a split."""
    size = synthetic_config.height, synthetic_config.width
    if split == STILLS:
        return _as_still(_encode(index, still_scene(rng, index, *size), rng))
    if split == "control":
        repeats = draw_length(rng)
        return _encode(index, still_scene(rng, index, *size, noise=0.0), rng, repeats)
    return _encode(index, video_scene(rng, index, *size), rng)


def _encode(index: int, scene: Scene, rng: Generator, repeats: int = 1) -> _Video:
    """Render and encode a video in which the frames of the scene are repeated `repeats` times."""
    rendering = render(scene, rng)
    frames = [_jpeg(frame_HW3) for frame_HW3 in rendering.frames_THW3] * repeats
    files = [(f"{index:05d}/{t:05d}.jpg", encoded) for t, encoded in enumerate(frames)]
    shape = {"height": scene.height, "width": scene.width, "length": len(files)}
    annotations = []
    for n, track in enumerate(scene.tracks):
        masks_HWT = np.asfortranarray(rendering.visible_NTHW[n].transpose(1, 2, 0), dtype=np.uint8)
        rles_T = coco_mask.encode(masks_HWT)
        boxes_T4, areas_T = coco_mask.toBbox(rles_T), coco_mask.area(rles_T)
        per_frame = [
            (rle | {"counts": rle["counts"].decode()}, box, area) if area >= MIN_VISIBLE_PX else (None, None, None)
            for rle, box, area in zip(rles_T, boxes_T4.astype(int).tolist(), areas_T.tolist(), strict=True)
        ]
        segmentations, boxes, areas = (list(values) * repeats for values in zip(*per_frame, strict=True))
        if any(areas):
            identity = {"video_id": index + 1, "category_id": track.category + 1, "iscrowd": int(track.crowd)}
            masks = {"segmentations": segmentations, "bboxes": boxes, "areas": areas}
            annotations.append(shape | identity | masks | {"attributes": measure_attributes(rendering, n, boxes_T4)})
    return _Video(files, shape | {"id": index + 1, "file_names": [name for name, _ in files]}, annotations)


def _jpeg(frame_HW3: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame_HW3)).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _as_still(video: _Video) -> _Video:
    """Turn a video of one frame into a still image with COCO-style annotations."""
    [(_, encoded)] = video.files
    name = f"{video.record['id'] - 1:05d}.jpg"
    frame_keys = {"segmentation": "segmentations", "bbox": "bboxes", "area": "areas"}
    annotations = [
        {"image_id": item["video_id"], "category_id": item["category_id"], "iscrowd": item["iscrowd"]}
        | {key: item[values][0] for key, values in frame_keys.items()}
        for item in video.annotations
    ]
    record = {key: video.record[key] for key in ("id", "height", "width")} | {"file_name": name}
    return _Video([(name, encoded)], record, annotations)


def _summary(content: dict[str, Any]) -> dict[str, Any]:
    """Count what an annotation file holds; instances, null frames and attributes without the crowd regions."""
    single = [item for item in content["annotations"] if not item["iscrowd"]]
    counts = {"instances": len(single), "crowd": len(content["annotations"]) - len(single)}
    if "images" in content:
        return counts | {"images": len(content["images"])}
    return counts | {
        "videos": len(content["videos"]),
        "frames": sum(video["length"] for video in content["videos"]),
        "with_null_frames": sum(None in item["segmentations"] for item in single),
        "attributes": {name: sum(item["attributes"][name] for item in single) for name in ATTRIBUTES},
    }
