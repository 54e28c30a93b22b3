"""A dataset of one's own is one YAML file; its annotations define the categories."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mssts.core.errors import InputError
from mssts.core.files import read_record
from mssts.data.datasets import LOCAL, dataset_names, entry, is_generated, split_annotations
from mssts.data.prepare import prepare
from mssts.study.resolve import load_study
from tests.ytvis.test_converters import run_lengths

HEIGHT, WIDTH = 48, 64
NAMES = ["duck", "goose"]


def write_videos(root: Path, videos: int = 10, suffix: str = ".png", one_folder: bool = False) -> None:
    """The dataset `ponds`: its YAML file, and videos of two frames with a duck or a goose."""
    (root / "ablations/datasets").mkdir(parents=True, exist_ok=True)
    (root / "ablations/datasets/ponds.yaml").write_text(
        "title: My ponds\ntrain: {annotations: labels/all.json, images: frames}\n"
    )
    data = root / "data/ponds"
    (data / "labels").mkdir(parents=True)
    entries, annotations = [], []
    for number in range(1, videos + 1):
        names = [f"v{number}_{t}{suffix}" if one_folder else f"v{number}/{t}{suffix}" for t in range(2)]
        for name in names:
            (data / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(data / "frames" / name)
        size = {"height": HEIGHT, "width": WIDTH, "length": 2}
        entries.append({"id": number, **size, "file_names": names})
        counts = {"size": [HEIGHT, WIDTH], "counts": run_lengths(square())}
        annotation = {"id": number, "video_id": number, "category_id": number % 2 + 5, "iscrowd": 0}
        annotation |= {"segmentations": [counts, None], "attributes": {"reeds": number < 4}}
        annotations.append(annotation)
    categories = [{"id": 5 + i, "name": name} for i, name in enumerate(NAMES)]
    content = {"videos": entries, "categories": categories, "annotations": annotations}
    (data / "labels/all.json").write_text(json.dumps(content))


def square() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:20, 10:30] = 1
    return mask


@pytest.fixture
def ponds(tmp_path, monkeypatch, root) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(root / "ablations", tmp_path / "ablations")
    write_videos(tmp_path)
    return tmp_path


def test_one_file_makes_a_dataset_known_with_the_categories_of_its_annotations(ponds):
    found = entry("ponds")
    assert "ponds" in dataset_names() and not is_generated("ponds")
    assert found.title == "My ponds" and found.categories == ((5, "duck"), (6, "goose"))
    assert set(found.splits) == {"train", f"{LOCAL}train", f"{LOCAL}valid"} and found.given == ("train",)


def test_preparation_makes_the_local_split_of_one_part_and_says_what_it_found(ponds, capsys):
    record = prepare("ponds", Path("data/ponds"))
    assert len(record["valid"]) == 2 and len(record["train"]) == 8
    told = capsys.readouterr().out
    assert "train: 10 videos, 20 frames (2 to 2 per video); width x height: 64x48 (10)" in told
    assert "instances: 10 (duck 5, goose 5)" in told and "challenges: reeds 3 of 10" in told
    for side, videos in (("train", 8), ("valid", 2)):
        read = split_annotations("ponds", Path("data/ponds"), f"{LOCAL}{side}")
        assert len(read.videos) == videos and read.categories == ((5, "duck"), (6, "goose"))
    assert read_record(Path("data/ponds/fingerprint.json"))["categories"] == [[5, "duck"], [6, "goose"]]
    assert entry("ponds").categories == ((5, "duck"), (6, "goose"))


def test_another_seed_of_the_split_holds_out_other_videos(ponds):
    first = prepare("ponds", Path("data/ponds"))["valid"]
    assert prepare("ponds", Path("data/ponds"))["valid"] == first
    path = ponds / "ablations/datasets/ponds.yaml"
    seen = set()
    for seed in (1, 2, 3):
        path.write_text(f"{path.read_text().split('split_seed')[0]}split_seed: {seed}\n")
        seen.add(tuple(prepare("ponds", Path("data/ponds"))["valid"]))
    assert len(seen | {tuple(first)}) > 2


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_frames_of_several_videos_may_share_a_folder(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path, 6, suffix, one_folder=True)
    record = prepare("ponds", Path("data/ponds"))
    assert sorted(record["train"] + record["valid"]) == [f"v{number}_0{suffix}" for number in range(1, 7)]
    assert len(split_annotations("ponds", Path("data/ponds"), f"{LOCAL}valid").videos) == len(record["valid"]) == 1


def test_both_parts_must_have_the_same_categories(ponds):
    path = ponds / "ablations/datasets/ponds.yaml"
    path.write_text(f"{path.read_text()}valid: {{annotations: labels/more.json, images: frames}}\n")
    content = json.loads((ponds / "data/ponds/labels/all.json").read_text())
    content["categories"][1]["name"] = "swan"
    (ponds / "data/ponds/labels/more.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"categories: found id 6 \('?goose'?\), which the other part does not have"):
        prepare("ponds", Path("data/ponds"))


def test_a_study_on_the_dataset_resolves_with_its_number_of_categories(ponds):
    study = ponds / "ablations/studies/mine.yaml"
    text = (ponds / "ablations/studies/smoke.yaml").read_text()
    study.write_text(
        text.replace("[synthvis]", "[ponds]").replace("splits: [valid, control]", f"splits: [{LOCAL}valid]")
    )
    assert load_study("mine").spec.datasets == ["ponds"]


WRONG = {
    "outside": ("images: ../elsewhere", "train.images: found '../elsewhere'; expected a path inside"),
    "absolute": ("images: /tmp", "train.images: found '/tmp'; expected a path inside"),
    "unknown_key": ("images: frames, colour: red", "train.colour: unknown key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_the_file_is_named_with_its_key(ponds, case):
    new, told = WRONG[case]
    path = ponds / "ablations/datasets/ponds.yaml"
    path.write_text(path.read_text().replace("images: frames", new))
    with pytest.raises(InputError) as caught:
        entry("ponds")
    assert "ponds.yaml" in str(caught.value) and told in str(caught.value)


def test_an_unknown_dataset_is_told_how_to_become_known(ponds):
    with pytest.raises(InputError, match=r"did you mean 'ponds'.*write ablations/datasets/pond.yaml"):
        entry("pond")
