"""The registry of datasets: names, files, categories, and where to get them. Imports no torch.

A user's own dataset is one file in `ablations/datasets` (see `mssts.data.own_datasets`). The known ones are in
`DATASETS`, and their category names in `categories.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from mssts.core.errors import InputError, shown, suggestion
from mssts.core.files import verify_digest
from mssts.data.fingerprints import (
    ADVICE,
    FINGERPRINT,
    recorded_categories,
    recorded_digests,
    recorded_frames,
    verify_frames,
)
from mssts.data.own_datasets import own_dataset_file, own_dataset_names, read_own_dataset
from mssts.ytvis.annotations import STILLS as STILLS_LAYOUT
from mssts.ytvis.annotations import VIDEOS, Annotations, CheckFrames, Layout, Truth, read_annotations
from mssts.ytvis.categories import ExpectedCategories
from mssts.ytvis.tracks import Video

DATA = Path("data")  # directory of all datasets
CATEGORIES_CSV = Path(__file__).with_name("categories.csv")
STILLS = "stills"
LOCAL = "local_"  # prefix of the splits that `mssts prepare` makes of the training annotations


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset in YouTube-VIS layout.

    Attributes:
        title: Name for people.
        category_key: Rows of `categories.csv` that hold its category names; None if its annotations define them.
        splits: {split: (annotation file, image folder)}, relative to the directory of the dataset. The split `stills`
            is COCO-style, all others are YouTube-VIS videos. Names separated by "|" are alternatives that people have;
            the first that exists is used.
        seeds: {split: seed of the generator}; None for a user's dataset.
        source: Where to get the files.
        local_share: Share of the training videos that the local split holds out.
        training_frames: Published number of frames of the training videos; None if unknown.
        directory: Where the dataset lies; only needed where its annotations define the categories.
        split_seed: Chooses another local split.
    """

    title: str
    category_key: str | None
    splits: dict[str, tuple[str, str]]
    seeds: dict[str, int] | None = None
    source: str = ""
    local_share: float = 0.0
    training_frames: int | None = None
    directory: Path = Path()
    split_seed: int = 0

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """(id, name) of every category, sorted by id; the position is the index of the class logit.

        Raises:
            InputError: If the annotations define them, and are missing or unreadable.
        """
        if self.category_key is not None:
            return _categories(self.category_key)
        recorded = recorded_categories(self.directory)
        if recorded is not None:
            return recorded
        path, _ = self.files(self.directory, "train", need_images=False)
        return tuple(read_annotations(path, truth="absent").categories.items())

    @property
    def given(self) -> tuple[str, ...]:
        """The splits that a user brings."""
        return tuple(split for split in self.splits if not split.startswith(LOCAL))

    def files(self, directory: Path, split: str, need_images: bool = True) -> tuple[Path, Path]:
        """(annotation file, image folder) of a split.

        Args:
            directory: Directory of the dataset.
            split: Name of the split.
            need_images: Whether the image folder has to exist.

        Raises:
            InputError: With what is missing and where to get it.
        """
        if split not in self.splits:
            raise InputError(f"{self.title}: found split {shown(split)}; {suggestion(split, self.splits)}")
        annotations, images = self.paths(directory, split)
        missing = [] if annotations.is_file() else [f"  {annotations} (annotation file)"]
        missing += [] if images.is_dir() or not need_images else [f"  {images}/ (folder of images)"]
        if missing:
            listed = "\n".join([*missing, self._how_to_get(directory, split)])
            raise InputError(f"{self.title}, split {split!r}: missing:\n{listed}")
        return annotations, images

    def paths(self, directory: Path, split: str) -> tuple[Path, Path]:
        """(annotation file, image folder) of a split: the first alternative of each that exists, else the first."""
        candidates = ([directory / name for name in names.split("|")] for names in self.splits[split])
        annotations, images = (next((path for path in paths if path.exists()), paths[0]) for paths in candidates)
        return annotations, images

    def read(
        self,
        directory: Path,
        split: str,
        expected: ExpectedCategories | None = None,
        truth: Truth = "required",
        check_frames: CheckFrames | None = None,
    ) -> VideoSplit:
        """Read and check a split; see `files` for the directory, and `read_annotations` for the rest.

        Its files must be those that the fingerprint of the directory records, if there is one. A caller that gives
        `check_frames` is about to write a new one.
        """
        path, images = self.files(directory, split)
        recorded = recorded_digests(directory) if check_frames is None else {}
        if path in recorded:
            verify_digest(path, recorded[path], ADVICE)
        elif recorded:
            raise InputError(f"{path}: is not recorded in {directory / FINGERPRINT}. Run `mssts prepare` again.")
        layout = STILLS_LAYOUT if split == STILLS else VIDEOS
        annotations = read_annotations(
            path, layout=layout, truth=truth, expected=expected, image_root=images, check_frames=check_frames
        )
        part = VideoSplit(annotations, images, layout, recorded_frames(directory, recorded))
        if check_frames is None:
            verify_frames(directory, split, part.frame_paths())
        return part

    def _how_to_get(self, directory: Path, split: str) -> str:
        if split.startswith(LOCAL) and self.paths(directory, "train")[0].is_file():
            return "Run `mssts prepare` first."
        if self.seeds is not None:
            return f"Generate it again: remove {directory} and run `mssts generate`, or let Snakemake do it."
        names = (dict.fromkeys(part.split("|")) for split in self.given for part in self.splits[split])
        parts = ", ".join(map(" or ".join, names))
        return f"Get the dataset from {self.source} and put it into {directory}, which must then contain {parts}."


def _youtube_vis_entry(
    title: str, category_key: str, source: str, local_share: float, training_frames: int | None = None
) -> DatasetEntry:
    splits = {
        split: (
            f"{split}.json|instances_{short}_sub.json|annotations/instances_{short}_sub.json|annotations/{split}.json|"
            f"{split}/instances.json|annotations_{split}.json",
            f"{split}/JPEGImages|{short}/JPEGImages|JPEGImages/{split}|{split}",
        )
        for split, short in (("train", "train"), ("valid", "val"))
    }
    for part in ("train", "valid"):
        splits[f"{LOCAL}{part}"] = (f"{LOCAL}{part}.json", splits["train"][1])
    return DatasetEntry(
        title, category_key, splits, source=source, local_share=local_share, training_frames=training_frames
    )


def _synthvis_entry(title: str, first_seed: int) -> DatasetEntry:
    splits = {split: (f"{split}.json", f"{split}/JPEGImages") for split in ("train", "valid", "control")}
    splits[STILLS] = ("stills.json", "stills")
    return DatasetEntry(title, "synthvis", splits, seeds={name: first_seed + i for i, name in enumerate(splits)})


_YOUTUBE_VOS = "youtube-vos.org (dataset page of video instance segmentation, {}) or its CodaLab competition page"
_SONGBAI = "songbai.site/ovis (occluded video instance segmentation) or its CodaLab page"
DATASETS: dict[str, DatasetEntry] = {
    "synthvis": _synthvis_entry("SynthVIS", 100),
    "synthvis-fresh": _synthvis_entry("SynthVIS, fresh seeds", 900),
    "synthvis-final": _synthvis_entry("SynthVIS, final seeds", 2600),
    "synthvis-confirm": _synthvis_entry("SynthVIS, seeds of the confirmation", 4700),
    "ytvis2019": _youtube_vis_entry("YouTube-VIS 2019", "ytvis2019", _YOUTUBE_VOS.format(2019), 302 / 2238, 61_800),
    "ytvis2021": _youtube_vis_entry(
        "YouTube-VIS 2021", "ytvis2021_and_2022", _YOUTUBE_VOS.format(2021), 421 / 2985, 90_200
    ),
    "ytvis2022": _youtube_vis_entry("YouTube-VIS 2022", "ytvis2021_and_2022", _YOUTUBE_VOS.format(2022), 421 / 2985),
    "ovis": _youtube_vis_entry("OVIS", "ovis", _SONGBAI, 140 / 607),
}


def entry(name: str) -> DatasetEntry:
    """The entry of that name, known or of a file in `ablations/datasets`. Raises InputError for another name."""
    if name in DATASETS:
        return DATASETS[name]
    path = own_dataset_file(name)
    if not path.is_file():
        close = suggestion(name, dataset_names())
        raise InputError(f"dataset {shown(name)}: unknown; {close}. To add one, write {path} (docs/your-data.md)")
    own = read_own_dataset(path)
    parts = {"train": own.train} | ({"valid": own.valid} if own.valid else {})
    splits = {split: (part.annotations, part.images) for split, part in parts.items()}
    splits |= {f"{LOCAL}{side}": (f"{LOCAL}{side}.json", own.train.images) for side in ("train", "valid")}
    return DatasetEntry(
        own.title,
        None,
        splits,
        source=own.source,
        local_share=own.local_share,
        directory=DATA / name,
        split_seed=own.split_seed,
    )


def dataset_names() -> list[str]:
    """Names of all datasets: the known ones, and those of the files in `ablations/datasets`."""
    return [*DATASETS, *own_dataset_names()]


def is_generated(name: str) -> bool:
    """Whether a dataset is generated by `mssts generate`, not brought by the user. Raises InputError."""
    return entry(name).seeds is not None


def pretrains_on_coco(name: str) -> bool:
    """Whether pre-trainings for a dataset run on COCO [code], not on its own images: for the published datasets.

    Raises:
        InputError: For an unknown name.
    """
    return not is_generated(name) and entry(name).category_key is not None


def expected_categories(name: str) -> ExpectedCategories | None:
    """The published categories of a dataset, to compare a file with them; None if its annotations define them.

    Raises:
        InputError: For an unknown name.
    """
    if entry(name).category_key is None:
        return None
    known = {other: dict(one.categories) for other, one in DATASETS.items()}
    return ExpectedCategories(name, dict(entry(name).categories), known)


@dataclass(frozen=True)
class VideoSplit:
    """A split of videos, or of stills as videos of one frame, with the folder of its frames.

    Attributes:
        annotations: Its annotations.
        image_root: Folder of the frames.
        layout: Whether it holds videos or stills, for messages.
        digests: SHA-256 of the frames, where it is recorded.
    """

    annotations: Annotations
    image_root: Path
    layout: Layout = VIDEOS
    digests: Mapping[Path, str] = field(default_factory=dict)

    @cached_property
    def videos(self) -> tuple[Video, ...]:
        """The videos in the order of the file."""
        return tuple(self.annotations.videos.values())

    @property
    def categories(self) -> tuple[tuple[int, str], ...]:
        """(id, name) of every category, sorted by id; the position is the index of the class logit."""
        return tuple(self.annotations.categories.items())

    @cached_property
    def labels(self) -> dict[int, int]:
        """{category id: index of the class logit}."""
        # Differs: in the public SeqFormer code the category id is the index of one of 42 logits; 0 and 41 are unused.
        return {category_id: label for label, category_id in enumerate(self.annotations.categories)}

    def frame_paths(self) -> Iterator[Path]:
        """Files of all frames."""
        return (self.image_root / name for video in self.videos for name in video.file_names)

    def frame_path(self, video: Video, frame: int) -> Path:
        """File of one frame."""
        return self.image_root / video.file_names[frame]

    def frame_name(self, video: Video, frame: int) -> str:
        """Name of a frame, for messages."""
        return f"{self.layout.frame_name(video.id, frame)} ({self.frame_path(video, frame)})"


def split_annotations(
    dataset: str,
    directory: Path,
    split: str,
    truth: Truth = "required",
    check_frames: CheckFrames | None = None,
) -> VideoSplit:
    """Read and check a split of the dataset in `directory`.

    Args:
        dataset: Name of the dataset.
        directory: Its directory.
        split: Name of the split.
        truth: Whether it must have annotations, as for `read_annotations`.
        check_frames: Adds what is wrong with the images, as for `read_annotations`.

    Raises:
        InputError: With one line for each problem.
    """
    return entry(dataset).read(directory, split, expected_categories(dataset), truth, check_frames)


@cache
def _categories(key: str) -> tuple[tuple[int, str], ...]:
    with CATEGORIES_CSV.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == key]
    return tuple(sorted((int(row["id"]), row["name"]) for row in rows))
