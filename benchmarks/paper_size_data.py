"""Write annotations of the size of YouTube-VIS 2019 and of COCO 2017, and images that they name: nothing real.

    python benchmarks/paper_size_data.py DIRECTORY [--part 1.0]

`DIRECTORY/ytvis2019` gets 2,238 videos of about 28 frames of 1280x720 pixels with 4,000 tracks, whose masks are plain
run lengths as in the published files, and 302 videos without annotations. `DIRECTORY/coco` gets 118,287 images with
860,000 objects: polygons, and run lengths for the one in a hundred that is a crowd. All frames are links to 32 JPEG
files of smooth noise, all images of COCO to 8: only their number matters to what reads headers, and a few dozens do for
what decodes them. `--part 0.01` writes a hundredth of everything.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mssts.data.categories import coco_names
from mssts.data.datasets import entry

VIDEOS, VALIDATION_VIDEOS, TRACKS = 2238, 302, 4000
IMAGES, OBJECTS, CROWDS = 118_287, 860_000, 0.01
SIZE, COCO_SIZE = (720, 1280), (480, 640)


def write_images(directory: Path, count: int, size: tuple[int, int], rng: np.random.Generator) -> list[Path]:
    """Write JPEG files of smooth noise with some grain, of (height, width) pixels."""
    directory.mkdir(parents=True)
    paths = [directory / f"{n:02d}.jpg" for n in range(count)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (18, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-8, 9, smooth.shape)
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(path, quality=85)
    return paths


def link(names: list[str], folder: Path, images: list[Path]) -> None:
    """Make each name in the folder another name of one of the images."""
    for position, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(images[position % len(images)], path)


def runs_of_blob(size: tuple[int, int], centre: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Run lengths, zeros first, of a ragged ellipse; one column in ten has a gap."""
    height, width = size
    left, right = (int(np.clip(centre[0] + sign * radii[0], 2, width - 3)) for sign in (-1, 1))
    x = np.arange(left, right + 1)
    half = radii[1] * np.sqrt(np.clip(1 - ((x - centre[0]) / radii[0]) ** 2, 0.0, 1)) + 3 * rng.random(x.size) + 2
    top, bottom = (np.clip(centre[1] + sign * half, 1, height - 2).astype(int) for sign in (-1, 1))
    bottom = np.maximum(bottom, top + 1)
    gap = (rng.random(x.size) < 0.1) & (bottom - top > 8)
    middle = (top + bottom) // 2
    starts = np.concatenate([x * height + top, (x * height + middle + 1)[gap]])
    stops = np.concatenate([x * height + np.where(gap, middle, bottom), (x * height + bottom)[gap]])
    edges = np.stack([np.sort(starts), np.sort(stops)], axis=1).ravel()
    return np.diff(edges, prepend=0, append=height * width).tolist()


def track(number: int, video: dict[str, Any], categories: list[int], rng: np.random.Generator) -> dict[str, Any]:
    """An object that moves through a video and is absent in one frame of twenty."""
    height, width = SIZE
    radii = rng.uniform(40, 260, 2) * (1, 0.7)
    centre, velocity = rng.uniform(0.25, 0.75, 2) * (width, height), rng.uniform(-6, 6, 2)
    masks: list[dict[str, Any] | None] = []
    for frame in range(video["length"]):
        runs = runs_of_blob(SIZE, centre + frame * velocity, radii, rng) if rng.random() > 0.05 else None
        masks.append(runs and {"counts": runs, "size": list(SIZE)})
    areas = [None if mask is None else sum(mask["counts"][1::2]) for mask in masks]
    return {
        "id": number,
        "video_id": video["id"],
        "category_id": int(rng.choice(categories)),
        "iscrowd": 0,
        "segmentations": masks,
        "areas": areas,
        "bboxes": [None if mask is None else [0.0, 0.0, 1.0, 1.0] for mask in masks],
        "width": width,
        "height": height,
    }


def videos(count: int, prefix: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Records of videos with 20 to 36 frames."""
    found = []
    for number in range(1, count + 1):
        length = int(rng.integers(20, 37))
        names = [f"{prefix}{number:08x}/{5 * t:05d}.jpg" for t in range(length)]
        found.append({"id": number, "height": SIZE[0], "width": SIZE[1], "length": length, "file_names": names})
    return found


def write_youtube_vis(directory: Path, part: float, rng: np.random.Generator) -> None:
    """Write the videos with tracks, the videos without, and their frames."""
    images = write_images(directory / "frames", 32, SIZE, rng)
    names = entry("ytvis2019").categories
    for split, count in (("train", VIDEOS), ("valid", VALIDATION_VIDEOS)):
        shown = videos(max(8, round(part * count)), split[0], rng)
        of_tracks = [shown[n % len(shown)] for n in range(round(TRACKS / VIDEOS * len(shown)))]
        numbers = [number for number, _ in names]
        tracks = [track(n, video, numbers, rng) for n, video in enumerate(of_tracks, 1)] if split == "train" else None
        categories = [{"id": number, "name": name} for number, name in names]
        content = {"videos": shown, "categories": categories, "annotations": tracks}
        (directory / f"{split}.json").write_text(json.dumps(content))
        link([name for video in shown for name in video["file_names"]], directory / split / "JPEGImages", images)


def objects(images: list[int], categories: list[int], count: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Annotated objects of stills; most are polygons of 8 to 40 corners."""
    height, width = COCO_SIZE
    for number in range(1, count + 1):
        radii = rng.uniform(8, 90, 2)
        centre = rng.uniform(0.2, 0.8, 2) * (width, height)
        crowd = rng.random() < CROWDS
        segmentation: Any
        if crowd:
            segmentation = {"counts": runs_of_blob(COCO_SIZE, centre, 2 * radii, rng), "size": list(COCO_SIZE)}
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(8, 41)))
            points = centre + radii * np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(
                0.8, 1.0, (angles.size, 1)
            )
            polygon = np.clip(points, 0, (width - 1, height - 1)).round(2).ravel().tolist()
            segmentation = [polygon, polygon[:6]] if rng.random() < 0.1 else [polygon]
        yield {
            "segmentation": segmentation,
            "area": round(float(np.pi * radii.prod()), 4),
            "iscrowd": int(crowd),
            "image_id": images[int(rng.integers(len(images)))],
            "bbox": [*(centre - radii).round(2).tolist(), *(2 * radii).round(2).tolist()],
            "category_id": int(rng.choice(categories)),
            "id": number,
        }


def write_coco(directory: Path, part: float, rng: np.random.Generator) -> None:
    """Write the images with objects; one in a hundred has none."""
    images = write_images(directory / "images_of_all", 8, COCO_SIZE, rng)
    height, width = COCO_SIZE
    numbers = list(range(1, round(part * IMAGES) + 1))
    records = [{"id": n, "file_name": f"{n:012d}.jpg", "height": height, "width": width} for n in numbers]
    categories = [{"id": number, "name": name} for number, name in sorted(coco_names().items())]
    found = list(objects(numbers[: round(0.99 * len(numbers))], sorted(coco_names()), round(part * OBJECTS), rng))
    (directory / "annotations").mkdir()
    content = {"images": records, "annotations": found, "categories": categories}
    (directory / "annotations/instances_train2017.json").write_text(json.dumps(content))
    link([record["file_name"] for record in records], directory / "train2017", images)


def main() -> None:
    """Write both datasets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--part", type=float, default=1.0)
    options = parser.parse_args()
    write_youtube_vis(options.directory / "ytvis2019", options.part, np.random.default_rng(0))
    write_coco(options.directory / "coco", options.part, np.random.default_rng(1))


if __name__ == "__main__":
    main()
