"""Annotations of other tools keep their masks and identities: one small scene, written by hand in every format."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mssts.core.errors import InputError
from mssts.ytvis.annotations import read_annotations
from mssts.ytvis.converters.formats import convert

HEIGHT, WIDTH = 12, 16
RECTANGLES = {  # (video, object): (category, {frame: (left, top, right, bottom)}); the right and lower edge is outside
    ("a", 1): ("car", {0: (1, 2, 5, 6), 1: (2, 2, 6, 6)}),
    ("a", 2): ("pedestrian", {1: (8, 1, 12, 9), 2: (9, 1, 13, 9)}),
    ("b", 1): ("car", {0: (0, 0, 16, 3)}),
}
LENGTHS = {"a": 3, "b": 1}
REAL = Path(__file__).resolve().parents[3] / "shared/reports/coco-video"


def mask(rectangle) -> np.ndarray:
    left, top, right, bottom = rectangle
    mask_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask_HW[top:bottom, left:right] = 1
    return mask_HW


def run_lengths(mask_HW) -> str:
    return coco_mask.encode(np.asfortranarray(mask_HW))["counts"].decode()


def frames(video: str) -> dict[int, list[tuple[int, str, tuple]]]:
    """{frame: (object, category, rectangle)} of a video."""
    found = {frame: [] for frame in range(LENGTHS[video])}
    for (where, key), (category, places) in RECTANGLES.items():
        for frame, rectangle in places.items() if where == video else ():
            found[frame].append((key, category, rectangle))
    return found


def images(folder: Path) -> Path:
    for video, length in LENGTHS.items():
        (folder / video).mkdir(parents=True, exist_ok=True)
        for frame in range(length):
            Image.new("RGB", (WIDTH, HEIGHT)).save(folder / video / f"{frame:05d}.jpg")
    return folder


def coco_video(folder: Path) -> Path:
    shown = [
        {"id": 10 * v + t + 1, "video_id": v, "frame_id": t, "file_name": f"{name}/{t:05d}.jpg"}
        | {"height": HEIGHT, "width": WIDTH}
        for v, name in enumerate(LENGTHS)
        for t in range(LENGTHS[name])
    ]
    annotations = []
    for v, name in enumerate(LENGTHS):
        for t, objects in frames(name).items():
            for key, category, (left, top, right, bottom) in objects:
                corners = [[left, top, right, top, right, bottom, left, bottom]]
                runs = coco_mask.encode(np.asfortranarray(mask((left, top, right, bottom))))
                shape = corners if t == 0 else {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}
                category_id = {"car": 3, "pedestrian": 7}[category]
                annotation = {"image_id": 10 * v + t + 1, "category_id": category_id, "segmentation": shape}
                annotations.append(annotation | {"id": len(annotations) + 1, "instance_id": key})
    content = {
        "videos": [{"id": v, "name": name} for v, name in enumerate(LENGTHS)],
        "images": shown[::-1],  # frame_id decides, not the order
        "categories": [{"id": 3, "name": "car"}, {"id": 7, "name": "pedestrian"}],
        "annotations": annotations,
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


def palette(folder: Path) -> Path:
    for video in LENGTHS:
        (folder / "Annotations" / video).mkdir(parents=True)
        for frame, objects in frames(video).items():
            labels = sum((key * mask(rectangle) for key, _, rectangle in objects), np.zeros((HEIGHT, WIDTH), np.uint8))
            image = Image.fromarray(labels).convert("P")
            image.putpalette([value for i in range(256) for value in (i, 0, 0)])
            image.putdata(labels.flatten().tolist())
            image.save(folder / "Annotations" / video / f"{frame:05d}.png")
    meta = {"videos": {v: {"objects": {}} for v in LENGTHS}}
    for (video, key), (category, _) in RECTANGLES.items():
        meta["videos"][video]["objects"][str(key)] = {"category": category}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder / "Annotations"


def mots(folder: Path) -> Path:
    kinds = {"car": 1, "pedestrian": 2}
    for video in LENGTHS:
        lines = [
            f"{frame} {1000 * kinds[category] + key} {kinds[category]} {HEIGHT} {WIDTH} {run_lengths(mask(place))}\n"
            for frame, objects in frames(video).items()
            for key, category, place in objects
        ]
        (folder / "mots").mkdir(exist_ok=True)
        (folder / "mots" / f"{video}.txt").write_text("".join(lines))
    return folder / "mots"


def labelme(folder: Path) -> Path:
    for video in LENGTHS:
        (folder / "labelme" / video).mkdir(parents=True)
        for frame, objects in frames(video).items():
            shapes = []
            for key, category, (left, top, right, bottom) in objects:
                corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
                shape = {"label": category, "group_id": key, "points": corners, "shape_type": "polygon"}
                if frame == 1:
                    shape |= {"shape_type": "rectangle", "points": corners[::2]}
                if frame == 2:
                    png = io.BytesIO()
                    Image.new("L", (right - left, bottom - top), 255).save(png, "PNG")
                    encoded = base64.b64encode(png.getvalue()).decode()
                    shape |= {"shape_type": "mask", "mask": encoded, "points": [[left, top], [right - 1, bottom - 1]]}
                shapes.append(shape)
            content = {"shapes": shapes, "imagePath": f"{frame:05d}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
            (folder / "labelme" / video / f"{frame:05d}.json").write_text(json.dumps(content))
    return folder / "labelme"


def cvat(folder: Path) -> Path:
    (folder / "cvat").mkdir()
    for video, length in LENGTHS.items():
        tracks = []
        for (where, key), (category, places) in RECTANGLES.items():
            if where != video:
                continue
            shapes = []
            for frame in range(length):
                left, top, right, bottom = places.get(frame, (0, 0, 1, 1))
                common = (
                    f'frame="{frame}" outside="{int(frame not in places)}" occluded="{int(frame == 2)}" keyframe="1"'
                )
                size = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
                rle = f'rle="0, {(right - left) * (bottom - top)}"'
                points = ";".join(
                    f"{x}.00,{y}.00" for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
                )
                shapes.append(
                    f"<mask {common} {size} {rle}/>" if frame == 1 else f'<polygon {common} points="{points}"/>'
                )
            tracks.append(f'<track id="{key}" label="{category}">{"".join(shapes)}</track>')
        size = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
        meta = f"<meta><task><size>{length}</size>{size}</task></meta>"
        text = f"<annotations><version>1.1</version>{meta}{''.join(tracks)}</annotations>"
        (folder / "cvat" / f"{video}.xml").write_text(text)
    return folder / "cvat"


FORMATS = {"coco-video": coco_video, "palette": palette, "mots": mots, "labelme": labelme, "cvat": cvat}
EVERY = pytest.mark.parametrize("name", FORMATS)


def scene(path: Path, image_root: Path | None = None) -> dict:
    """{(video, category): masks per frame} of an annotation file, as pixels."""
    found = read_annotations(path, image_root=image_root)
    content = json.loads(path.read_text())
    shown = {}
    for annotation in content["annotations"]:
        video = found.videos[annotation["video_id"]]
        masks = [None if m is None else coco_mask.decode(m) for m in annotation["segmentations"]]
        shown[video.file_names[0].split("/")[0], found.categories[annotation["category_id"]]] = masks
    return shown


def assert_is_the_scene(shown: dict) -> None:
    assert shown.keys() == {(video, category) for (video, _), (category, _) in RECTANGLES.items()}
    for (video, _), (category, places) in RECTANGLES.items():
        masks = shown[video, category]
        assert len(masks) == LENGTHS[video]
        for frame, found in enumerate(masks):
            assert (found is not None) == (frame in places), (video, category, frame)
            assert found is None or np.array_equal(found, mask(places[frame])), (video, category, frame)


@EVERY
def test_every_mask_keeps_its_pixels_object_category_and_frame(tmp_path, name):
    source, root = FORMATS[name](tmp_path), images(tmp_path / "images")
    videos, objects, _ = convert(source, name, tmp_path / "out.json", images=root)
    assert (videos, objects) == (len(LENGTHS), 3)
    assert_is_the_scene(scene(tmp_path / "out.json", root))


@EVERY
def test_the_frames_have_the_names_of_extracted_frames_where_no_folder_is_given(tmp_path, name):
    convert(FORMATS[name](tmp_path), name, tmp_path / "out.json")
    videos = json.loads((tmp_path / "out.json").read_text())["videos"]
    expected = [[f"{video}/{frame:05d}.jpg" for frame in range(length)] for video, length in LENGTHS.items()]
    assert [video["file_names"] for video in videos] == expected


@pytest.mark.parametrize("back", ["coco-video", "mots"])
@EVERY
def test_a_round_trip_gives_the_same_file(tmp_path, name, back):
    convert(FORMATS[name](tmp_path), name, tmp_path / "out.json", images=images(tmp_path / "images"))
    convert(tmp_path / "out.json", "youtube-vis", tmp_path / "there", write_as=back)
    convert(tmp_path / "there", back, tmp_path / "again.json", images=tmp_path / "images")
    assert_is_the_scene(scene(tmp_path / "again.json"))
    if back == "coco-video":
        first, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("out", "again"))
        for annotation in first["annotations"]:
            annotation.pop("attributes", None)  # COCO-video has no challenges
        assert again == first


def test_predictions_are_written_as_trackeval_reads_them(tmp_path):
    convert(FORMATS["palette"](tmp_path), "palette", tmp_path / "out.json", images=images(tmp_path / "images"))
    truth = json.loads((tmp_path / "out.json").read_text())
    fields = ("video_id", "category_id", "segmentations")
    entries = [{key: one[key] for key in fields} | {"score": 0.5} for one in truth["annotations"]]
    below = entries[0] | {"score": 0.2}
    covered = entries[0] | {"score": 0.4}  # by the same masks of a better one
    (tmp_path / "results.json").write_text(json.dumps([below, covered, *entries]))
    output = tmp_path / "tracker"
    notes = convert(tmp_path / "out.json", "youtube-vis", output, "mots", predictions=tmp_path / "results.json").notes
    assert sorted(path.name for path in output.iterdir()) == sorted(f"{video}.txt" for video in LENGTHS)
    assert notes["masks that lost pixels to an object listed before"] == sum(map(bool, covered["segmentations"]))
    convert(tmp_path / "out.json", "youtube-vis", tmp_path / "truth", "mots")
    for video in LENGTHS:
        assert (output / f"{video}.txt").read_text() == (tmp_path / "truth" / video / "gt/gt.txt").read_text()


def test_predictions_are_written_as_mots_only(tmp_path):
    convert(FORMATS["palette"](tmp_path), "palette", tmp_path / "out.json", images=images(tmp_path / "images"))
    with pytest.raises(InputError, match="--predictions: found --to coco-video; expected mots"):
        convert(tmp_path / "out.json", "youtube-vis", tmp_path / "a", "coco-video", predictions=tmp_path / "r.json")


def test_ids_of_a_coco_video_file_are_kept(tmp_path):
    convert(coco_video(tmp_path), "coco-video", tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert [video["id"] for video in content["videos"]] == [0, 1]
    assert [category["id"] for category in content["categories"]] == [3, 7]


def test_the_occluded_flag_of_cvat_is_the_challenge_occlusion(tmp_path):
    convert(cvat(tmp_path), "cvat", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert [annotation["attributes"] for annotation in found] == [
        {"occlusion": False},
        {"occlusion": True},
        {"occlusion": False},
    ]


def test_an_image_of_coco_is_a_video_of_one_frame(tmp_path):
    corners = [[1, 2, 5, 2, 5, 6, 1, 6]]
    content = {
        "images": [{"id": 9, "file_name": "x.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 9, "category_id": 3, "segmentation": corners, "iscrowd": 0}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    convert(tmp_path / "coco.json", "coco", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["videos"] == [{"id": 9, "height": HEIGHT, "width": WIDTH, "length": 1, "file_names": ["x.jpg"]}]
    assert found["annotations"][0]["areas"] == [16] and found["annotations"][0]["bboxes"] == [[1.0, 2.0, 4.0, 4.0]]


def test_parts_of_one_labelme_group_are_one_object(tmp_path):
    source = labelme(tmp_path)
    path = source / "b" / "00000.json"
    content = json.loads(path.read_text())
    content["shapes"].append(content["shapes"][0] | {"points": [[0, 8], [4, 8], [4, 12], [0, 12]]})
    path.write_text(json.dumps(content))
    convert(source, "labelme", tmp_path / "out.json")
    (joined,) = scene(tmp_path / "out.json")["b", "car"]
    assert np.array_equal(joined, mask((0, 0, 16, 3)) | mask((0, 8, 4, 12)))


def test_mots_gives_a_pixel_of_two_objects_to_the_first(tmp_path):
    content = {
        "videos": [{"id": 1, "height": HEIGHT, "width": WIDTH, "length": 1, "file_names": ["v/0.jpg"]}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"id": i, "video_id": 1, "category_id": 1, "segmentations": [{"size": [HEIGHT, WIDTH], "counts": counts}]}
            for i, counts in enumerate([run_lengths(mask((0, 0, 6, 6))), run_lengths(mask((4, 0, 8, 6)))], 1)
        ],
    }
    (tmp_path / "in.json").write_text(json.dumps(content))
    notes = convert(tmp_path / "in.json", "youtube-vis", tmp_path / "out", write_as="mots").notes
    assert notes == {"masks that lost pixels to an object listed before": 1}
    lines = [line.split() for line in (tmp_path / "out/v/gt/gt.txt").read_text().splitlines()]
    areas = [int(coco_mask.area({"size": [HEIGHT, WIDTH], "counts": line[5]})) for line in lines]
    assert [line[:5] for line in lines] == [["1", "1000", "1", "12", "16"], ["1", "1001", "1", "12", "16"]]
    assert areas == [36, 12]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}: the real COCO-video file is not on this machine")
def test_a_real_coco_video_file_gives_the_numbers_of_a_conversion_by_hand(tmp_path):
    from mssts.evaluation.evaluate import evaluate

    convert(REAL / "ann.json", "coco-video", tmp_path / "truth.json")
    metrics = evaluate(tmp_path / "truth.json", REAL / "results.json", tmp_path / "metrics.json")["overall"]
    found = [metrics[name] for name in ("AP", "AP50", "AP75", "AR1", "AR10")]
    assert found == pytest.approx([0.6504950495049504, 1, 1, 0.35, 0.65], abs=1e-12)
    with pytest.raises(InputError, match=r"this is a COCO-video file .* `mssts convert FILE --from coco-video"):
        evaluate(REAL / "ann.json", REAL / "results.json", tmp_path / "metrics.json")


def broken(write, change):
    def wrong(folder: Path) -> Path:
        source = write(folder)
        change(source)
        return source

    return wrong


def changed_text(name: str, old: str, new: str):
    def change(source: Path) -> None:
        path = source / name if name else source
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return change


WRONG = {
    "frame_twice": ("coco-video", changed_text("", '"frame_id": 1', '"frame_id": 0'), "each number once"),
    "no_identity": ("coco-video", changed_text("", '"instance_id": 1', '"other": 1'), "track_id: found None"),
    "not_a_dict": ("coco-video", lambda path: path.write_text("[]"), "expected a COCO-video file"),
    "image_id": ("coco-video", changed_text("", '"image_id": 1,', '"image_id": 99,'), "image_id: found 99"),
    "mots_line": ("mots", changed_text("a.txt", "0 1001", "zero 1001"), "a.txt: line 1: found 'zero 1001"),
    "mots_runs": ("mots", changed_text("a.txt", " 12 16 ", " 12 17 "), "a.txt: line 1: counts: the runs add up to 192"),
    "mots_class": ("mots", changed_text("a.txt", "1001 1 ", "1001 4 "), "class 4'; expected 1 (car), 2 (pedestrian)"),
    "group": ("labelme", changed_text("a/00001.json", '"group_id": 2', '"group_id": 1.5'), "group_id: found"),
    "points": ("labelme", changed_text("a/00000.json", "[[1, 2], [5, 2]", "[[1, 2], [5]"), "points: found"),
    "labelme_json": ("labelme", lambda path: (path / "a/00000.json").write_text("{"), "not valid JSON"),
    "xml": ("cvat", lambda path: (path / "a.xml").write_text("<annotations>"), "a.xml: not valid XML"),
    "entity": ("cvat", lambda path: (path / "a.xml").write_text('<!DOCTYPE a [<!ENTITY x "y">]><a/>'), "document type"),
    "images": (
        "cvat",
        lambda path: (path / "a.xml").write_text('<annotations><meta><task/></meta><image id="0"/></annotations>'),
        "a.xml: found an export as `CVAT for images`",
    ),
    "frame": ("cvat", changed_text("a.xml", 'frame="2"', 'frame="7"'), "frame: found 7; expected 0 to 2"),
    "rle": ("cvat", changed_text("a.xml", 'rle="0, 16"', 'rle="0, 15"'), "expected runs of 16 pixels"),
    "not_png": ("palette", lambda path: (path / "a/00000.png").write_text("text"), "00000.png: unreadable PNG"),
    "colours": ("palette", lambda path: Image.new("RGB", (4, 4)).save(path / "a/00000.png"), "mode RGB"),
    "meta": ("palette", lambda path: path.with_name("meta.json").write_text("[]"), "expected videos -> name"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_source_is_named(tmp_path, case):
    name, change, message = WRONG[case]
    with pytest.raises(InputError) as caught:
        convert(broken(FORMATS[name], change)(tmp_path), name, tmp_path / "out.json")
    assert message in str(caught.value)
    assert not (tmp_path / "out.json").exists()


def test_two_objects_of_a_label_without_group_are_refused(tmp_path):
    source = labelme(tmp_path)
    path = source / "b" / "00000.json"
    content = json.loads(path.read_text())
    content["shapes"] = [content["shapes"][0] | {"group_id": None}] * 2
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="a second 'car' without group_id"):
        convert(source, "labelme", tmp_path / "out.json")


def test_a_number_of_images_other_than_that_of_the_frames_is_refused(tmp_path):
    root = images(tmp_path / "images")
    (root / "a/00002.jpg").unlink()
    with pytest.raises(InputError, match=r"video 'a': found 2 images .* expected 3"):
        convert(cvat(tmp_path), "cvat", tmp_path / "out.json", images=root)


def test_an_image_that_labelme_names_and_that_is_not_there_is_named(tmp_path):
    root = images(tmp_path / "images")
    (root / "b/00000.jpg").unlink()
    with pytest.raises(InputError, match=r"labelme/b: imagePath: found '00000.jpg'; expected an image in .*images/b"):
        convert(labelme(tmp_path), "labelme", tmp_path / "out.json", images=root)


def test_a_folder_without_its_format_is_told_of_the_option(tmp_path):
    with pytest.raises(InputError, match=r"found a folder; .* by --from"):
        convert(labelme(tmp_path), "youtube-vis", tmp_path / "out.json")


def test_the_source_is_never_overwritten(tmp_path):
    source = coco_video(tmp_path)
    with pytest.raises(InputError):
        convert(source, "coco-video", source)
