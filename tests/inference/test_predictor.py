"""The Python API and `mssts predict` on a video of one's own: the same masks as on a dataset, and pictures of them."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

import mssts
from mssts.config import RECORDED, canonical, resolve
from mssts.core.checkpoint import save_checkpoint
from mssts.core.errors import InputError
from mssts.data.video_files import read_video_frames, write_video
from mssts.inference import overlay
from mssts.inference.predict import predict
from mssts.inference.predict_file import predict_file
from mssts.inference.predictor import PredictedTrack, Predictor
from mssts.models import build_model


@pytest.fixture(scope="module")
def valid(smoke_data):
    """The content of the annotation file of split valid."""
    return json.loads((smoke_data / "valid.json").read_text())


@pytest.fixture(scope="module")
def checkpoint(valid, tmp_path_factory):
    """An untrained model with visible masks: the API is about what comes out of it, not about how good it is."""
    config = resolve("smoke", "ms_sts_temporal")
    categories = [(item["id"], item["name"]) for item in valid["categories"]]
    model = build_model(config.model, "tiny", len(categories), torch.Generator().manual_seed(3))
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    content = {"model": model.state_dict(), "backbone": "tiny", "categories": categories}
    save_checkpoint(path, content | {"config": canonical(config, RECORDED)})
    return path


@pytest.fixture(scope="module")
def video(smoke_data, valid):
    """Frames of the first validation video, (T, H, W, 3)."""
    first = smoke_data / "valid/JPEGImages" / valid["videos"][0]["file_names"][0]
    return read_video_frames([first.parent])[0]


def test_a_predictor_returns_the_masks_and_boxes_of_the_submission(smoke_data, valid, checkpoint, video, tmp_path):
    output = tmp_path / "predictions.json"
    predict(resolve("smoke"), checkpoint, smoke_data, "synthvis", "valid", output)
    first = valid["videos"][0]["id"]
    entries = [entry for entry in json.loads(output.read_text()) if entry["video_id"] == first]
    tracks = mssts.load_model(checkpoint).predict(video)
    assert [(t.category_id, t.score, t.segmentations) for t in tracks] == [
        (entry["category_id"], entry["score"], entry["segmentations"]) for entry in entries
    ]
    assert tracks[0].masks.shape == video.shape[:3] and tracks[0].masks.dtype == bool
    assert tracks[0].boxes.shape == (len(video), 4)


def test_numpy_and_torch_frames_of_any_size_give_masks_of_that_size(checkpoint, video):
    model = mssts.load_model(checkpoint)
    large = video.repeat(3, 1).repeat(3, 2)[:, :190, :287]
    of_numpy, of_torch = model.predict(large), model.predict(torch.from_numpy(large.copy()))
    assert [track.segmentations for track in of_numpy] == [track.segmentations for track in of_torch]
    assert of_numpy[0].masks.shape == large.shape[:3]


WRONG = {
    "float": np.zeros((2, 64, 96, 3), np.float32),
    "channels_first": np.zeros((2, 3, 64, 96), np.uint8),
    "one_frame": np.zeros((64, 96, 3), np.uint8),
    "list": [[1]],
    "empty": np.zeros((0, 64, 96, 3), np.uint8),
}


@pytest.mark.parametrize("case", WRONG)
def test_frames_of_another_form_are_refused(checkpoint, case):
    with pytest.raises(InputError, match=r"frames: found .*; expected"):
        mssts.load_model(checkpoint).predict(WRONG[case])


@pytest.mark.long
def test_a_video_that_does_not_fit_into_memory_is_refused_before_it_is_computed(checkpoint):
    frames = torch.zeros(1, 1, 1, 3, dtype=torch.uint8).expand(2_000_000, 64, 96, 3)  # without its memory
    predictor = Predictor(checkpoint, settings={"window": 2_000_000})
    with pytest.raises(InputError, match=r"a window of 2000000 frames needs about .* GB free. Make predict.window"):
        predictor.predict(frames)


def test_frames_of_an_iterator_and_of_an_array_give_the_same_and_the_last_of_a_stream_too(checkpoint, video):
    model, video = mssts.load_model(checkpoint, settings={"window": 5, "overlap": 2}), np.concatenate([video, video])
    of_array, of_iterator = model.predict(video), model.predict(iter(video))
    *before, last = model.predict_stream(iter(video))
    assert described(of_array) == described(of_iterator) == described(last)
    assert [len(tracks[0].segmentations) for tracks in before] == [5, 8]


def described(tracks):
    return [(t.number, t.category, t.score, t.segmentations, t.boxes.tolist()) for t in tracks]


def test_a_frame_of_another_size_is_named(checkpoint, video):
    with pytest.raises(InputError, match=r"found torch.uint8 \(64, 90, 3\) as frame 1; expected .* that of frame 0"):
        mssts.load_model(checkpoint).predict([video[0], video[1][:, :90]])


def test_settings_other_than_those_of_prediction_are_refused(checkpoint):
    with pytest.raises(InputError, match="predict: windows: unknown key; did you mean 'window'"):
        mssts.load_model(checkpoint, settings={"windows": 5})


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:", "", "cuda:99"])
def test_a_device_that_cannot_be_used_is_named(checkpoint, device):
    with pytest.raises(InputError, match=f"^device: found '?{device}'?[;,] .*expected "):
        mssts.load_model(checkpoint, device)


class Rectangle:
    """An object that moves to the right by a pixel each frame."""

    def __init__(self, left: int, top: int) -> None:
        self.left, self.top = left, top

    def mask(self, frame: int) -> np.ndarray:
        mask = np.zeros((96, 128), bool)
        mask[self.top : self.top + 20, self.left + frame : self.left + frame + 20] = True
        return mask


def test_an_overlay_video_read_back_shows_each_identity_in_its_colour_in_every_frame(tmp_path):
    objects = [Rectangle(5, 5), Rectangle(60, 5), Rectangle(5, 60)]
    shown = overlay.layers(objects, ["a", "b", "c"])
    black = np.zeros((96, 128, 3), np.uint8)
    write_video(tmp_path / "overlay.mp4", [overlay.draw(black, shown, t) for t in range(6)], Fraction(10))
    frames, _ = read_video_frames([tmp_path / "overlay.mp4"])
    for t, frame in enumerate(frames):
        for layer in shown:
            y, x = np.argwhere(layer.track.mask(t)).mean(0).astype(int) + 5  # away from the label
            expected = np.array(layer.colour) * overlay.OPACITY
            np.testing.assert_allclose(frame[y, x], expected, atol=25)
    assert len({layer.colour for layer in shown}) == 3


def test_where_masks_overlap_the_first_object_is_on_top():
    shown = overlay.layers([Rectangle(5, 5), Rectangle(15, 15)], ["", ""])
    drawn = overlay.draw(np.zeros((96, 128, 3), np.uint8), shown, 0)
    for layer, place in zip(shown, (20, 30), strict=True):  # in both; in the second alone
        np.testing.assert_allclose(drawn[place, place], np.array(layer.colour) * overlay.OPACITY, atol=1)


def test_a_video_file_gives_results_pictures_and_numbered_masks(checkpoint, video, tmp_path):
    write_video(tmp_path / "clip.mp4", video, Fraction(5))
    drawn = predict_file(Predictor(checkpoint), [tmp_path / "clip.mp4"], tmp_path / "found", min_score=0)
    entries = json.loads((tmp_path / "found/results.json").read_text())
    assert len(entries) == len(drawn) == 10
    frames, rate = read_video_frames([tmp_path / "found/overlay.mp4"])
    assert frames.shape == video.shape and rate == 5
    with Image.open(tmp_path / "found/sheet.png") as sheet:
        assert sheet.width > 1500
    names = sorted(path.name for path in (tmp_path / "found/masks").iterdir())
    assert names == [f"{t:05d}.png" for t in range(len(video))]
    for t, name in enumerate(names):
        with Image.open(tmp_path / "found/masks" / name) as image:
            labels = np.array(image)
        covered = np.zeros_like(labels, bool)
        for number, entry in enumerate(entries, 1):
            mask = entry["segmentations"][t]
            own = np.zeros_like(covered) if mask is None else coco_mask.decode(mask).astype(bool)
            assert (labels[own & ~covered] == number).all()
            covered |= own
        assert (labels[~covered] == 0).all()


def test_no_more_objects_are_drawn_than_the_masks_can_number(video, tmp_path):
    size = video.shape[1:3]
    mask = coco_mask.encode(np.ones(size, np.uint8, order="F"))
    mask["counts"] = mask["counts"].decode()
    tracks = [PredictedTrack(number, 1, "thing", 0.5, [mask], np.zeros((1, 4)), size) for number in range(300)]

    class Many:
        def predict(self, frames):
            return tracks

    Image.fromarray(video[0]).save(tmp_path / "frame.png")
    assert predict_file(Many(), [tmp_path / "frame.png"], tmp_path / "found") == tracks[: overlay.MOST_OBJECTS]
    assert len(json.loads((tmp_path / "found/results.json").read_text())) == 300
    assert (np.asarray(Image.open(tmp_path / "found/masks/00000.png")) == 1).all()


def test_a_sheet_shows_the_first_and_the_last_frame_of_at_most_twelve():
    frames = [np.full((30, 40, 3), t, np.uint8) for t in range(100)]
    page = overlay.sheet(frames)
    assert page[0, 0, 0] == 0 and page[-1, -1, 0] == 99
    assert len(np.unique(page[..., 0])) == 13  # with the white between them
