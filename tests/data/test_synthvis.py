import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.core.files import sha256_file
from mssts.data.datasets import DATASETS, split_annotations
from mssts.data.synthvis import generate as synthvis
from mssts.data.synthvis.attributes import ATTRIBUTES
from mssts.data.synthvis.covers import rendered_covers
from mssts.data.synthvis.render import render
from mssts.data.synthvis.scene import video_scene
from mssts.evaluation.evaluate import evaluate

from .conftest import SIZES

TINY = SIZES.model_copy(update={"train_videos": 2, "valid_videos": 3, "control_videos": 1, "still_images": 2})


@pytest.fixture(scope="module")
def valid(synthvis_dir) -> dict:
    return json.loads((synthvis_dir / "valid.json").read_text())


@pytest.fixture(scope="module")
def objects(valid) -> list[dict]:
    return [item for item in valid["annotations"] if not item["iscrowd"]]


def masks(item: dict) -> np.ndarray:
    height, width = item["height"], item["width"]
    empty = np.zeros((height, width), np.uint8)
    return np.stack([empty if s is None else coco_mask.decode(s) for s in item["segmentations"]]).astype(bool)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in "ab":
        synthvis.generate(TINY, "synthvis", tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not list(tmp_path.glob(".*"))


def test_a_video_does_not_depend_on_how_many_there_are(tmp_path, synthvis_dir, valid):
    synthvis.generate(TINY, "synthvis", tmp_path / "few")
    few = json.loads((tmp_path / "few" / "valid.json").read_text())
    assert few["videos"] == valid["videos"][:3]
    assert few["annotations"] == [item for item in valid["annotations"] if item["video_id"] <= 3]
    for name, content in files(tmp_path / "few" / "valid").items():
        assert (synthvis_dir / "valid" / name).read_bytes() == content


def test_splits_and_datasets_share_no_seed():
    seeds = [seed for entry in DATASETS.values() if entry.seeds for seed in entry.seeds.values()]
    assert len(seeds) == 16 == len(set(seeds))


def test_every_challenge_is_on_fifteen_percent_of_the_validation_instances(objects):
    for name in ATTRIBUTES:
        assert np.mean([item["attributes"][name] for item in objects]) >= 0.15, name


def test_the_summary_counts_what_is_in_the_files(synthvis_dir, valid, objects):
    record = json.loads((synthvis_dir / "fingerprint.json").read_text())
    files = synthvis.file_digests(synthvis_dir)
    frames = dict(line.split("  ")[::-1] for line in (synthvis_dir / "frames.sha256").read_text().splitlines())
    assert record["dataset"] == "synthvis"
    assert record["files"] | frames == files | {"frames.sha256": sha256_file(synthvis_dir / "frames.sha256")}
    assert record["fingerprint"] == synthvis.fingerprint(files)
    found = record["splits"]["valid"]
    assert (found["videos"], found["instances"]) == (240, len(objects))
    assert found["crowd"] == len(valid["annotations"]) - len(objects)
    assert found["attributes"]["fog"] == sum(item["attributes"]["fog"] for item in objects)


def test_recorded_scale_aspect_motion_and_border_are_seen_in_the_boxes(objects):
    for item in objects:
        kept = [t for t, box in enumerate(item["bboxes"]) if box is not None]
        boxes = np.array([item["bboxes"][t] for t in kept], float)
        areas = np.array([item["areas"][t] for t in kept], float)
        ratios = boxes[:, 2] / boxes[:, 3]
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        steps = [
            np.linalg.norm(b - a)
            for a, b, s, t in zip(centres, centres[1:], kept, kept[1:], strict=False)
            if t == s + 1
        ]
        sides = np.array([item["width"], item["height"]])
        at_border = ((boxes[:, :2] == 0) | (boxes[:, :2] + boxes[:, 2:] == sides)).any()
        attributes = item["attributes"]
        if attributes["scale_variation"]:
            assert areas.max() >= 2.5 * areas.min()
        if attributes["aspect_ratio_change"]:
            assert ratios.max() >= 1.6 * ratios.min()
        if attributes["partial_visibility"]:
            assert at_border
        assert attributes["fast_motion"] == bool(steps and np.mean(steps) >= 0.05 * sides.min())


def without_occluders(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a validation video rendered without noise, and without noise, fog and occluders."""
    seed, drawn = DATASETS["synthvis"].seeds["valid"], []
    for clean in (False, True):
        rng = np.random.default_rng([seed, index])
        scene = dataclasses.replace(video_scene(rng, index, 64, 96), noise=0.0)
        if clean:
            tracks = [dataclasses.replace(t, occluded_T=np.zeros_like(t.occluded_T)) for t in scene.tracks]
            scene = dataclasses.replace(scene, tracks=tracks, fog=False)
        drawn.append(render(scene, rng).frames_THW3.astype(int))
    return drawn[0], drawn[1]


def test_recorded_fog_and_occluders_change_the_pixels_of_the_object_and_of_no_other(objects):
    seen = {"fog": 0, "occlusion": 0}
    for index in range(40):
        here = [item for item in objects if item["video_id"] == index + 1]
        rendered, clean = without_occluders(index)
        changed = np.abs(rendered - clean).max(axis=-1) > 8
        for item in here:
            inside = masks(item)
            shares = [changed[t][m].mean() for t, m in enumerate(inside) if m.any()]
            if item["attributes"]["fog"]:
                assert np.mean(shares) >= 0.25
                seen["fog"] += 1
            elif item["attributes"]["occlusion"] and max(shares) > 0:
                assert max(shares) >= 0.3
                seen["occlusion"] += 1
            elif index % 20 not in (2, 5, 8, 11, 15, 17, 18):
                assert not changed.any()
    assert min(seen.values()) >= 5


@pytest.mark.parametrize("split", ["train", "valid"])
def test_the_covers_of_a_video_rendered_again_are_those_of_its_annotations(synthvis_dir, split):
    annotations = split_annotations("synthvis", synthvis_dir, split).annotations
    for video, tracks in annotations.tracks_of.items():
        for track, cover in zip(tracks, rendered_covers(SIZES, "synthvis", split, video), strict=True):
            present_T = track.masks.areas_T > 0
            assert (cover.fogged_T[present_T].mean() >= 0.3) == track.attributes["fog"]
            assert track.attributes["occlusion"] or (cover.occluded_T[present_T] < 0.4).all()
            assert (cover.covered_T <= 1).all() and (cover.covered_T >= cover.fogged_T).all()


def test_fog_and_occluders_come_with_slow_objects():
    for index in range(60):
        scene = video_scene(np.random.default_rng([1, index]), index, 64, 96)
        for track in scene.tracks:
            speeds = np.linalg.norm(np.diff(track.centres_T2, axis=0), axis=1)
            if scene.fog:
                assert speeds.max() <= 1.4 + 1e-9
            if track.occluded_T.any():
                assert speeds.max() <= 3 and track.occluded_T.sum() <= len(track.occluded_T) // 2


def test_objects_leave_and_return(objects):
    def returns(item):
        present = [s is not None for s in item["segmentations"]]
        return False in present[present.index(True) : len(present) - present[::-1].index(True)]

    assert sum(returns(item) for item in objects) >= 10


def test_lengths_sizes_and_crowds_vary(valid, objects):
    lengths = [video["length"] for video in valid["videos"]]
    assert set(lengths) == {4, 5, 6, 7, 8} and 5.5 < np.mean(lengths) < 6.5
    assert {(v["height"], v["width"]) for v in valid["videos"]} == {(64, 96), (96, 64), (72, 96), (80, 80)}
    assert 0.01 < 1 - len(objects) / len(valid["annotations"]) < 0.08
    per_video = np.bincount([item["video_id"] for item in objects])[1:]
    assert per_video.min() >= 1 and per_video.max() == 3
    assert {item["category_id"] for item in objects} == {1, 2, 3, 4, 5}


def test_boxes_and_areas_are_those_of_the_masks_and_no_two_masks_overlap(valid):
    for video in valid["videos"][:40]:
        here = [item for item in valid["annotations"] if item["video_id"] == video["id"]]
        assert sum(masks(item).astype(int) for item in here).max() <= 1
        for item in here:
            for segmentation, box, area in zip(item["segmentations"], item["bboxes"], item["areas"], strict=True):
                assert (segmentation is None) == (box is None) == (area is None)
                if segmentation:
                    assert coco_mask.toBbox(segmentation).tolist() == box and coco_mask.area(segmentation) == area


def test_the_control_split_repeats_one_frame(synthvis_dir):
    content = json.loads((synthvis_dir / "control.json").read_text())
    for video in content["videos"]:
        frames = {(synthvis_dir / "control" / "JPEGImages" / name).read_bytes() for name in video["file_names"]}
        assert len(video["file_names"]) >= 4 and len(frames) == 1
    for item in content["annotations"]:
        assert len({json.dumps(s) for s in item["segmentations"]}) == 1
        assert not any(item["attributes"][name] for name in ("fog", "fast_motion", "scale_variation"))


def test_repeating_the_masks_of_the_first_frame_scores_an_ap_below_one_half(synthvis_dir, objects, tmp_path):
    entries = [
        {
            "video_id": item["video_id"],
            "category_id": item["category_id"],
            "score": 1.0,
            "segmentations": [item["segmentations"][0]] * len(item["segmentations"]),
        }
        for item in objects
        if item["segmentations"][0] is not None
    ]
    (tmp_path / "predictions.json").write_text(json.dumps(entries))
    metrics = evaluate(synthvis_dir / "valid.json", tmp_path / "predictions.json", tmp_path / "metrics.json")
    assert 0.01 < metrics["overall"]["AP"] < 0.5


def test_every_split_passes_the_reader(synthvis_dir):
    for split in DATASETS["synthvis"].splits:
        annotations = split_annotations("synthvis", synthvis_dir, split)
        assert [name for _, name in annotations.categories] == ["disc", "square", "triangle", "cross", "ring"]
        assert all(annotations.frame_path(v, t).is_file() for v in annotations.videos for t in range(v.length))


def test_an_earlier_dataset_is_replaced_but_nothing_else(tmp_path):
    for _ in range(2):
        synthvis.generate(TINY, "synthvis", tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match=r"mine: found other files"):
        synthvis.generate(TINY, "synthvis", tmp_path / "mine")
    with pytest.raises(
        InputError, match="found synthvis, expected no such directory, an empty one or an earlier synthvis-fresh"
    ):
        synthvis.generate(TINY, "synthvis-fresh", tmp_path / "data")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(root):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthvis, "fingerprint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthvis.generate(TINY, "synthvis", tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_a_users_dataset_cannot_be_generated(tmp_path):
    with pytest.raises(InputError, match=r"'ovis': cannot be generated.*songbai"):
        synthvis.generate(TINY, "ovis", tmp_path / "ovis")
